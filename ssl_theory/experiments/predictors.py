"""Training without negatives: when modes of a linear network survive, and what a tree network learns (T15).

python -m ssl_theory.experiments.predictors -o book/results/
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ssl_theory.hltm.ensemble import TreeEnsemble
from ssl_theory.hltm.limits import belief_ceilings
from ssl_theory.hltm.metrics import best_correlations
from ssl_theory.hltm.network import TreeNetwork
from ssl_theory.operators.predictor import predictor_sizes
from ssl_theory.training import fit
from ssl_theory.validation import require_count, require_real, require_seed

__all__ = ["LINEAR", "TREES", "Linear", "Tree", "threshold_table", "tree_table"]


@dataclass(frozen=True)
class Linear:
    """How linear networks start and whom they follow.

    Attributes:
        rotated: Whether W_p(0) is a size times a random rotation instead of the identity.
        follow: Rate at which the target's weights follow, per unit of time; None for no other target.
    """

    rotated: bool = False
    follow: float | None = None


LINEAR: dict[str, Linear] = {
    "identity": Linear(),
    "slow target": Linear(follow=0.1),
    "rotated": Linear(rotated=True),
}
BETWEEN, TOTAL = 1.0, 1.5  # b and s, the same in all directions
CRITICAL = BETWEEN**2 / (4.0 * TOTAL)  # φ*
SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95, 1.1, 1.3)  # φ/φ*
_SIDE, _BATCH, _STEP = 4, 64, 0.1  # neurons and pixels, pairs in a batch, η


def threshold_table(
    starts: Mapping[str, Linear] = LINEAR,
    *,
    shares: Sequence[float] = SHARES,
    sizes: int = 40,
    seeds: int = 30,
    steps: int = 3000,
    seed: int = 0,
) -> pd.DataFrame:
    """Train linear networks by stochastic descent and find the size of the predictor that modes need to live.

    Objects are Gaussian, b = 1 in each of 4 directions, views add noise of variance 1/2. W(0) = p_0 Q and
    W_p(0) = p_0 R with random rotations Q and R, or R = 1; p_0 runs over a geometric grid from 0.01 b/s to
    b/s. A mode is a singular value of W; it lives if it ends above half of b/(2s), the smallest p_+.

    Args:
        starts: Settings by name.
        shares: Weight decays, in units of b²/(4s).
        sizes: How many p_0, at least 2.
        seeds: How many networks of each kind.
        steps: Steps of size 0.1 on 64 fresh pairs.
        seed: Source of all randomness.

    Returns:
        A row for each setting and decay: `setting`, `share`; `threshold` and `kept` as predicted for R = 1,
        NaN beyond the critical decay; `measured` and `error`, mean and standard error over seeds of the p_0
        that divides living from dying modes, the end of the grid if none lives; `alive` and `alive_error`,
        the largest share of modes that live at any p_0; `size` and `size_error`, of living modes at the
        largest p_0.

    Raises:
        TypeError: If a number is of another type.
        ValueError: If one is out of range.
    """
    require_count("seeds", seeds)
    require_count("steps", steps)
    require_seed("seed", seed)
    if require_count("sizes", sizes) < 2:
        raise ValueError(f"sizes must be at least 2, got {sizes}")
    decays = [CRITICAL * require_real("shares", share, above=0.0) for share in shares]
    grid = torch.logspace(-2, 0, sizes, dtype=torch.float64) * BETWEEN / TOTAL
    tables = []
    for name, start in starts.items():
        generator = torch.Generator().manual_seed(seed)
        ends = _train(start, torch.tensor(decays), grid, seeds, steps, generator)
        for share, decay, end in zip(shares, decays, ends, strict=True):
            tables.append({"setting": name, "share": share, **_threshold(decay, grid, end)})
    return pd.DataFrame(tables).assign(seeds=seeds, steps=steps, seed=seed, torch=torch.__version__)


def _rotations(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    normal = torch.randn(*shape, _SIDE, _SIDE, generator=generator, dtype=torch.float64)
    Q, R = torch.linalg.qr(normal)
    signed: Tensor = Q * R.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return signed


def _train(
    start: Linear, decays: Tensor, grid: Tensor, seeds: int, steps: int, generator: torch.Generator
) -> Float[Tensor, "decays sizes seeds n"]:
    """Return the singular values of W in the end."""
    identity = torch.eye(_SIDE, dtype=torch.float64)
    W = grid.view(-1, 1, 1, 1) * _rotations((len(decays), 1, seeds), generator)
    turned = _rotations((seeds,), generator) if start.rotated else identity
    W_p = (grid.view(-1, 1, 1, 1) * turned).expand_as(W)
    target, decay = W, decays.view(-1, 1, 1, 1, 1)
    scale = (BETWEEN**0.5, (TOTAL - BETWEEN) ** 0.5)
    for _ in range(steps):
        draws = torch.randn(3, seeds, _BATCH, _SIDE, generator=generator, dtype=torch.float64)
        x, x_pos = (scale[0] * draws[0] + scale[1] * noise for noise in draws[1:])
        own, other = x.mT @ x / _BATCH, x_pos.mT @ x / _BATCH
        error = W_p @ W @ own - (W if start.follow is None else target) @ other
        W, W_p = (
            W - _STEP * (W_p.mT @ error + decay * W),
            W_p - _STEP * (error @ W.mT + decay * W_p),
        )
        if start.follow is not None:
            target = target + _STEP * start.follow * (W - target)
    values: Tensor = torch.linalg.svdvals(W)
    return values


def _threshold(decay: float, grid: Tensor, end: Float[Tensor, "sizes seeds n"]) -> dict[str, float]:
    lives = end > BETWEEN / (4.0 * TOTAL)
    alive = lives.double().mean(-1)
    ratio = (grid[1] / grid[0]).log()
    crossing = (grid[0].log() + ratio * ((1.0 - alive).sum(0) - 0.5)).exp()
    best = alive.amax(0)
    last = torch.where(lives[-1], end[-1], torch.nan).nanmean(-1)
    expected = predictor_sizes(BETWEEN, TOTAL, decay)
    return {
        "threshold": float("nan") if expected is None else expected.lost,
        "kept": float("nan") if expected is None else expected.kept,
        **_summary("measured", crossing),
        **_summary("alive", best),
        **_summary("size", last[~last.isnan()]),
    }


def _summary(name: str, values: Tensor) -> dict[str, float]:
    error = "error" if name == "measured" else f"{name}_error"
    if len(values) < 2:
        return {name: float("nan"), error: float("nan")}
    return {name: float(values.mean()), error: float(values.std() / len(values) ** 0.5)}


@dataclass(frozen=True)
class Tree:
    """How a network on a latent tree is trained.

    Attributes:
        predictor: W_p(0) is this multiple of the identity; None for InfoNCE, with negatives.
        frozen: Whether W_p keeps its value.
        decay: φ, weight decay of the network and the predictor.
        follow: Share of the way that the target's weights go at each step; None for no other target.
        centred: Whether outputs have the batch's mean subtracted.
    """

    predictor: float | None = 1.0
    frozen: bool = False
    decay: float = 0.0
    follow: float | None = None
    centred: bool = False


TREES: dict[str, Tree] = {
    "InfoNCE": Tree(predictor=None),
    "no predictor": Tree(frozen=True),
    "predictor from 1": Tree(),
    "predictor from 1/2": Tree(predictor=0.5),
    "from 1/2, centred": Tree(predictor=0.5, centred=True),
    "from 1/2, slow target": Tree(predictor=0.5, centred=True, follow=0.05),
    "from 1/2, decay": Tree(predictor=0.5, centred=True, decay=0.003),
    "from 1/2, strong decay": Tree(predictor=0.5, centred=True, decay=0.1),
}


class _Pair(nn.Module):
    """Networks, their predictors, and the copies that give the targets."""

    def __init__(self, net: TreeNetwork, setting: Tree) -> None:
        super().__init__()
        size = net.weight(net.topology.inner[0]).shape[1]
        scale = 1.0 if setting.predictor is None else setting.predictor
        self.net, self.setting = net, setting
        self.predictor = nn.Parameter(scale * torch.eye(size).repeat(net.seeds, 1, 1))
        self.predictor.requires_grad_(setting.predictor is not None and not setting.frozen)
        self.target = None if setting.follow is None else deepcopy(net).requires_grad_(False)

    def loss(self, states: Tensor) -> Tensor:
        """Return the loss summed over seeds; states of triples, (S, leaves, 3B), bool."""
        if self.target is not None and self.setting.follow is not None:
            for slow, fast in zip(self.target.parameters(), self.net.parameters(), strict=True):
                slow.lerp_(fast.detach(), self.setting.follow)
        x, *others = self.net(states).chunk(3, -1)
        if self.setting.predictor is None:
            r_pos, r_neg = ((x - y).square().sum(1) / 2.0 for y in others)
            return -logsigmoid((r_neg - r_pos) / _TEMPERATURE).mean(1).sum()
        pair = torch.cat([x, others[0]], -1)
        targets = pair if self.target is None else self.target(states)[..., : pair.shape[-1]]
        targets = torch.cat(targets.detach().chunk(2, -1)[::-1], -1)
        if self.setting.centred:
            pair, targets = (z - z.mean(-1, keepdim=True) for z in (pair, targets))
        return (self.predictor @ pair - targets).square().sum(1).mean(-1).sum() / 2.0


_TEMPERATURE, _DEPTH, _WIDTH, _RATE, _PAIRS = 0.1, 3, 10, 0.05, 128


def tree_table(
    settings: Mapping[str, Tree] = TREES, *, seeds: int = 10, steps: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Train tree networks without negatives, and with InfoNCE, on trees of depth 3 and polarities 0.8 to 1.

    Args:
        settings: Settings by name.
        seeds: How many networks, each on a tree of its own; the same trees and starts in all settings.
        steps: Steps of size 0.05 on 128 fresh pairs.
        seed: Source of all randomness.

    Returns:
        A row for each setting: `setting`; mean and standard error over seeds of the best |correlation| of a
        root neuron with the root over the limit of the beliefs, at the start (`before`) and in the end
        (`after`), of the share V_x/(V_x + V_a) of the outputs in the end (`between`), and of the mean square
        of the outputs over that of the start (`size`).

    Raises:
        TypeError: If a number is of another type.
        ValueError: If one is out of range.
    """
    require_count("seeds", seeds)
    require_count("steps", steps)
    require_seed("seed", seed)
    rows = [{"setting": name, **_tree(setting, seeds, steps, seed)} for name, setting in settings.items()]
    return pd.DataFrame(rows).assign(seeds=seeds, steps=steps, seed=seed, torch=torch.__version__)


def _tree(setting: Tree, seeds: int, steps: int, seed: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    trees = TreeEnsemble.regular(seeds, _DEPTH, polarity=(0.8, 1.0), generator=generator)
    net = TreeNetwork.random(
        trees, _WIDTH, seeds=seeds, init="standard", generator=generator, dtype=torch.float32
    )
    limit = belief_ceilings(trees, 8192, generator=generator).value[:, 0]
    sample = trees.sample(4096, generator=generator)
    model, leaves = _Pair(net, setting), list(trees.leaves)

    def loss(_: int) -> Tensor:
        triples = trees.triples(_PAIRS, generator=generator, dtype=torch.uint8).states
        return model.loss(triples.mT[:, leaves].bool())

    before = _measured(net, sample, leaves)
    fit(
        model,
        loss,
        steps=steps,
        optimizer=lambda p: torch.optim.SGD(p, lr=_RATE, weight_decay=setting.decay),
        generators=[generator],
    )
    after = _measured(net, sample, leaves)
    return {
        **_summary("before", before["root"] / limit),
        **_summary("after", after["root"] / limit),
        **_summary("between", after["between"]),
        **_summary("size", after["size"] / before["size"]),
    }


@torch.no_grad()
def _measured(net: TreeNetwork, sample: Tensor, leaves: list[int]) -> dict[str, Tensor]:
    """Return for each seed the root's best correlation, V_x/(V_x + V_a), and the outputs' mean square."""
    states = sample.mT.float()
    trace = net.trace(states[:, leaves])
    f, root = trace.output.double(), states[:, :1].double()
    means = [(f * z).sum(-1) / z.sum(-1) for z in (root, 1.0 - root)]
    shares = root.mean(-1)
    V_x = (shares * (1.0 - shares) * (means[0] - means[1]).square()).sum(1)
    total = f.var(-1, correction=0).sum(1)
    return {
        "root": best_correlations(net, trace, states)[:, 0].double(),
        "between": V_x / total.clamp_min(1e-30),
        "size": f.square().sum(1).mean(-1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Make both stored tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder of the tables")
    folder = parser.parse_args(arguments).output
    torch.set_num_threads(1)
    threshold_table().to_csv(folder / "without-negatives.csv", index=False, float_format="%.6g")
    tree_table().to_csv(folder / "without-negatives-trees.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
