"""How much of the step on images is the operator times the weights, where it acts: p = 1 (T12).

Encoders without BatchNorm, biases and normalised outputs: the step on InfoNCE is the operator of the loss
times the weights, exactly, and the leading operator is what the covariance leaves of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.experiments.image_operators import LAYERS, Trajectory, every_seed, follow
from ssl_theory.experiments.images import ImageExperiment, ImageRun
from ssl_theory.experiments.images.losses import PLAIN, one_at_a_time
from ssl_theory.experiments.images.settings import ADDED
from ssl_theory.experiments.images.tables import made_on
from ssl_theory.experiments.sweep import Report, sweep
from ssl_theory.inspection import split_agreement
from ssl_theory.losses import InfoNCE, SimpleContrastive, two_view_covariance_loss
from ssl_theory.networks import vec
from ssl_theory.operators import cosine, operator
from ssl_theory.validation import require_integer

__all__ = ["MOMENTS", "explained", "explained_table"]

MOMENTS = (0, 1, 2, 5, 10)  # epochs, as far as a run goes
HOMOGENEOUS = LAYERS | {"1.layers.2": "top"}


def explained(
    trajectory: Trajectory, epoch: int, *, objects: int = 32, copies: int = 4, batches: int = 8
) -> pd.DataFrame:
    """Return, layer by layer, how well the leading operator times the weights describes the step on InfoNCE.

    One negative at a time, outputs as they are. "leading", "constant", "weights", the cosines with the step,
    are of the mean step over *all* draws from the views of some test images, so that no noise is in them.
    "fresh" compares the step on training batches with the operator on other views of test images, half
    with half: `split_agreement` leaves the noise out.

    Args:
        trajectory: A run with its weights, without BatchNorm, biases and normalised outputs.
        epoch: An epoch that was kept.
        objects: Test images of which all draws are taken.
        copies: Views of each.
        batches: Batches of the step, an even number.

    Returns:
        A row for each layer: `layer`, `epoch`; `cos_leading`, `length_leading`, `residue`, the last the
        squared length of what is left over that of the step; `cos_constant`, for the operator with weights
        ξ̄ = 1; `cos_weights`, for the weights themselves; `cos_fresh` and `length_fresh`; `cos_permuted`, for
        the step on pairs of views of different objects in the place of the step.

    Raises:
        TypeError: If a count is no integer.
        ValueError: If the run is of another kind, the epoch was not kept, or a count is out of range.
    """
    experiment = trajectory.run.experiment
    if experiment.loss not in PLAIN or experiment.batch_norm or experiment.biases:
        raise ValueError(
            f"trajectory must be of a loss on plain outputs, {' or '.join(PLAIN)}, without batch_norm and "
            f"biases, got {experiment.loss}, batch_norm={experiment.batch_norm}, biases={experiment.biases}"
        )
    require_integer("objects", objects, 2, len(trajectory.run.data.test))
    if require_integer("batches", batches, 2) % 2:
        raise ValueError(f"batches must be even, for two halves, got {batches}")
    model = trajectory.model(epoch)
    layers = [name for name in HOMOGENEOUS if f"{name}.weight" in trajectory.states[epoch]]
    views = _views(trajectory.run, objects, copies)
    infonce = InfoNCE(experiment.temperature)
    steps, asked, permuted = _fresh(trajectory, epoch, layers, batches)
    rows = []
    for layer in layers:
        weight = vec(trajectory.weight(layer, epoch))
        exact = operator(model, views, layer, part="exact", loss=infonce) @ weight
        leading, constant = (
            operator(model, views, layer, part="leading", loss=loss) @ weight
            for loss in (infonce, SimpleContrastive())
        )
        fresh = split_agreement(steps[layer], asked[layer])
        rows.append(
            {
                "layer": HOMOGENEOUS[layer],
                "epoch": epoch,
                "cos_leading": cosine(exact, leading),
                "length_leading": float(leading.norm() / exact.norm()),
                "residue": float((exact - leading).square().sum() / exact.square().sum()),
                "cos_constant": cosine(exact, constant),
                "cos_weights": cosine(exact, weight),
                "cos_fresh": fresh.cosine,
                "length_fresh": fresh.length,
                "cos_permuted": split_agreement(permuted[layer], asked[layer]).cosine,
            }
        )
    return pd.DataFrame(rows)


def _views(run: ImageRun, objects: int, copies: int) -> Float[Tensor, "N A C h w"]:
    """Return views of some test images, drawn at random: some data sets are in the order of their labels."""
    g = torch.Generator().manual_seed(run.seed)
    chosen = torch.randperm(len(run.data.test), generator=g)[:objects].to(run.data.device)
    random = torch.Generator(run.data.device).manual_seed(run.seed)
    images = run.data.test.images[chosen]
    return torch.stack([run.data.view(images, generator=random) for _ in range(copies)], 1)


Halves = dict[str, Float[Tensor, "2 D"]]


def _fresh(
    trajectory: Trajectory, epoch: int, layers: Sequence[str], batches: int
) -> tuple[Halves, Halves, Halves]:
    """Return three descent directions for two halves of some batches.

    Args:
        trajectory: A run with its weights.
        epoch: An epoch that was kept.
        layers: Names of layers.
        batches: How many batches, an even number.

    Returns:
        By layer: the step on InfoNCE on training batches; twice the operator times the weights on batches of
        other views of test images, which for p = 1 is minus the gradient of the covariance loss, unbiased for
        given weights ξ̄; the step on training pairs of views of different objects.
    """
    run, model = trajectory.run, trajectory.model(epoch)
    weights = [dict(model.named_parameters())[f"{layer}.weight"] for layer in layers]
    loss, size = InfoNCE(run.experiment.temperature), run.experiment.batch
    random = torch.Generator(run.data.device).manual_seed(run.seed)
    order = torch.randperm(len(run.data.test), generator=torch.Generator().manual_seed(run.seed))
    tested = order[: len(order) // 2], order[len(order) // 2 :]

    def outputs(images: Tensor) -> tuple[Tensor, Tensor]:
        views = torch.cat([run.data.view(images, generator=random) for _ in range(2)])
        first, second = model(views).chunk(2)
        return first, second

    def direction(value: Tensor) -> Tensor:
        slopes = torch.autograd.grad(value, weights, retain_graph=True)
        return torch.cat([-vec(g.flatten(1)) for g in slopes])

    found: dict[str, list[list[Tensor]]] = {name: [[], []] for name in ("step", "asked", "permuted")}
    for step in range(batches):
        half = step % 2
        first, second = outputs(run.data.objects.images[run.indices(step).to(run.data.device)])
        shuffled = torch.randperm(len(first), generator=random, device=first.device)
        found["step"][half].append(direction(one_at_a_time(loss, first, second)))
        found["permuted"][half].append(direction(one_at_a_time(loss, first, second[shuffled])))
        others = tested[half].roll(-size * (step // 2))[:size].to(run.data.device)
        asked = two_view_covariance_loss(*outputs(run.data.test.images[others]), loss)
        found["asked"][half].append(2 * direction(asked))
    sizes = [w.numel() for w in weights]

    def by_layer(halves: list[list[Tensor]]) -> Halves:
        means = torch.stack([torch.stack(half).mean(0) for half in halves])
        return dict(zip(layers, torch.split(means, sizes, dim=1), strict=True))

    return by_layer(found["step"]), by_layer(found["asked"]), by_layer(found["permuted"])


def explained_table(
    experiments: Sequence[ImageExperiment],
    *,
    folder: str | Path | None = None,
    device: str = "cpu",
    executor: Executor | None = None,
    report: Report | None = None,
) -> pd.DataFrame:
    """Return `explained` of all runs of some experiments at `MOMENTS` and at their end.

    Args:
        experiments: What to run, with their seeds.
        folder: Of the table, explained.csv as `sweep` writes it; None to keep nothing.
        device: As for `resolve_device`, where the experiments run.
        executor: As for `sweep`.
        report: As for `sweep`.

    Returns:
        The rows of all runs, with their settings, torch's version and the device.

    Raises:
        ValueError: As for `explained` and `sweep`.
        OSError: As for `sweep`.
    """
    settings = every_seed((replace(e, measure_every=1) for e in experiments), _moments, device)
    path = None if folder is None else Path(folder) / "explained.csv"
    return sweep(settings, path, executor=executor, added=ADDED, report=report)


def _moments(experiment: ImageExperiment, seed: int, device: str, _: Path | None) -> pd.DataFrame:
    trajectory = follow(experiment, seed, device=device, evaluated=False)
    last = max(trajectory.states)
    rows = pd.concat([explained(trajectory, m) for m in sorted({*MOMENTS, last}) if m <= last])
    labels = experiment.labels | made_on(device)
    return rows.reset_index(drop=True).assign(seed=seed, **labels)
