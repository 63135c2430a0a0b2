"""Training on images: augmentation, encoder and whole steps against a plain loop; prints JSON.

The library's step is the one that `ssl_theory.experiments.images` takes, written out: two views of a batch on
its device, one pass of both through encoder and projector, NT-Xent, Adam.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import _images_baseline as plain
from benchmarks.timing import exponent, rounded, seconds
from ssl_theory.images import (
    ConvEncoder,
    DigitViews,
    Projector,
    SimCLRViews,
    View,
    load_images,
    two_views,
)
from ssl_theory.losses import nt_xent

BATCH, TEMPERATURE = 256, 0.5
Report = dict[str, Any]
Loss = Callable[[Tensor, Tensor, float], Tensor]


class Step:
    """A training step of the library, whole and in parts."""

    def __init__(
        self,
        encoder: ConvEncoder,
        head: tuple[int, int],
        view: View,
        images: Tensor,
        *,
        channels_last: bool = False,
        compiled: bool = False,
    ) -> None:
        self.images, self.view, self.generator = images, view, torch.Generator().manual_seed(0)
        self.model = nn.Sequential(encoder, Projector(encoder.features, *head))
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.forward = torch.compile(self.model) if compiled else self.model
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.views = self.augment()

    def augment(self) -> Tensor:
        return torch.cat(two_views(self.images, self.view, generator=self.generator))

    def train(self, views: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        nt_xent(*self.forward(views).chunk(2), TEMPERATURE).backward()
        self.optimizer.step()

    def encode(self) -> None:
        self.train(self.views)

    def __call__(self) -> None:
        self.train(self.augment())


def augmentations() -> Report:
    """Return microseconds a view, against the same view of one image after another."""
    torch.manual_seed(0)
    data, g = load_images("digits"), torch.Generator().manual_seed(0)
    colours = torch.randint(256, (1024, 3, 32, 32), dtype=torch.uint8)
    report: Report = {}
    for name, images, view, one in (
        ("digits", data.images, DigitViews(data.mean, data.std), plain.place_digit),
        (
            "SimCLR's, 32 × 32",
            colours,
            SimCLRViews(torch.full((3,), 0.45), torch.full((3,), 0.25)),
            plain.simclr,
        ),
    ):
        some = images[:BATCH]
        fast = seconds(lambda some=some, view=view: two_views(some, view, generator=g), 15) / 2 / BATCH
        report[f"{name}: microseconds a view"] = 1e6 * fast
        for workers in (0, workers_here()):
            slow = plain_views(images, one, workers)
            report |= {
                f"{name}: microseconds a view, baseline with {workers} workers": 1e6 * slow,
                f"{name}: augmentation, ratio to {workers} workers": slow / fast,
            }
    return report


def workers_here() -> int:
    """Return how many workers a DataLoader would be given."""
    return len(os.sched_getaffinity(0))


def plain_views(images: Tensor, view: plain.ImageView, workers: int) -> float:
    """Return the seconds a view of the baseline; with workers, of many batches, so that all are busy."""
    stream = plain.batches(images, view, BATCH, workers)
    some = 8 if workers else 1

    def draw() -> None:
        for _ in range(some):
            next(stream)

    return seconds(draw, 4) / some / 2 / BATCH


def plain_step(images: Tensor, view: plain.ImageView, model: nn.Module, batch: int, workers: int) -> float:
    """Return the seconds a step of the baseline takes."""
    stream, optimizer = (
        plain.batches(images, view, batch, workers, copies=64),
        torch.optim.Adam(model.parameters(), 1e-3),
    )
    some = 8 if workers else 1

    def steps() -> None:
        for _ in range(some):
            plain.train_step(model, optimizer, next(stream), TEMPERATURE)

    return seconds(steps, 5) / some


def digits() -> Report:
    """Return images per second of a step on digits, against the plain loop."""
    data = load_images("digits")
    slow = {
        workers: plain_step(data.images, plain.place_digit, plain.small_encoder(), BATCH, workers)
        for workers in (0, workers_here())
    }
    report: Report = {
        f"digits: images per second, baseline with {w} workers": BATCH / s for w, s in slow.items()
    }
    for name, options in {
        "eager": {},
        "channels last": {"channels_last": True},
        "compiled, channels last": {"compiled": True, "channels_last": True},
    }.items():
        encoder = ConvEncoder(strides=(2, 2, 2))
        step = Step(encoder, (128, 64), DigitViews(data.mean, data.std), data.images[:BATCH], **options)
        start = time.perf_counter()
        step()
        first = time.perf_counter() - start
        whole, encoding = seconds(step, 15), seconds(step.encode, 15)
        if "compiled" in options:
            report[f"digits, {name}: seconds to compile"] = first - whole
        report |= {
            f"digits, {name}: images per second": BATCH / whole,
            f"digits, {name}: images per second, encoder and loss alone": BATCH / encoding,
            **{f"digits, {name}: whole step, ratio to {w} workers": s / whole for w, s in slow.items()},
        }
    return report


def cost_of_nt_xent() -> Report:
    """Return time, memory and accuracy of loss and gradient, against plain cross-entropy and lightly's.

    Memory is the process's peak, so the smaller user comes first.
    """
    report: Report = {}
    size, width = 2048, 128
    outputs = torch.randn(2, size, width, requires_grad=True)
    others = {", plain cross-entropy": plain.nt_xent, **lightlys()}
    for loss in (nt_xent, *others.values()):
        loss(*outputs[:, :8], TEMPERATURE).backward()
    matrix = (2 * size) ** 2 * 4
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for name, loss in {"": nt_xent, **others}.items():
        loss(*outputs, TEMPERATURE).backward()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        report[f"NT-Xent of {size} pairs: peak memory in matrices of (2N)²{name}"] = (peak - before) / matrix
    sizes = [64, 256, 512, 1024, 2048]
    times = {
        name: [seconds(lambda n=n, f=loss: f(*outputs[:, :n], TEMPERATURE).backward(), 5) for n in sizes]
        for name, loss in {"": nt_xent, **others}.items()
    }
    report[f"NT-Xent: milliseconds at {sizes[-1]} pairs"] = 1e3 * times[""][-1]
    report["NT-Xent: exponent in the number of pairs (2)"] = exponent(sizes[1:], times[""][1:])
    for name in others:
        for n, own, other in zip(sizes, times[""], times[name], strict=True):
            report[f"NT-Xent of {n} pairs: times as fast{name}"] = other / own
    return report | accuracy_of_nt_xent(others)


def lightlys() -> dict[str, Loss]:
    """Return lightly's own loss if it is installed, else the form in which it is published."""
    try:
        from tests.vision import torchvision  # noqa: F401  # what lightly imports

        from lightly.loss import NTXentLoss  # isort: skip
    except ImportError:
        return {", lightly's form": plain.blocked_nt_xent}
    return {", lightly": lambda first, second, temperature: NTXentLoss(temperature)(first, second)}


def accuracy_of_nt_xent(others: dict[str, Loss]) -> Report:
    """Return the error of the gradient in float32 where positives are confident."""
    g = torch.Generator().manual_seed(0)
    first = nn.functional.normalize(torch.randn(64, 128, generator=g), dim=1)
    outputs = torch.stack([first, first + 0.02 * torch.randn(first.shape, generator=g)])

    def gradient(loss: Loss, x: Tensor, temperature: float) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(loss(x[0], x[1], temperature), x)[0]

    report: Report = {}
    for temperature in (0.5, 0.1, 0.07, 0.05, 0.02):
        known = gradient(plain.stable_nt_xent, outputs.double(), temperature)
        for name, loss in {"": nt_xent, **others}.items():
            error = (gradient(loss, outputs, temperature).double() - known).norm() / known.norm()
            report[f"NT-Xent, τ = {temperature}: relative error of the gradient{name}"] = float(error)
    return report


def main() -> None:
    report = cost_of_nt_xent() | augmentations() | digits()
    print(json.dumps({k: rounded(v) if isinstance(v, float) else v for k, v in report.items()}))


if __name__ == "__main__":
    main()
