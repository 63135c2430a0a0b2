"""What the operator explains of the steps of tree networks while they train, beside nulls (T11).

Every gradient of a function of the outputs lies in the span of the connections, so that it is compared with
gradients of targets that know nothing of the objects and lie there, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from math import gcd
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

import ssl_theory
from ssl_theory.experiments.store import Setting
from ssl_theory.experiments.sweep import Report, sweep
from ssl_theory.experiments.trees.losses import ensemble_loss
from ssl_theory.experiments.trees.settings import TreeExperiment
from ssl_theory.experiments.trees.train import _Group, distances
from ssl_theory.hltm.node_operators import NodeOperators
from ssl_theory.losses import InfoNCE, two_view_covariance_loss
from ssl_theory.operators import random_target
from ssl_theory.training import resolve_device
from ssl_theory.validation import require_integer

OTHERS = ("covariance", "simple")
NULLS = ("permuted", "object", "view")
UPDATES = (0, 10, 20, 50, 100, 200, 500, 1000, 2000)

Levels = list[Float[Tensor, "S _"]]


def tree_targets(
    outputs: Float[Tensor, "S n views B"], temperature: float, generator: torch.Generator
) -> dict[str, Float[Tensor, ""]]:
    """Return losses of one batch of outputs, summed over seeds: those of the book, and nulls.

    Args:
        outputs: Of x1, x+ and one or more x-, as `_Group.outputs` gives them.
        temperature: τ.
        generator: Source of the nulls, on the device of the outputs.

    Returns:
        "infonce" and "simple" of the triples; "covariance", that of `two_view_covariance_loss` on x1 and x+;
        "permuted", InfoNCE with the positives of other objects; "object" and "view", directions asked of x1
        and x+ at random, for each object or for each view.
    """
    positive = outputs[:, :, 1]
    shuffled = torch.randperm(outputs.shape[-1], generator=generator, device=outputs.device)
    crossed = torch.cat([outputs[:, :, :1], positive[:, :, None, shuffled], outputs[:, :, 2:]], 2)
    infonce, simple = (ensemble_loss(name, temperature) for name in ("infonce", "simple"))
    pairs = outputs[:, :, :2].permute(0, 3, 2, 1)  # (S, B, 2, n)
    weighted = partial(two_view_covariance_loss, loss=InfoNCE(temperature))
    found = {
        "infonce": infonce(*distances(outputs)).sum(),
        "covariance": torch.stack([weighted(*one.unbind(1)) for one in pairs]).sum(),
        "simple": simple(*distances(outputs)).sum(),
        "permuted": infonce(*distances(crossed)).sum(),
    }
    objects = pairs.flatten(0, 1)
    kinds: tuple[Literal["object"], Literal["view"]] = ("object", "view")
    return found | {kind: (objects * random_target(objects, kind, generator)).sum() for kind in kinds}


def tree_mechanism(
    experiment: TreeExperiment,
    *,
    device: str = "cpu",
    updates: Sequence[int] = UPDATES,
    batches: int = 8,
) -> pd.DataFrame:
    """Train networks and return what a covariance explains of their gradients along the way.

    Args:
        experiment: What to run; as many updates as the last moment asks for.
        device: As for `resolve_device`.
        updates: Moments, ascending.
        batches: Batches over which gradients are averaged, at least 2; operators are measured on the
            experiment's `evaluation` draws, of which gradients know nothing.

    Returns:
        A row for each moment, seed and level: `updates`, `epoch`, `network`, `layer`, `size` D of the level's
        weights, `directions` n_L; `cos_` and the name of a target, the cosine of its gradient with InfoNCE's
        on the same batch, the mean over batches; `cosine_of_means`, that of the mean gradients of InfoNCE and
        of the covariance loss; `cos_operator`, that of InfoNCE's mean gradient with OP·vec(W), and
        `cos_operator_` and a name, of other targets; `share_` and a name, the share of its gradient in the
        n_L directions of V_x[K̄] of the level, the mean over batches; `update_dot`, `update_square` and
        `leading_square`, inner products of InfoNCE's mean step and the leading one, each from independent
        halves, so that sums over seeds give a cosine without bias by noise.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If there are less than two batches, no moments, or the device is not there.
    """
    require_integer("batches", batches, 2)
    if not updates or list(updates) != sorted(set(updates)):
        raise ValueError(f"updates must be ascending moments, got {tuple(updates)}")
    for moment in updates:
        require_integer("updates", moment, 0)
    group = _Group(experiment, range(experiment.seeds), resolve_device(device))
    look = _Look(group, batches)
    found: list[pd.DataFrame] = []

    def measure(step: int) -> Mapping[str, Any]:
        if step in updates:
            found.append(look.rows().assign(updates=step, epoch=step / experiment.steps))
        return {}

    group.descend(max(updates), measure=measure, measure_every=max(1, gcd(*updates)))
    rows = pd.concat(found, ignore_index=True)
    first = ["updates", "epoch", "network", "layer"]
    return rows[[*first, *rows.columns.drop(first)]]


class _Look:
    """One look at the networks of a group; what it draws does not change what they are trained on."""

    def __init__(self, group: _Group, batches: int) -> None:
        self.group, self.batches = group, batches
        self.generator = torch.Generator(group.device).manual_seed(group.experiment.seed)

    def rows(self) -> pd.DataFrame:
        group, steps = self.group, self.gradients()
        halves = [group.operators(half) for half in torch.tensor_split(group.states, 2, -1)]
        asked = [self.split(half.level_updates()) for half in halves]
        leading = [self.split(half.updates()) for half in halves]
        tables = []
        for level in range(len(asked[0])):
            values = self.directions(
                [{name: levels[level] for name, levels in step.items()} for step in steps],
                asked[0][level] + asked[1][level],
                [half[level] for half in leading],
                orthonormal(halves, level),
            )
            own = {"network": list(group.seeds), "layer": f"level {level}"}
            tables.append(pd.DataFrame(own | {name: value.tolist() for name, value in values.items()}))
        return pd.concat(tables, ignore_index=True)

    def gradients(self) -> list[dict[str, Levels]]:
        """Return the descent directions of all targets on some batches, a vector per seed and level."""
        group, found = self.group, []
        weights = list(group.net.weights)
        for _ in range(self.batches):
            outputs = group.outputs(group.experiment.batch, self.generator)
            targets = tree_targets(outputs, group.experiment.temperature, self.generator)
            parts = {name: torch.autograd.grad(v, weights, retain_graph=True) for name, v in targets.items()}
            found.append({name: self.split([-g for g in gs]) for name, gs in parts.items()})
        return found

    def split(self, levels: Sequence[Tensor]) -> Levels:
        return [level.detach().double().reshape(len(self.group.seeds), -1) for level in levels]

    def directions(
        self,
        steps: list[dict[str, Tensor]],
        asked: Tensor,
        leading: list[Tensor],
        basis: Tensor,
    ) -> dict[str, Tensor]:
        """Return what `tree_mechanism` says of one level, a number for each seed."""
        means = {name: torch.stack([step[name] for step in steps]).mean(0) for name in steps[0]}
        own = [step["infonce"] for step in steps]
        first, second = (0.5 * torch.stack(own[k::2]).mean(0) for k in (0, 1))  # one branch
        one, two = leading

        def shares(name: str) -> Tensor:
            return torch.stack([share(step[name], basis) for step in steps]).mean(0)

        def along(name: str) -> Tensor:
            return torch.stack([cosine_similarity(step["infonce"], step[name]) for step in steps]).mean(0)

        names = ("infonce", *OTHERS, *NULLS)
        return {
            "size": torch.full((len(asked),), asked.shape[1]),
            "directions": torch.full((len(asked),), basis.shape[2]),
            **{f"cos_{name}": along(name) for name in names[1:]},
            "cosine_of_means": cosine_similarity(means["infonce"], means["covariance"]),
            "cos_operator": cosine_similarity(means["infonce"], asked),
            **{f"cos_operator_{name}": cosine_similarity(means[name], asked) for name in names[1:]},
            **{f"share_{name}": shares(name) for name in names},
            "update_dot": ((first + second) * (one + two)).sum(1) / 4.0,
            "update_square": (first * second).sum(1),
            "leading_square": (one * two).sum(1),
        }


def orthonormal(operators: Sequence[NodeOperators], level: int) -> Float[Tensor, "S D n_L"]:
    """Return an orthonormal basis of the span of Δ of a whole level, averaged over estimates of it."""
    gaps = torch.stack([operator.gaps[level] for operator in operators]).mean(0).double()
    nodes = len(operators[0].net.levels[level].nodes)
    columns = gaps.view(-1, nodes, *gaps.shape[1:]).permute(0, 1, 2, 4, 3).flatten(1, 3)
    basis: Tensor = torch.linalg.qr(columns)[0]
    return basis


def share(vectors: Float[Tensor, "S D"], basis: Float[Tensor, "S D k"]) -> Float[Tensor, " S"]:
    """Return ‖P v‖²/‖v‖², the share of a vector in a subspace; NaN for the vector 0."""
    inside = (vectors.unsqueeze(2) * basis).sum(1).square().sum(1)
    return inside / vectors.square().sum(1)


def mechanism_table(
    settings: Mapping[str, TreeExperiment],
    path: Path | None = None,
    *,
    device: str = "cpu",
    executor: Executor | None = None,
    report: Report | None = None,
    **how: Any,
) -> pd.DataFrame:
    """Return `tree_mechanism` of some experiments.

    Args:
        settings: Experiments by name.
        path: CSV file, as for `sweep`; None to keep nothing.
        device: As for `resolve_device`, where the experiments run.
        executor: As for `sweep`.
        report: As for `sweep`.
        **how: Further arguments of `tree_mechanism`.

    Returns:
        The rows of all, with the name in the column "setting", the settings, torch's version and the device.

    Raises:
        ValueError: As for `tree_mechanism` and `sweep`.
        OSError: As for `sweep`.
    """
    wanted = [
        Setting(name, one.labels, partial(_stored, name, one, device, how)) for name, one in settings.items()
    ]
    return sweep(wanted, path, executor=executor, names="setting", report=report)


def _stored(
    name: str, experiment: TreeExperiment, device: str, how: Mapping[str, Any], _: Path | None
) -> pd.DataFrame:
    rows = tree_mechanism(experiment, device=device, **how)
    rows.insert(0, "setting", name)
    versions = {"torch": torch.__version__, "ssl_theory": ssl_theory.__version__}
    return rows.assign(**experiment.labels, **versions, device=str(resolve_device(device)))
