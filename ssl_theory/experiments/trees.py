"""Do hidden neurons learn the latents? Tree networks trained on views of latent trees (T11).

An experiment trains one network per seed, each on a tree of its own polarities. For every latent it follows
the best |correlation| of a neuron of N_μ with the latent and with the exact belief in it, beside the limit
that the belief sets, the norm of the node's operator, and how much of the update the leading one explains.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import psutil  # type: ignore[import-untyped]
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.optim.lr_scheduler import CosineAnnealingLR

from ssl_theory.hltm.ensemble import TreeEnsemble
from ssl_theory.hltm.metrics import belief_ceilings, best_correlations
from ssl_theory.hltm.network import Init, TreeNetwork
from ssl_theory.hltm.node_operators import NodeOperators, node_operators, sample_contrast
from ssl_theory.hltm.topology import Topology, regular_size, span
from ssl_theory.hltm.tree import LatentTree
from ssl_theory.losses import ContrastiveLoss, InfoNCE, SimpleContrastive
from ssl_theory.training import GRAPH_MODES, fit, resolve_device
from ssl_theory.validation import require_integer, require_real

LossName = Literal["infonce", "simple", "positives", "shared-weight"]
Optimizer = Literal["sgd", "adam"]
Schedule = Literal["constant", "cosine"]
EnsembleLoss = Callable[[Tensor, Tensor], Tensor]

CEILING_DRAWS = 4  # times `evaluation`


@dataclass(frozen=True)
class TreeExperiment:
    """One cell of the table of T11.

    Args:
        polarity: (low, high), the interval of |ρ|; the signs are random.
        width: Neurons of every inner node.
        seeds: Number of networks, each with a tree of its own.
        epochs: Passes of `steps` updates.
        depth: Edges between the root and each leaf.
        branching: Children of an inner node.
        root_polarity: ρ_0.
        batch: Triples in an update.
        steps: Updates in an epoch; 500 of 128 triples are 64,000.
        loss: "infonce" with one negative; "simple"; "positives" for r+ alone; "shared-weight" for −p with p
            the softmax of the batch's mean distances, which gives all pairs of a batch one weight.
        temperature: τ.
        optimizer: "sgd" or "adam".
        rate: Step size at the start.
        schedule: "constant", or "cosine" for a step size that falls to 0 along half a cosine.
        init: How weights are drawn, see `TreeNetwork.random`.
        bias: Whether neurons have biases.
        normalise: Whether the output is divided by its norm.
        evaluation: Draws on which networks are measured, at least 64.
        seed: Source of all randomness.

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range or a name is unknown.
    """

    polarity: tuple[float, float] = (0.8, 1.0)
    width: int = 10
    seeds: int = 30
    epochs: int = 20
    depth: int = 5
    branching: int = 2
    root_polarity: float = 0.0
    batch: int = 128
    steps: int = 500
    loss: LossName = "infonce"
    temperature: float = 0.1
    optimizer: Optimizer = "sgd"
    rate: float = 0.1
    schedule: Schedule = "constant"
    init: Init = "standard"
    bias: bool = True
    normalise: bool = True
    evaluation: int = 2048
    seed: int = 0

    @property
    def nodes(self) -> tuple[int, int]:
        """Number of nodes of a tree, and of those that are inner nodes."""
        return regular_size(self.depth, self.branching)

    def __post_init__(self) -> None:
        for name in ("width", "seeds", "depth", "branching", "batch", "steps"):
            require_integer(name, getattr(self, name), 1)
        regular_size(self.depth, self.branching)
        require_integer("epochs", self.epochs, 0)
        require_integer("evaluation", self.evaluation, 64)
        require_integer("seed", self.seed, 0)
        require_real("rate", self.rate, above=0.0)
        require_real("temperature", self.temperature, above=0.0)
        if len(self.polarity) != 2:
            raise ValueError(f"polarity must be a pair (low, high), got {self.polarity}")
        low, high = self.polarity
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"polarity must satisfy 0 ≤ low ≤ high ≤ 1, got ({low}, {high})")
        require_real("root_polarity", self.root_polarity)
        if abs(self.root_polarity) > 1.0:
            raise ValueError(f"root_polarity must lie in [−1, 1], got {self.root_polarity}")
        _require_one_of("init", self.init, get_args(Init))
        _require_one_of("loss", self.loss, LOSSES)
        _require_one_of("optimizer", self.optimizer, OPTIMIZERS)
        _require_one_of("schedule", self.schedule, get_args(Schedule))


def run(
    experiment: TreeExperiment,
    *,
    device: str = "auto",
    together: int | None = None,
    checkpoint: str | Path | None = None,
    compile: bool | str = False,  # noqa: A002
    graph: bool | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Train and measure all seeds of an experiment.

    Args:
        experiment: What to run.
        device: As for `resolve_device`.
        together: Seeds trained at once; None for as many as fit (see `seeds_at_once`). A seed's
            tree and first weights do not depend on it, but the batches do: the seeds of a group share a
            stream of random numbers.
        checkpoint: Base name of checkpoints, one file for each group of seeds; a run that was stopped goes on
            from them.
        compile: As for `fit`.
        graph: As for `fit`; None for yes on a GPU, unless a mode of `compile` does the same.
        progress: Show a progress bar with the mean correlation of each level.

    Returns:
        One row per epoch, seed and inner node: `epoch`, `group` (the first seed of those that share batches),
        `seed`, `node`, `level`, the `correlation` with the
        latent, its `ceiling` and the ceiling's standard error `ceiling_error`, the `belief_correlation`,
        `operator_norm`, and three inner products of the measured update of W_μ and the one that the leading
        operator gives, `update_square`, `leading_square` and `update_dot`, each estimated from two
        independent samples so that noise does not add up.

    Raises:
        TypeError: If `together` is not an integer.
        ValueError: If it is not positive, the device is not there, or a checkpoint belongs to another run.
        MemoryError: If not even one seed fits.
        OSError: If a checkpoint cannot be written; found out before the first step.
    """
    place = resolve_device(device)
    suited = seeds_at_once(experiment, place)
    size = suited if together is None else require_integer("together", together, 1)
    graph = place.type == "cuda" and compile not in GRAPH_MODES if graph is None else graph
    tables = []
    for first in range(0, experiment.seeds, size):
        seeds = range(first, min(first + size, experiment.seeds))
        path = None if checkpoint is None else Path(f"{checkpoint}-{first}.pt")
        tables.append(_Group(experiment, seeds, place).train(path, compile, graph, progress))
    return pd.concat(tables, ignore_index=True)


def seeds_at_once(experiment: TreeExperiment, device: torch.device) -> int:
    """Return how many seeds to train together: all that fit, since a step costs little more for many.

    Args:
        experiment: What is to be run.
        device: Where.

    Returns:
        At least 1; at most so many that they take half of the memory that is free now.

    Raises:
        MemoryError: If a single seed would take more than all of it.
    """
    free, need = free_bytes(device), bytes_per_seed(experiment, device)
    if need > free:
        raise MemoryError(
            f"a seed of this experiment takes about {need / 2**20:.0f} MiB and {device} has "
            f"{free / 2**20:.0f} MiB left: lower the depth, width, batch or evaluation"
        )
    return int(min(experiment.seeds, max(1, free // (2 * need))))


def bytes_per_seed(experiment: TreeExperiment, device: torch.device) -> int:
    """Return about how much memory a seed takes at most: in a step, or while it is measured."""
    nodes, inner = experiment.nodes
    neurons, draws = inner * experiment.width, experiment.evaluation
    fan = experiment.branching * experiment.width

    def step(triples: int) -> int:
        return 3 * triples * (8 * nodes + 12 * neurons)

    beliefs = CEILING_DRAWS * draws * nodes * 80
    jacobians = 12 * neurons * experiment.width * chunk_of(device, 1) + 8 * neurons * experiment.width * fan
    measured = 8 * draws * nodes + max(beliefs, 16 * draws * neurons + jacobians, step(draws // 2))
    return measured + step(experiment.batch) + 24 * neurons * fan


def free_bytes(device: torch.device) -> int:
    """Return the memory that is left on a device, as far as the system tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def chunk_of(device: torch.device, seeds: int) -> int:
    """Return how many draws Jacobians are worked out for at once: few suit caches, many a GPU."""
    return min(256, max(64, 4096 // seeds)) if device.type == "cpu" else 2048


def level_table(rows: pd.DataFrame, value: str = "correlation", *, epochs: tuple[int, ...]) -> pd.DataFrame:
    """Return mean and standard deviation over seeds of a level's mean, for each level and epoch.

    Args:
        rows: What `run` returned.
        value: The column to summarise.
        epochs: Which epochs.

    Returns:
        Index (level, epoch), columns "mean", "std" (NaN for one seed) and "seeds".

    Raises:
        ValueError: If the rows hold none of an epoch.
    """
    missing = set(epochs) - set(rows["epoch"])
    if missing:
        raise ValueError(f"epochs must be among {sorted(set(rows['epoch']))}, got {sorted(missing)}")
    chosen = rows[rows["epoch"].isin(epochs)]
    by_seed = chosen.groupby(["level", "epoch", "seed"])[value].mean()
    table = by_seed.groupby(["level", "epoch"]).agg(["mean", "std", "count"])
    return table.rename(columns={"count": "seeds"})


def explained(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how much of the measured update the leading operator explains, by level and epoch.

    Args:
        rows: What `run` returned.

    Returns:
        Index (level, epoch); `cosine` of the two updates of a level, all nodes and seeds together, and
        `ratio`, the norm of the leading one over that of the measured one. Estimates: noise may carry a
        cosine beyond 1.
    """
    sums = rows.groupby(["level", "epoch"])[["update_dot", "update_square", "leading_square"]].sum()
    update, leading = (
        sums["update_square"].clip(lower=0.0) ** 0.5,
        sums["leading_square"].clip(lower=0.0) ** 0.5,
    )
    return pd.DataFrame({"cosine": sums["update_dot"] / (update * leading), "ratio": leading / update})


class _Group:
    """Seeds that are trained together: trees, networks, a fixed sample to measure on."""

    def __init__(self, experiment: TreeExperiment, seeds: range, device: torch.device) -> None:
        self.experiment, self.seeds, self.device = experiment, seeds, device
        # a seed's tree and first weights are the same on all devices, whatever it is trained together with
        sources = [torch.Generator().manual_seed(experiment.seed * 1_000_003 + s) for s in seeds]
        trees = TreeEnsemble([_tree(experiment, source) for source in sources])
        self.net = TreeNetwork.joined([_network(experiment, source) for source in sources]).to(device)
        stream = int(torch.randint(2**62, (), generator=sources[0]))
        self.generator = torch.Generator(device).manual_seed(stream)
        self.trees = trees.to(device)
        self.inner = list(trees.topology.inner)
        self.loss = ensemble_loss(experiment.loss, experiment.temperature)
        self.prepare()

    def prepare(self) -> None:
        """Draw the sample to measure on, with its beliefs, and estimate the ceilings."""
        draws = self.experiment.evaluation
        states = self.trees.sample(draws, generator=self.generator)
        self.states = states.mT.to(torch.float32)
        self.beliefs = self.trees.belief_means(states[..., list(self.trees.leaves)]).mT.float()
        ceilings = belief_ceilings(self.trees, CEILING_DRAWS * draws, generator=self.generator)
        depths = [self.trees.topology.depths[v] for v in self.inner]
        self.labels: dict[str, Any] = {
            "group": self.seeds.start,
            "seed": [s for s in self.seeds for _ in self.inner],
            "node": self.inner * len(self.seeds),
            "level": depths * len(self.seeds),
            "ceiling": ceilings.value[:, self.inner].flatten(),
            "ceiling_error": ceilings.error[:, self.inner].flatten(),
        }

    def train(
        self, checkpoint: Path | None, compiled: bool | str, graph: bool, progress: bool
    ) -> pd.DataFrame:
        experiment = self.experiment
        total = experiment.epochs * experiment.steps
        cosine = partial(CosineAnnealingLR, T_max=max(1, total))
        rows = fit(
            self.net,
            lambda _: self.batch_loss(experiment.batch).sum(),  # each seed descends its own loss
            steps=total,
            schedule=cosine if experiment.schedule == "cosine" else None,
            optimizer=partial(OPTIMIZERS[experiment.optimizer], lr=experiment.rate),
            measure=self.measure,
            measure_every=experiment.steps,
            checkpoint=checkpoint,
            checkpoint_every=experiment.steps,
            generators=[self.generator],
            configuration=asdict(experiment) | {"first": self.seeds.start, "together": len(self.seeds)},
            compile=compiled,
            graph=graph,
            progress=self.bars() if progress else False,
        )
        rows["loss"] /= len(self.seeds)
        rows.insert(0, "epoch", rows.pop("step") // experiment.steps)
        return rows.drop(columns=self.bars())

    def bars(self) -> list[str]:
        return [f"{BAR}{depth}" for depth in range(self.experiment.depth)]

    def batch_loss(self, count: int) -> Float[Tensor, " S"]:
        states = self.trees.triples(count, generator=self.generator, dtype=torch.uint8).states
        pixels = states.mT[:, span(self.trees.leaves)].view(torch.bool)
        anchor, others = self.net(pixels).unflatten(-1, (3, count)).split((1, 2), -2)
        r_pos, r_neg = ((others - anchor).square().sum(1) / 2.0).unbind(1)
        return self.loss(r_pos, r_neg)

    def measure(self, step: int) -> Mapping[str, Any]:
        with torch.no_grad():
            trace = self.net.trace(self.states[:, list(self.trees.leaves)])
            targets = torch.stack([self.states, self.beliefs])
            correlation, belief = best_correlations(self.net, trace, targets)
        operators = [self.operators(half) for half in torch.tensor_split(self.states, 2, -1)]
        levels = torch.tensor([self.trees.topology.depths[v] for v in self.inner], device=self.device)
        return {
            **self.labels,
            "correlation": correlation.flatten(),
            "belief_correlation": belief.flatten(),
            "operator_norm": ((operators[0].norms() + operators[1].norms()) / 2).flatten(),
            **self.compare(operators),
            **{f"{BAR}{k}": float(correlation[:, levels == k].mean()) for k in range(self.experiment.depth)},
        }

    def operators(self, states: Tensor) -> NodeOperators:
        """Return the leading operators, estimated from half of the sample."""
        contrast = sample_contrast(states[:, 0].long(), states.dtype)
        pixels = states[:, list(self.trees.leaves)]
        leading = leading_loss(self.experiment.loss, self.experiment.temperature)
        chunk = chunk_of(self.device, len(self.seeds))
        return node_operators(self.net, pixels, contrast, self.trees.root_polarity, leading, chunk=chunk)

    def compare(self, operators: list[NodeOperators]) -> dict[str, Tensor]:
        """Return inner products of the measured and the leading update, from two independent halves each."""
        leading = [operator.updates() for operator in operators]
        measured = []
        for _ in range(2):
            loss = self.batch_loss(self.experiment.evaluation // 2).sum()
            gradients = torch.autograd.grad(loss, list(self.net.weights))
            measured.append([-0.5 * gradient for gradient in gradients])  # one branch
        return {
            "update_square": self.products(measured[0], measured[1]),
            "leading_square": self.products(leading[0], leading[1]),
            "update_dot": (self.products(measured[0], leading[0]) + self.products(measured[1], leading[1]))
            / 2,
        }

    def products(self, left: list[Tensor], right: list[Tensor]) -> Tensor:
        """Return Σ left·right over the weights of each node, seed by seed, nodes in ascending order."""
        blocks = [(a * b).sum((1, 2)).view(len(self.seeds), -1) for a, b in zip(left, right, strict=True)]
        return torch.cat(blocks, 1).flatten()


BAR = "L"  # of the columns that only the progress bar shows


def _tree(experiment: TreeExperiment, generator: torch.Generator) -> LatentTree:
    return LatentTree.regular(
        experiment.depth,
        experiment.branching,
        polarity=experiment.polarity,
        root_polarity=experiment.root_polarity,
        generator=generator,
    )


def _network(experiment: TreeExperiment, generator: torch.Generator) -> TreeNetwork:
    return TreeNetwork.random(
        Topology.regular(experiment.depth, experiment.branching),
        experiment.width,
        init=experiment.init,
        bias=experiment.bias,
        normalise=experiment.normalise,
        generator=generator,
        dtype=torch.float32,
    )


def ensemble_loss(name: LossName, temperature: float) -> EnsembleLoss:
    """Return the function (r+, r-) -> loss of each seed, (S, B), (S, B) -> (S,)."""
    return partial(LOSSES[name], temperature)


def leading_loss(name: LossName, temperature: float) -> ContrastiveLoss:
    """Return the loss whose ξ̄ scales the operators; 1 where the loss has no leading part of its own."""
    return InfoNCE(temperature) if name == "infonce" else SimpleContrastive()


def _infonce(temperature: float, r_pos: Tensor, r_neg: Tensor) -> Tensor:
    return -logsigmoid((r_neg - r_pos) / temperature).mean(1)  # with one negative, in few kernels


def _simple(temperature: float, r_pos: Tensor, r_neg: Tensor) -> Tensor:
    return (r_pos - r_neg).mean(1)


def _positives(temperature: float, r_pos: Tensor, r_neg: Tensor) -> Tensor:
    return r_pos.mean(1)


def _shared_weight(temperature: float, r_pos: Tensor, r_neg: Tensor) -> Tensor:
    return -torch.sigmoid((r_neg.mean(1) - r_pos.mean(1)) / temperature)


LOSSES: dict[LossName, Callable[[float, Tensor, Tensor], Tensor]] = {
    "infonce": _infonce,
    "simple": _simple,
    "positives": _positives,
    "shared-weight": _shared_weight,
}
OPTIMIZERS: dict[Optimizer, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
}


def _require_one_of(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
