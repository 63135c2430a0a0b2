"""Are the leading directions of a layer's operator those that grow? Measured in encoders of images (T12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_theory.experiments.images import ImageExperiment, ImageRun
from ssl_theory.experiments.images.settings import ADDED
from ssl_theory.experiments.store import Setting
from ssl_theory.experiments.sweep import Report, sweep
from ssl_theory.networks import vec
from ssl_theory.operators import WeightOperator, operator
from ssl_theory.validation import require_integer

LAYERS = {
    "0.layers.0.0": "convolution 1",
    "0.layers.1.0": "convolution 2",
    "0.layers.2.0": "convolution 3",
    "1.layers.0": "projector",
}


class Normalise(nn.Module):
    """Divides outputs by their norm, as the losses on normalised outputs do."""

    def forward(self, outputs: Float[Tensor, "B n"]) -> Float[Tensor, "B n"]:
        """Return outputs of norm 1, (B, n) -> (B, n)."""
        return F.normalize(outputs)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One run with its weights at some epochs.

    Attributes:
        run: The run, in its last state.
        rows: Its evaluations.
        states: The state of encoder, projector and normalisation by epoch.
    """

    run: ImageRun
    rows: pd.DataFrame
    states: Mapping[int, Mapping[str, Tensor]]

    def model(self, epoch: int) -> nn.Module:
        """Return encoder, projector and normalisation in evaluation mode, as they were after an epoch.

        Args:
            epoch: One of those kept.

        Returns:
            The run's own modules, until the next call.

        Raises:
            ValueError: If the epoch was not kept.
        """
        if epoch not in self.states:
            raise ValueError(f"epoch must be one of {sorted(self.states)}, got {epoch}")
        parts: list[nn.Module] = [self.run.encoder, self.run.projector]
        if self.run.experiment.loss != "covariance-plain":
            parts.append(Normalise())
        model = nn.Sequential(*parts).eval()
        model.load_state_dict(self.states[epoch])
        return model

    def gradients(self, epoch: int, batches: int = 4) -> dict[str, Tensor]:
        """Return the gradient of the loss at the weights after an epoch, by name of the weight.

        Args:
            epoch: One of those kept.
            batches: How many of the first batches it is averaged over.

        Returns:
            Of encoder and projector, in training mode as the run itself computed it.
        """
        self.model(epoch)
        parameters = dict(self.run.model.train().named_parameters())
        loss = torch.stack([self.run.loss(step) for step in range(batches)]).mean()
        found = torch.autograd.grad(loss, list(parameters.values()))
        return dict(zip(parameters, found, strict=True))

    def weight(self, layer: str, epoch: int) -> Float[Tensor, "n_l n_k"]:
        """Return the weights of a layer after an epoch as a matrix, one row for each neuron or channel."""
        return self.states[epoch][f"{layer}.weight"].flatten(1)


def follow(experiment: ImageExperiment, seed: int, *, device: str = "cpu") -> Trajectory:
    """Train one encoder and keep its weights at every evaluation.

    Args:
        experiment: What to run.
        seed: Seed of the run.
        device: As for `resolve_device`.

    Returns:
        The run with its weights.
    """
    run = ImageRun.on(experiment, seed, device=device)
    states: dict[int, dict[str, Tensor]] = {}

    def keep(epoch: int) -> Mapping[str, Any]:
        states[epoch] = {name: value.clone() for name, value in run.model.state_dict().items()}
        return {}

    return Trajectory(run, run.train(measure=keep), states)


def fixed_views(run: ImageRun, objects: int, copies: int) -> Float[Tensor, "N A C h w"]:
    """Return random views of the first test images, the same for all epochs and losses of a seed.

    Args:
        run: Whose data and seed to use.
        objects: N, how many objects.
        copies: A, how many views of each.

    Returns:
        Shape (N, A, C, h, w).
    """
    images = run.data.test.images[: require_integer("objects", objects, 2, len(run.data.test))]
    g = torch.Generator(run.data.device).manual_seed(run.seed)
    return torch.stack([run.data.view(images, generator=g) for _ in range(copies)], 1)


def overlap(change: Float[Tensor, "n_l n_k"], basis: Float[Tensor, "k n_l n_k"]) -> float:
    """Return ‖P Δ‖²/‖Δ‖², the share of a change that lies in a subspace; k/D for a random direction.

    Args:
        change: Δ, a matrix of weights.
        basis: An orthonormal basis of the subspace, shape (k, n_l, n_k).

    Returns:
        A number from 0 to 1; NaN for no change.
    """
    coordinates = (basis * change).sum((1, 2))
    return float(coordinates.square().sum() / change.square().sum())


def predicted_overlap(
    operator: WeightOperator,
    values: Float[Tensor, " k"],
    basis: Float[Tensor, "k n_l n_k"],
    *,
    probes: int,
    generator: torch.Generator,
) -> float:
    """Return Σ_{i ≤ k} λ_i² / tr OP², the overlap of the update OP·w with isotropic w.

    Args:
        operator: OP, symmetric.
        values: Its k leading eigenvalues.
        basis: Their eigenvectors, orthonormal.
        probes: Random signs from which the trace of the rest is estimated (Hutchinson's estimator).
        generator: Source of the signs, on the CPU.

    Returns:
        The ratio, at most 1.
    """
    signs = torch.randint(0, 2, (operator.shape[0], probes), generator=generator) * 2 - 1
    probe = signs.to(operator.device, operator.dtype)
    columns = basis.mT.flatten(1)  # vec is column-major
    rest = operator(probe - columns.mT @ (columns @ probe)).square().sum() / probes
    known = values.square().sum()
    return float(known / (known + rest))


@dataclass(frozen=True, eq=False)
class LayerOperator:
    """Leading eigenvalues and directions of V_x[K̄_l] of one layer at one moment.

    Attributes:
        operator: The operator, matrix-free.
        values: Descending, shape (k,).
        directions: Orthonormal, shape (k, n_l, n_k).
    """

    operator: WeightOperator
    values: Float[Tensor, " k"]
    directions: Float[Tensor, "k n_l n_k"]


def layer_operator(
    trajectory: Trajectory, layer: str, epoch: int, views: Float[Tensor, "N A C h w"], k: int
) -> LayerOperator:
    """Return the leading part of the spectrum of a layer's operator after an epoch, BatchNorm as in training.

    Args:
        trajectory: A run with its weights.
        layer: Name of the layer, one of `LAYERS`.
        epoch: An epoch that was kept.
        views: Finite view set.
        k: How many directions.

    Returns:
        The operator with its k leading eigenvalues and directions.
    """
    found = operator(trajectory.model(epoch), views, layer, part="between", mode="batch")
    return LayerOperator(found, *found.top(k))


def overlaps(
    trajectory: Trajectory,
    *,
    layers: Sequence[str] = tuple(LAYERS),
    epochs: Sequence[int] | None = None,
    directions: int = 10,
    objects: int = 32,
    copies: int = 4,
    probes: int = 8,
) -> pd.DataFrame:
    """Return how much of each layer's further change lies in the leading space of its operator.

    Args:
        trajectory: A run with its weights.
        layers: Names of layers.
        epochs: Moments, ascending; None for all that were kept.
        directions: k.
        objects: Objects of the view set on which operators are measured.
        copies: Views of each.
        probes: As for `predicted_overlap`.

    Returns:
        A row for each layer and moment: `loss_name`, `seed`, `layer`, `epoch`, `size` D, `directions` k,
        `random` k/D, and overlaps: `weight` of the weights themselves; `update` of the update that the
        operator asks for, OP·vec(W); `gradient` of the loss's own gradient; `predicted` for isotropic
        weights; `change` of what training changes until the next moment, NaN at the last. At the end the k
        eigenvalues as one text, `eigenvalues`.
    """
    run = trajectory.run
    views = fixed_views(run, objects, copies)
    moments = sorted(trajectory.states) if epochs is None else list(epochs)
    rows = []
    for i, epoch in enumerate(moments):
        gradients = trajectory.gradients(epoch)
        for layer in layers:
            found = layer_operator(trajectory, layer, epoch, views, directions)
            weight, size = trajectory.weight(layer, epoch), found.operator.shape[0]
            asked = found.operator(vec(weight)).view(weight.shape[::-1]).mT
            later = trajectory.weight(layer, moments[i + 1]) if i + 1 < len(moments) else weight
            g = torch.Generator().manual_seed(run.seed)
            rows.append(
                {
                    "loss_name": run.experiment.loss,
                    "seed": run.seed,
                    "layer": LAYERS.get(layer, layer),
                    "epoch": epoch,
                    "size": size,
                    "directions": directions,
                    "random": directions / size,
                    "weight": overlap(weight, found.directions),
                    "update": overlap(asked, found.directions),
                    "gradient": overlap(gradients[f"{layer}.weight"].flatten(1), found.directions),
                    "predicted": predicted_overlap(
                        found.operator, found.values, found.directions, probes=probes, generator=g
                    ),
                    "change": overlap(later - weight, found.directions),
                    "eigenvalues": " ".join(f"{v:.6g}" for v in found.values.tolist()),
                }
            )
    return pd.DataFrame(rows)


def operator_table(
    experiments: Sequence[ImageExperiment],
    *,
    folder: str | Path | None = None,
    device: str = "cpu",
    executor: Executor | None = None,
    report: Report | None = None,
) -> pd.DataFrame:
    """Return `overlaps` of all runs of some experiments, at the start, in the middle and at the end.

    Args:
        experiments: What to run, with their seeds.
        folder: Of the table, operators.csv as `sweep` writes it; None to keep nothing.
        device: As for `resolve_device`, where the experiments run.
        executor: As for `sweep`.
        report: As for `sweep`.

    Returns:
        The rows of all runs, with their settings.

    Raises:
        ValueError: As for `ImageRun.on` and `sweep`.
        OSError: As for `sweep`.
    """
    settings = [
        Setting(f"{e.loss}, seed {seed}", e.labels | {"seed": seed}, partial(_three_moments, e, seed, device))
        for e in experiments
        for seed in range(e.seed, e.seed + e.seeds)
    ]
    path = None if folder is None else Path(folder) / "operators.csv"
    return sweep(settings, path, executor=executor, added=ADDED, report=report)


def _three_moments(experiment: ImageExperiment, seed: int, device: str, _: Path | None) -> pd.DataFrame:
    trajectory = follow(experiment, seed, device=device)
    kept = sorted(trajectory.states)
    rows = overlaps(trajectory, epochs=[kept[0], kept[len(kept) // 2], kept[-1]])
    return rows.assign(**{n: value for n, value in experiment.labels.items() if n not in rows})
