"""Tree networks, trained and measured many seeds at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import tqdm

from ssl_theory.experiments.trees.losses import ensemble_loss, leading_loss
from ssl_theory.experiments.trees.memory import CEILING_DRAWS, chunk_of, seeds_at_once
from ssl_theory.experiments.trees.settings import Optimizer, TreeExperiment
from ssl_theory.hltm.ensemble import TreeEnsemble
from ssl_theory.hltm.limits import additive_limits, belief_ceilings, best_sums
from ssl_theory.hltm.metrics import best_correlations
from ssl_theory.hltm.network import TreeNetwork
from ssl_theory.hltm.node_operators import NodeOperators, node_operators, sample_contrast
from ssl_theory.hltm.topology import Topology, span
from ssl_theory.hltm.tree import LatentTree
from ssl_theory.training import GRAPH_MODES, fit, resolve_device
from ssl_theory.validation import require_integer

OPTIMIZERS: dict[Optimizer, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
}


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
        latent, its `ceiling` and the ceiling's standard error `ceiling_error`, the `belief_correlation`; of
        pre-activations `sum_correlation`, their limit `sum_ceiling` and `best_sum_correlation`, that with the
        best sum (see `best_sums`);
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
        group = _Group(experiment, seeds, place, progress=progress)
        tables.append(group.train(path, compile, graph, progress))
    return pd.concat(tables, ignore_index=True)


class _Group:
    """Seeds that are trained together: trees, networks, a fixed sample to measure on."""

    def __init__(
        self, experiment: TreeExperiment, seeds: range, device: torch.device, *, progress: bool = False
    ) -> None:
        self.experiment, self.seeds, self.device = experiment, seeds, device
        shown = partial(tqdm, disable=not progress, leave=False)
        # a seed's tree and first weights are the same on all devices, whatever it is trained together with
        sources = [torch.Generator().manual_seed(experiment.seed * 1_000_003 + s) for s in seeds]
        trees = TreeEnsemble([_tree(experiment, source) for source in shown(sources, desc="trees")])
        networks = [_network(experiment, source) for source in shown(sources, desc="networks")]
        self.net = TreeNetwork.joined(networks).to(device)
        stream = int(torch.randint(2**62, (), generator=sources[0]))
        self.generator = torch.Generator(device).manual_seed(stream)
        self.trees = trees.to(device)
        self.inner = list(trees.topology.inner)
        self.loss = ensemble_loss(experiment.loss, experiment.temperature)
        with shown(total=1, desc="beliefs") as bar:
            self.prepare()
            bar.update()

    def prepare(self) -> None:
        """Draw the sample to measure on, with its beliefs, and estimate the ceilings."""
        draws = self.experiment.evaluation
        states = self.trees.sample(draws, generator=self.generator)
        self.states = states.mT.to(torch.float32)
        beliefs = self.trees.belief_means(states[..., list(self.trees.leaves)])
        ceilings = belief_ceilings(self.trees, CEILING_DRAWS * draws, generator=self.generator)
        sums = best_sums(self.trees, beliefs, ceilings.value)
        self.beliefs, self.sums = beliefs.mT.float(), sums.mT.float()
        depths = [self.trees.topology.depths[v] for v in self.inner]
        self.labels: dict[str, Any] = {
            "group": self.seeds.start,
            "seed": [s for s in self.seeds for _ in self.inner],
            "node": self.inner * len(self.seeds),
            "level": depths * len(self.seeds),
            "ceiling": ceilings.value[:, self.inner].flatten(),
            "ceiling_error": ceilings.error[:, self.inner].flatten(),
            "sum_ceiling": additive_limits(self.trees, ceilings.value)[:, self.inner].flatten(),
        }

    def train(
        self, checkpoint: Path | None, compiled: bool | str, graph: bool, progress: bool
    ) -> pd.DataFrame:
        experiment = self.experiment
        rows = self.descend(
            experiment.epochs * experiment.steps,
            measure=self.measure,
            measure_every=experiment.steps,
            checkpoint=checkpoint,
            checkpoint_every=experiment.steps,
            configuration=asdict(experiment) | {"first": self.seeds.start, "together": len(self.seeds)},
            compile=compiled,
            graph=graph,
            progress=self.bars() if progress else False,
        )
        rows["loss"] /= len(self.seeds)
        rows.insert(0, "epoch", rows.pop("step") // experiment.steps)
        return rows.drop(columns=self.bars())

    def descend(self, updates: int, **how: Any) -> pd.DataFrame:
        """Return the history of so many updates; further arguments as for `fit`."""
        experiment = self.experiment
        cosine = partial(CosineAnnealingLR, T_max=max(1, updates))
        return fit(
            self.net,
            lambda _: self.batch_loss(experiment.batch).sum(),  # each seed descends its own loss
            steps=updates,
            schedule=cosine if experiment.schedule == "cosine" else None,
            optimizer=partial(OPTIMIZERS[experiment.optimizer], lr=experiment.rate),
            generators=[self.generator],
            **how,
        )

    def bars(self) -> list[str]:
        return [f"{BAR}{depth}" for depth in range(self.experiment.depth)]

    def batch_loss(self, count: int) -> Float[Tensor, " S"]:
        r_pos, r_neg = distances(self.outputs(count, self.generator))
        return self.loss(r_pos, r_neg)

    def outputs(self, count: int, generator: torch.Generator) -> Float[Tensor, "S n views B"]:
        """Return the outputs of fresh triples: of x1, x+ and all x-."""
        negatives = self.experiment.negatives
        states = self.trees.triples(count, negatives=negatives, generator=generator, dtype=torch.uint8).states
        pixels = states.mT[:, span(self.trees.leaves)].view(torch.bool)
        outputs: Tensor = self.net(pixels)
        return outputs.view(*outputs.shape[:2], 2 + negatives, count)

    def measure(self, step: int) -> Mapping[str, Any]:
        with torch.no_grad():
            trace = self.net.trace(self.states[:, list(self.trees.leaves)])
            targets = torch.stack([self.states, self.beliefs])
            correlation, belief = best_correlations(self.net, trace, targets)
            targets = torch.stack([self.states, self.sums])
            of_sums, best_sum = best_correlations(self.net, trace, targets, pre_activations=True)
        operators = [self.operators(half) for half in torch.tensor_split(self.states, 2, -1)]
        levels = torch.tensor([self.trees.topology.depths[v] for v in self.inner], device=self.device)
        return {
            **self.labels,
            "correlation": correlation.flatten(),
            "belief_correlation": belief.flatten(),
            "sum_correlation": of_sums.flatten(),
            "best_sum_correlation": best_sum.flatten(),
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
        how = {"negatives": self.experiment.negatives, "chunk": chunk}
        return node_operators(self.net, pixels, contrast, self.trees.root_polarity, leading, **how)

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


def distances(
    outputs: Float[Tensor, "S n views B"],
) -> tuple[Float[Tensor, "S B"], Float[Tensor, "S *H B"]]:
    """Return r+ and r- of outputs of x1, x+ and H times x-, without the dimension of negatives if H = 1."""
    anchor, others = outputs[:, :, :1], outputs[:, :, 1:]
    r = (others - anchor).square().sum(1) / 2.0
    return r[:, 0], r[:, 1:].squeeze(1)


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
