"""Encoders of images, trained and measured one seed after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import update_bn

from ssl_theory.experiments.images.losses import ORIGINALS, batch_loss, infonce_balance
from ssl_theory.experiments.images.settings import ImageExperiment
from ssl_theory.images import (
    ConvEncoder,
    DigitViews,
    ImageSet,
    Projector,
    ResNet,
    SimCLRViews,
    View,
    load_images,
)
from ssl_theory.images.data import Name, Split
from ssl_theory.images.evaluation import evaluate, features
from ssl_theory.images.photographs import VIEW
from ssl_theory.images.randomness import drawing_from
from ssl_theory.inspection import unbiased_variances
from ssl_theory.training import Precision, distributed, fit, resolve_device


def run(
    experiment: ImageExperiment,
    *,
    device: str = "auto",
    folder: str | Path | None = None,
    data_folder: str | Path | None = None,
    precision: Precision = "full",
    compile: bool | str = False,  # noqa: A002
    channels_last: bool = True,
    progress: bool = False,
) -> pd.DataFrame:
    """Train and measure one encoder after another.

    Under torchrun each process takes its share of every batch, and the negatives are those of the whole
    batch; BatchNorm's statistics are then those of the share, or of the whole batch on GPUs.

    Args:
        experiment: What to run.
        device: As for `resolve_device`.
        folder: Where checkpoints are kept, one file for each run: those that are complete are not run again,
            one that was stopped goes on.
        data_folder: As for `load_images`.
        precision: As for `fit`.
        compile: As for `fit`.
        channels_last: As for `fit`.
        progress: Show a progress bar.

    Returns:
        One row per evaluation and seed: `seed`, `epoch`, `loss` (the mean since the evaluation before) and
        the columns of `ImageRun.evaluate`.

    Raises:
        ValueError: If the device is not there, the batch is larger than the data or not shared evenly by
            the processes, or a checkpoint belongs to another run.
        FileNotFoundError: If the data is not there; says what to put where.
        OSError: If a checkpoint cannot be written.
    """
    data = _Data.load(experiment, device, data_folder)
    tables = []
    for seed in range(experiment.seed, experiment.seed + experiment.seeds):
        path = None if folder is None else Path(folder) / f"{experiment.name}-{seed}.pt"
        one = ImageRun(experiment, seed, data)
        tables.append(
            one.train(
                path, precision=precision, compile=compile, channels_last=channels_last, progress=progress
            )
        )
    return pd.concat(tables, ignore_index=True)


def pixels(
    experiment: ImageExperiment, *, device: str = "auto", data_folder: str | Path | None = None
) -> pd.DataFrame:
    """Return the evaluation of the views themselves, as rows like those of `run`, at epoch 0.

    Args:
        experiment: Names the data, the views and the seeds.
        device: As for `resolve_device`.
        data_folder: As for `load_images`.

    Returns:
        One row per seed.

    Raises:
        ValueError: If the device is not there.
        FileNotFoundError: If the data is not there.
    """
    data = _Data.load(experiment, device, data_folder)
    seeds = range(experiment.seed, experiment.seed + experiment.seeds)
    rows = [{"seed": s, "epoch": 0, "loss": float("nan"), **data.evaluate(nn.Flatten(), s)} for s in seeds]
    return pd.DataFrame(rows)


def labelled(experiment: ImageExperiment, rows: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    """Return rows of `run` with the setting in front of them, as they are stored.

    Args:
        experiment: What was run.
        rows: What `run` returned.
        **changes: Other or further labels.

    Returns:
        The same rows; `loss_name` is the loss's name, `loss` its value.
    """
    labels = experiment.labels | changes
    columns = {name: [value] * len(rows) for name, value in labels.items()}
    return pd.concat([pd.DataFrame(columns), rows.reset_index(drop=True)], axis=1)


@dataclass(frozen=True)
class _Data:
    """The images of an experiment on their device, and how they are seen."""

    experiment: ImageExperiment
    objects: ImageSet
    train: ImageSet
    test: ImageSet
    view: View
    device: torch.device

    @classmethod
    def load(cls, experiment: ImageExperiment, device: str, data_folder: str | Path | None) -> _Data:
        place = resolve_device(device)
        objects, train, test = _splits(experiment.data, data_folder and Path(data_folder), str(place))
        if experiment.batch > len(objects):
            raise ValueError(
                f"batch must be at most {len(objects)}, the number of images, got {experiment.batch}"
            )
        return cls(experiment, objects, train, test, view_of(experiment, train), place)

    def evaluate(self, encoder: nn.Module, seed: int) -> dict[str, float]:
        """Evaluate an encoder on views that depend on the seed alone.

        Args:
            encoder: Maps views to features.
            seed: Of the views.

        Returns:
            What `ssl_theory.images.evaluation.evaluate` returns.
        """
        random = torch.Generator(self.device).manual_seed(seed) if self.train.name in WRITTEN else None
        copies = self.experiment.copies
        return evaluate(encoder, self.train, self.test, self.view, generator=random, copies=copies)

    def outputs(self, model: nn.Module, seed: int) -> Float[Tensor, "A N n"]:
        """Return the normalised outputs of random views of the test images, whatever the data.

        Args:
            model: Encoder and projector.
            seed: Of the views.

        Returns:
            Shape (copies, N, n_L).
        """
        random = torch.Generator(self.device).manual_seed(seed)
        found = features(model, self.test, self.view, generator=random, copies=self.experiment.copies)
        return F.normalize(found, dim=-1)


@lru_cache(maxsize=1)  # the runs of a sweep come one after the other
def _splits(data: Name, folder: Path | None, device: str) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Return what a data set is trained on, and its labelled splits."""
    train, test = (load_images(data, split, folder=folder, device=device) for split in SPLITS)
    if data != "stl10":
        return train, train, test
    return load_images(data, "unlabelled", folder=folder, device=device), train, test


class ImageRun:
    """One encoder and projector, drawn and trained from one seed.

    Args:
        experiment: What to run.
        seed: Seed of this run.
        data: The images; `ImageRun.on` loads them.

    Attributes:
        encoder: Maps views to features.
        projector: Maps features to what the loss compares.
    """

    def __init__(self, experiment: ImageExperiment, seed: int, data: _Data) -> None:
        self.experiment, self.seed, self.data = experiment, seed, data
        with drawing_from(torch.Generator().manual_seed(seed)):
            encoder = encoder_of(experiment, self.data.train.images.shape[1])
            self.encoder = encoder.to(self.data.device)
            width = encoder.features
            projector = Projector(
                width,
                experiment.hidden,
                experiment.outputs,
                batch_norm=experiment.batch_norm,
                biases=experiment.biases,
            )
            self.projector = projector.to(self.data.device)
        self.model: nn.Module = nn.Sequential(self.encoder, self.projector)
        if distributed.world_size() > 1:
            if self.data.device.type == "cuda":
                self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)  # type: ignore[no-untyped-call]
            self.model = DistributedDataParallel(self.model)
        # Batches are drawn alike by all processes, views by each for its share.
        self.views = torch.Generator(self.data.device).manual_seed(seed + 1_000_003 * distributed.rank())
        self._order = (-1, torch.empty(0, dtype=torch.long))  # the epoch, and its order of the images

    @classmethod
    def on(cls, experiment: ImageExperiment, seed: int, *, device: str = "auto") -> ImageRun:
        """Return a run on a device of that name, with its data loaded."""
        return cls(experiment, seed, _Data.load(experiment, device, None))

    @property
    def steps(self) -> int:
        """Updates in an epoch; the images that do not fill a batch wait for the next."""
        return len(self.data.objects) // self.experiment.batch

    def train(
        self,
        checkpoint: Path | None = None,
        *,
        measure: Callable[[int], Mapping[str, Any]] | None = None,
        evaluated: bool = True,
        precision: Precision = "full",
        compile: bool | str = False,  # noqa: A002
        channels_last: bool = True,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Train and return the rows of this seed, as `run` describes them.

        Args:
            checkpoint: As for `fit`.
            measure: Maps the epoch to further columns.
            evaluated: Whether features are evaluated, which takes longer than the epochs of small images.
            precision: As for `fit`.
            compile: As for `fit`.
            channels_last: As for `fit`.
            progress: As for `fit`.

        Returns:
            One row per evaluation.
        """
        experiment = self.experiment
        total = experiment.epochs * self.steps
        cosine = partial(CosineAnnealingLR, T_max=max(1, total))

        def measured(step: int) -> Mapping[str, Any]:
            found = self.evaluate() if evaluated and distributed.rank() == 0 else None
            found = distributed.all_gather_object(found)[0] or {}
            return found | dict(measure(step // self.steps) if measure else {})

        rows = fit(
            self.model,
            self.loss,
            steps=total,
            optimizer=partial(torch.optim.Adam, lr=experiment.rate),
            schedule=cosine if experiment.schedule == "cosine" else None,
            measure=measured,
            measure_every=experiment.measure_every * self.steps,
            checkpoint=checkpoint,
            generators=[self.views],
            configuration=asdict(experiment) | {"seeds": None, "seed": self.seed},
            precision=precision,
            compile=compile,
            channels_last=channels_last,
            progress=progress,
        )
        rows.insert(0, "epoch", rows.pop("step") // self.steps)
        rows.insert(0, "seed", self.seed)
        return rows

    def loss(self, step: int) -> Float[Tensor, ""]:
        """Return the loss of one batch, the same for all processes."""
        own = distributed.share(self.indices(step))
        images = self.data.objects.images[own.to(self.data.device)]
        views = torch.cat([self.data.view(images, generator=self.views) for _ in range(2)])
        first, second = (distributed.gather(half.float()) for half in self.model(views).chunk(2))
        originals = None
        if self.experiment.loss == ORIGINALS:
            with torch.no_grad():
                originals = distributed.gather(self.model(self.data.view.plain(images)).float())
        with torch.autocast(self.data.device.type, enabled=False):
            return batch_loss(self.experiment, originals)(first, second)

    def evaluate(self) -> dict[str, float]:
        """Return what the features are worth, and `between`, `within` and `balance` of the outputs.

        The former two are V_x and V_a of the normalised outputs of test images; the last is
        E Σ_k ξ_k (r_-k − r_+) / E r_+ of InfoNCE with all other test images as negatives, the β at which
        pulling and pushing balance. All in evaluation mode; where no batch has touched the statistics of a
        BatchNorm yet, they are estimated first, on a copy: untouched, it would be the identity, which is not
        the network that is trained.
        """
        encoder, projector = self.settled()
        found = self.data.evaluate(encoder, self.seed)
        outputs = self.data.outputs(nn.Sequential(encoder, projector), self.seed)
        between, within = unbiased_variances(outputs.transpose(0, 1))
        few = outputs[:2, :1024]  # all pairs are compared
        balance = infonce_balance(few[0], few[1], self.experiment.temperature)
        return found | {"between": between, "within": within, "balance": balance}

    def settled(self) -> tuple[nn.Module, nn.Module]:
        """Return encoder and projector with statistics of BatchNorm that some batches have touched."""
        both = nn.Sequential(self.encoder, self.projector)
        norms = [part for part in both.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        if not any(norm.num_batches_tracked == 0 for norm in norms if norm.num_batches_tracked is not None):
            return self.encoder, self.projector
        copy = deepcopy(both)
        random = torch.Generator(self.data.device).manual_seed(self.seed)
        chosen = [self.indices(step).to(self.data.device) for step in range(min(self.steps, SETTLING))]
        images = self.data.objects.images
        update_bn([self.data.view(images[own], generator=random) for own in chosen], copy)
        return copy[0].train(self.encoder.training), copy[1].train(self.projector.training)

    def indices(self, step: int) -> Int[Tensor, " B"]:
        """Return which images make up the batch of a step: each at most once in an epoch."""
        epoch, place = divmod(step, self.steps)
        if self._order[0] != epoch:
            g = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = (epoch, torch.randperm(len(self.data.objects), generator=g))
        size = self.experiment.batch
        return self._order[1][place * size : (place + 1) * size]


SETTLING = 8  # batches from which the statistics of a new BatchNorm are estimated
SPLITS: tuple[Split, Split] = ("train", "test")
WRITTEN = {"digits": 16, "mnist": 40}  # handwritten characters, and the canvas that they are placed on


def view_of(experiment: ImageExperiment, images: ImageSet) -> View:
    """Return how views are drawn: digits are placed, turned and scaled, photographs treated as by SimCLR."""
    if experiment.data in WRITTEN:
        canvas = WRITTEN[experiment.data]
        return DigitViews(images.mean, images.std, size=canvas, strength=experiment.strength)
    size = VIEW if experiment.data == "photographs" else images.images.shape[-1]
    blur = 0.5 if experiment.data == "stl10" else 0.0
    return SimCLRViews(images.mean, images.std, size=size, blur=blur, strength=experiment.strength)


def encoder_of(experiment: ImageExperiment, channels: int) -> ConvEncoder | ResNet:
    """Return a fresh encoder for images with so many channels."""
    e = experiment
    if e.encoder == "conv":
        return ConvEncoder(e.channels, channels, strides=e.strides, batch_norm=e.batch_norm, biases=e.biases)
    return ResNet(in_channels=channels, batch_norm=e.batch_norm, biases=e.biases)
