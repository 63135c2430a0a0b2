"""What a covariance explains of the gradients of encoders of images, beside nulls in the same span (T12)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_theory.experiments.images import ImageExperiment, ImageRun
from ssl_theory.experiments.images.losses import PLAIN, batch_loss
from ssl_theory.experiments.images.settings import ADDED, LossName
from ssl_theory.experiments.images.tables import made_on
from ssl_theory.experiments.store import Setting
from ssl_theory.experiments.sweep import Report, sweep
from ssl_theory.losses import InfoNCE
from ssl_theory.networks import vec
from ssl_theory.operators import WeightOperator, cosine, operator, overlap, random_target
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
        if self.run.experiment.loss not in PLAIN:
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


def follow(
    experiment: ImageExperiment, seed: int, *, device: str = "cpu", evaluated: bool = True
) -> Trajectory:
    """Train one encoder and keep its weights at every evaluation.

    Args:
        experiment: What to run.
        seed: Seed of the run.
        device: As for `resolve_device`.
        evaluated: As for `ImageRun.train`.

    Returns:
        The run with its weights.
    """
    run = ImageRun.on(experiment, seed, device=device)
    states: dict[int, dict[str, Tensor]] = {}

    def keep(epoch: int) -> Mapping[str, Any]:
        states[epoch] = {name: value.clone() for name, value in run.model.state_dict().items()}
        return {}

    return Trajectory(run, run.train(measure=keep, evaluated=evaluated), states)


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


NULLS = ("permuted", "labels", "object", "view")
OTHERS: tuple[LossName, ...] = ("covariance", "triplet", "simple")


def targets(
    experiment: ImageExperiment, outputs: Float[Tensor, "B 2 n"], generator: torch.Generator
) -> dict[str, Float[Tensor, ""]]:
    """Return losses of one batch of outputs: those of the book, and nulls that know nothing of the objects.

    Every gradient of a function of the outputs is Σ_u K_u g_u: it lies in the span of the connections. What a
    gradient is compared with has to lie there, too. "own" is the loss of the experiment itself, "permuted" is
    InfoNCE with the second views of other objects, "labels" a cross-entropy of random labels by a random
    linear head, "object" and "view" are random directions asked of the outputs, for each object or for each
    view.

    Args:
        experiment: Names the temperature and the margin.
        outputs: Of two views of B objects.
        generator: Source of the nulls, on the device of the outputs.

    Returns:
        A scalar for each name.
    """
    first, second = outputs.unbind(1)
    size, _, width = outputs.shape
    draw = partial(torch.randn, generator=generator, device=outputs.device, dtype=outputs.dtype)
    shuffled = torch.randperm(size, generator=generator, device=outputs.device)
    classes = torch.randint(10, (size,), generator=generator, device=outputs.device)
    names: tuple[LossName, ...] = ("infonce", *OTHERS)
    found = {name: batch_loss(replace(experiment, loss=name, beta=0.0))(first, second) for name in names}
    return found | {
        "own": batch_loss(experiment)(first, second),
        "permuted": batch_loss(replace(experiment, loss="infonce", beta=0.0))(first, second[shuffled]),
        "labels": F.cross_entropy(outputs.flatten(0, 1) @ draw((width, 10)), classes.repeat_interleave(2)),
        "object": (outputs * random_target(outputs, "object", generator)).sum(),
        "view": (outputs * random_target(outputs, "view", generator)).sum(),
    }


def batch_gradients(
    trajectory: Trajectory, epoch: int, layers: Sequence[str], batches: int
) -> list[dict[str, dict[str, Tensor]]]:
    """Return the descent directions of all `targets` on some batches, BatchNorm as in training.

    Args:
        trajectory: A run with its weights.
        epoch: An epoch that was kept.
        layers: Names of layers.
        batches: How many batches.

    Returns:
        For each batch, by name of the target and of the layer, minus the gradient, (n_l, n_k).
    """
    run, model = trajectory.run, trajectory.model(epoch).train()
    weights = [dict(model.named_parameters())[f"{layer}.weight"] for layer in layers]
    random = torch.Generator(run.data.device).manual_seed(run.seed)
    found = []
    for step in range(batches):
        images = run.data.objects.images[run.indices(step).to(run.data.device)]
        views = torch.stack([run.data.view(images, generator=random) for _ in range(2)], 1)
        outputs = model(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        losses = targets(run.experiment, outputs, random)
        gradients = {
            name: torch.autograd.grad(loss, weights, retain_graph=True) for name, loss in losses.items()
        }
        found.append(
            {
                name: {layer: -g.flatten(1) for layer, g in zip(layers, gs, strict=True)}
                for name, gs in gradients.items()
            }
        )
    return found


def mechanism(
    trajectory: Trajectory,
    *,
    layers: Sequence[str] = tuple(LAYERS),
    epochs: Sequence[int] | None = None,
    directions: int = 10,
    objects: int = 32,
    copies: int = 4,
    batches: int = 8,
) -> pd.DataFrame:
    """Return what of each layer's gradients a covariance explains, and where gradients lie, beside nulls.

    Everything is measured with BatchNorm in training mode. The operator's views are of test images, the
    gradients' of training images.

    Args:
        trajectory: A run with its weights.
        layers: Names of layers.
        epochs: Moments, ascending; None for all that were kept.
        directions: k.
        objects: Objects of the view set on which operators are measured.
        copies: Views of each.
        batches: Batches over which gradients are averaged.

    Returns:
        A row for each layer and moment: `loss_name`, `seed`, `layer`, `epoch`, `size` D, `directions` k;
        `cos_` and the name of a target, the cosine of its gradient with InfoNCE's on the same batch, the mean
        over batches; `cosine_of_means`, that of the mean gradients of InfoNCE and of the covariance loss;
        `cos_operator`, the cosine of the mean gradient of the run's own loss with OP·vec(W), OP the leading
        operator; `share_` and the name of a target, the share of its gradient in the k leading directions of
        V_x[K̄], the mean over batches; `share_weight` and `share_change`, those of the weights and of what
        training changes until the next moment, NaN at the last.
    """
    run = trajectory.run
    views = fixed_views(run, objects, copies)
    moments = sorted(trajectory.states) if epochs is None else list(epochs)
    rows = []
    for i, epoch in enumerate(moments):
        steps = batch_gradients(trajectory, epoch, layers, batches)
        for layer in layers:
            found = layer_operator(trajectory, layer, epoch, views, directions)
            weight = trajectory.weight(layer, epoch)
            asked = operator(
                trajectory.model(epoch),
                views,
                layer,
                part="leading",
                loss=InfoNCE(run.experiment.temperature),
                mode="batch",
            ) @ vec(weight)
            later = trajectory.weight(layer, moments[i + 1]) if i + 1 < len(moments) else weight
            means = {name: torch.stack([s[name][layer] for s in steps]).mean(0) for name in steps[0]}
            rows.append(
                {
                    "loss_name": run.experiment.loss,
                    "seed": run.seed,
                    "layer": LAYERS.get(layer, layer),
                    "epoch": epoch,
                    "size": found.operator.shape[0],
                    "directions": directions,
                    **{
                        f"cos_{name}": _mean([cosine(s["infonce"][layer], s[name][layer]) for s in steps])
                        for name in (*OTHERS, *NULLS)
                    },
                    "cosine_of_means": cosine(means["infonce"], means["covariance"]),
                    "cos_operator": cosine(vec(means["own"]), asked),
                    **{
                        f"share_{name}": _mean([overlap(s[name][layer], found.directions) for s in steps])
                        for name in ("infonce", *OTHERS, *NULLS)
                    },
                    "share_weight": overlap(weight, found.directions),
                    "share_change": overlap(later - weight, found.directions),
                }
            )
    return pd.DataFrame(rows)


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def operator_table(
    experiments: Sequence[ImageExperiment],
    *,
    folder: str | Path | None = None,
    device: str = "cpu",
    executor: Executor | None = None,
    report: Report | None = None,
) -> pd.DataFrame:
    """Return `mechanism` of all runs of some experiments, at the start, in the middle and at the end.

    Args:
        experiments: What to run, with their seeds.
        folder: Of the table, operators.csv as `sweep` writes it; None to keep nothing.
        device: As for `resolve_device`, where the experiments run.
        executor: As for `sweep`.
        report: As for `sweep`.

    Returns:
        The rows of all runs, with their settings, torch's version and the device.

    Raises:
        ValueError: As for `ImageRun.on` and `sweep`.
        OSError: As for `sweep`.
    """
    path = None if folder is None else Path(folder) / "operators.csv"
    settings = every_seed(experiments, _three_moments, device)
    return sweep(settings, path, executor=executor, added=ADDED, report=report)


def every_seed(
    experiments: Iterable[ImageExperiment],
    measure: Callable[[ImageExperiment, int, str, Path | None], pd.DataFrame],
    device: str,
) -> list[Setting]:
    """Return what `sweep` runs: `measure` of each experiment, its seeds one by one, and a device."""
    return [
        Setting(f"{e.loss}, seed {seed}", e.labels | {"seed": seed}, partial(measure, e, seed, device))
        for e in experiments
        for seed in range(e.seed, e.seed + e.seeds)
    ]


def _three_moments(experiment: ImageExperiment, seed: int, device: str, _: Path | None) -> pd.DataFrame:
    trajectory = follow(experiment, seed, device=device)
    kept = sorted(trajectory.states)
    rows = mechanism(trajectory, epochs=[kept[0], kept[len(kept) // 2], kept[-1]])
    labels = experiment.labels | made_on(device)
    return rows.assign(**{n: value for n, value in labels.items() if n not in rows})
