"""Do trained networks find the eigenfunctions of the augmentation graph? Trained and compared (T14).

One tree network per seed, each on a binary tree of its own, descends the exact expectation of a loss over all
pairs of views. Along the way the leading directions of its outputs are compared with the eigenfunctions, and
with the best that a network of the tree's shape can do.

python -m ssl_theory.experiments.studies pairs -o out/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.hltm import LatentTree, Topology, TreeNetwork, additive_functions, augmentation_graph
from ssl_theory.training import fit
from ssl_theory.training.checkpoints import atomic_write
from ssl_theory.validation import require_count, require_one_of, require_real, require_seed

__all__ = ["PairExperiment", "expected_infonce", "expected_spectral", "pair_table", "run", "subspace_angle"]

PairLoss = Literal["spectral", "infonce"]

_NONE = 1e-9  # an eigenvalue below it is rounding


@dataclass(frozen=True)
class PairExperiment:
    """One augmentation, one loss, many seeds.

    Args:
        keep: The latents that the augmentation keeps.
        loss: "spectral", of centred outputs, or "infonce", of distances and of so many negatives that they
            are the law of the views.
        polarity: (low, high), the interval of |ρ|; the signs are random.
        depth: Edges between the root and each leaf, two children each.
        width: Neurons of every inner node; n_L of the root.
        seeds: Number of trees and networks.
        steps: Updates by Adam.
        every: Updates between measurements.
        rate: Step size.
        seed: Source of all randomness.

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range or the loss is unknown.
    """

    keep: tuple[int, ...] = (0,)
    loss: PairLoss = "spectral"
    polarity: tuple[float, float] = (0.6, 0.95)
    depth: int = 3
    width: int = 8
    seeds: int = 30
    steps: int = 1500
    every: int = 50
    rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("depth", "width", "seeds", "steps", "every"):
            require_count(name, getattr(self, name))
        require_seed("seed", self.seed)
        require_real("rate", self.rate, above=0.0)
        require_one_of("loss", self.loss, get_args(PairLoss))


SETTINGS = tuple(
    one
    for keep in ((0,), (1, 2))
    for one in (
        PairExperiment(keep=keep, steps=3000),
        PairExperiment(keep=keep, loss="infonce", steps=600),
    )
)


def expected_spectral(
    outputs: Float[Tensor, "S n_L patterns"], joint: Float[Tensor, "S patterns states"]
) -> Float[Tensor, " S"]:
    """Return −2 E f·f_+ + E (f·f′)² of centred outputs, exactly.

    Args:
        outputs: f_L of every pattern, centred here.
        joint: P(x, z_C).

    Returns:
        A number per seed; its least possible value is −Σ λ_k² over the n_L largest λ_k, k ≥ 1.
    """
    law, kept = joint.sum(2), joint.sum(1)
    centred = outputs - (outputs @ law.unsqueeze(2))
    means = centred @ joint / kept.unsqueeze(1)
    covariance = (centred * law.unsqueeze(1)) @ centred.mT
    positives = (means.square() * kept.unsqueeze(1)).sum((1, 2))
    return covariance.square().sum((1, 2)) - 2.0 * positives


def expected_infonce(
    outputs: Float[Tensor, "S n_L patterns"], joint: Float[Tensor, "S patterns states"]
) -> Float[Tensor, " S"]:
    """Return E r_+ + E_x log E_x′ exp(−r(x, x′)), exactly: InfoNCE, τ = 1, H → ∞, less log H."""
    law, kept = joint.sum(2), joint.sum(1)
    squares = outputs.square().sum(1)
    products = outputs.mT @ outputs
    distances = 0.5 * (squares.unsqueeze(1) + squares.unsqueeze(2)) - products
    negatives = ((law.log().unsqueeze(1) - distances).logsumexp(2) * law).sum(1)
    means = outputs @ joint / kept.unsqueeze(1)
    positives = (squares * law).sum(1) - (means.square() * kept.unsqueeze(1)).sum((1, 2))
    return positives + negatives


LOSSES: dict[PairLoss, Callable[[Tensor, Tensor], Tensor]] = {
    "spectral": expected_spectral,
    "infonce": expected_infonce,
}


def subspace_angle(
    first: Float[Tensor, "*S patterns k"],
    second: Float[Tensor, "*S patterns j"],
    law: Float[Tensor, "*S patterns"],
) -> Float[Tensor, "*S"]:
    """Return the largest angle, in degrees, between the span of k functions and its shadow in that of j ≥ k.

    Args:
        first: Independent functions of x, one a column.
        second: At least as many.
        law: p(x), which makes the inner product.

    Returns:
        Between 0 and 90; 0 if the second span holds the first.

    Raises:
        ValueError: If the first span has more dimensions than the second.
    """
    if first.shape[-1] > second.shape[-1]:
        raise ValueError(
            f"first must hold at most {second.shape[-1]} functions, as second does, got {first.shape[-1]}"
        )
    root = law.sqrt().unsqueeze(-1)
    own, other = (torch.linalg.qr(root * functions)[0] for functions in (first, second))
    outside = torch.linalg.svdvals(own - other @ (other.mT @ own))[..., 0]
    return torch.rad2deg(torch.arcsin(outside.clamp(max=1.0)))


def run(experiment: PairExperiment) -> pd.DataFrame:
    """Train and measure all seeds of an experiment, on the CPU, in float64.

    Returns:
        A row for each seed and measurement: `step`, `seed`; `angle` and `reachable`, in degrees, between the
        leading directions of the outputs and the eigenspace, and the leading eigenfunctions within sums over
        the root's children; `floor`, the angle between these two; `share` of the outputs' variance along
        the directions compared; `excess`, for the spectral loss, of the loss over its minimum within such
        sums, as a share of it; and the setting.
    """
    world = _World(experiment)
    net, loss = world.network, LOSSES[experiment.loss]
    rows = fit(
        net,
        lambda _: loss(net(world.pixels), world.joint).sum(),
        steps=experiment.steps,
        optimizer=partial(torch.optim.Adam, lr=experiment.rate),
        measure=world.measure,
        measure_every=experiment.every,
    )
    rows = rows.drop(columns="loss")
    keep = " ".join(map(str, experiment.keep))
    low, high = experiment.polarity
    versions = {"torch": torch.__version__, "ssl_theory": version("ssl-theory")}
    return rows.assign(
        keep=keep,
        loss=experiment.loss,
        polarity_low=low,
        polarity_high=high,
        depth=experiment.depth,
        width=experiment.width,
        rate=experiment.rate,
        **versions,
    )


def pair_table(
    settings: Sequence[PairExperiment] = SETTINGS, *, folder: Path, report: Callable[[str], Any] = print
) -> pd.DataFrame:
    """Run experiments one after the other and store their rows in folder/pairs.csv.

    Args:
        settings: What to run; by default the root alone and its two children kept, both losses, three to six
            minutes on one core.
        folder: Where the table goes.
        report: Called with a line after each experiment.

    Returns:
        The rows of the first and last measurement and of the 1st, 2nd, 4th, 8th, …; six digits are stored.
    """
    tables = []
    for one in settings:
        tables.append(_thinned(run(one), one))
        report(f"kept {one.keep}, {one.loss}: {tables[-1]['angle'].iloc[-one.seeds :].median():.1f}°")
    rows = pd.concat(tables, ignore_index=True)
    with atomic_write(folder / "pairs.csv") as file:
        file.write(rows.to_csv(index=False, float_format="%.6g").encode())
    return rows


def _thinned(rows: pd.DataFrame, experiment: PairExperiment) -> pd.DataFrame:
    """Return the measurements that are stored: enough for a logarithmic axis."""
    count = rows["step"] // experiment.every
    powers = count.map(lambda k: int(k).bit_count() <= 1)
    return rows[powers | (rows["step"] == experiment.steps)]


class _World:
    """Trees, what their pairs know, and networks."""

    def __init__(self, experiment: PairExperiment) -> None:
        self.experiment = experiment
        sources = [
            torch.Generator().manual_seed(experiment.seed * 1_000_003 + s) for s in range(experiment.seeds)
        ]
        trees = [
            LatentTree.regular(experiment.depth, polarity=experiment.polarity, generator=g) for g in sources
        ]
        graphs = [augmentation_graph(tree, experiment.keep) for tree in trees]
        self.joint = torch.stack([graph.joint for graph in graphs])
        self.law = self.joint.sum(2)
        self.pixels = graphs[0].patterns.mT.double().expand(experiment.seeds, -1, -1)
        full = [graph.eigenpairs() for graph in graphs]
        sums = [
            graph.eigenpairs(additive_functions(tree, graph))
            for tree, graph in zip(trees, graphs, strict=True)
        ]
        self.rank = min(int((pairs.values[1:] > _NONE).sum()) for pairs in sums)
        self.eigen = torch.stack([pairs.functions[:, 1:] for pairs in full])
        self.sums = torch.stack([pairs.functions[:, 1 : 1 + self.rank] for pairs in sums])
        self.least = -torch.stack([pairs.values[1:].square().sum() for pairs in sums])
        self.floor = subspace_angle(self.sums, self.eigen, self.law)
        topology = Topology.regular(experiment.depth, 2)
        self.network = TreeNetwork.joined(
            [
                TreeNetwork.random(topology, experiment.width, init="standard", bias=True, generator=g)
                for g in sources
            ]
        )

    def measure(self, step: int) -> dict[str, Any]:
        experiment = self.experiment
        with torch.no_grad():
            outputs = self.network(self.pixels)
            loss = expected_spectral(outputs, self.joint)
        centred = (outputs - outputs @ self.law.unsqueeze(2)).mT
        root = self.law.sqrt().unsqueeze(2)
        vectors, sizes, _ = torch.linalg.svd(root * centred, full_matrices=False)
        leading = vectors[..., : self.rank] / root
        spectral = experiment.loss == "spectral"
        return {
            "seed": list(range(experiment.seeds)),
            "angle": subspace_angle(leading, self.eigen, self.law),
            "reachable": subspace_angle(leading, self.sums, self.law),
            "floor": self.floor,
            "share": sizes[:, : self.rank].square().sum(1) / sizes.square().sum(1),
            "excess": 1.0 - loss / self.least if spectral else [float("nan")] * experiment.seeds,
        }
