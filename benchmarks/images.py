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
    ResNet,
    SimCLRViews,
    View,
    load_images,
    two_views,
)
from ssl_theory.losses import nt_xent

BATCH, TEMPERATURE, GPU_BATCH = 256, 0.5, 1024
Report = dict[str, Any]


def timed(work: Callable[[], object], device: torch.device, repeats: int = 7) -> float:
    """Return the shortest time of some work, the device's queue included."""

    def finished() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return seconds(finished, repeats)


class Step:
    """A training step of the library, whole and in parts."""

    def __init__(
        self,
        encoder: ConvEncoder | ResNet,
        head: tuple[int, int],
        view: View,
        images: Tensor,
        *,
        bfloat16: bool = False,
        channels_last: bool = False,
        compiled: bool = False,
    ) -> None:
        self.images, self.view, self.generator = images, view, torch.Generator().manual_seed(0)
        self.model = nn.Sequential(encoder, Projector(encoder.features, *head)).to(images.device)
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.forward = torch.compile(self.model) if compiled else self.model
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16)
        self.views = self.augment()

    def augment(self) -> Tensor:
        return torch.cat(two_views(self.images, self.view, generator=self.generator))

    def train(self, views: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            first, second = self.forward(views).chunk(2)
            loss = nt_xent(first.float(), second.float(), TEMPERATURE)
        loss.backward()
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

    return timed(steps, next(model.parameters()).device, 5) / some


def digits() -> Report:
    """Return images per second of a step on digits, against the plain loop."""
    data, cpu = load_images("digits"), torch.device("cpu")
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
        whole, encoding = timed(step, cpu, 15), timed(step.encode, cpu, 15)
        if "compiled" in options:
            report[f"digits, {name}: seconds to compile"] = first - whole
        report |= {
            f"digits, {name}: images per second": BATCH / whole,
            f"digits, {name}: images per second, encoder and loss alone": BATCH / encoding,
            **{f"digits, {name}: whole step, ratio to {w} workers": s / whole for w, s in slow.items()},
        }
    return report


def cost_of_nt_xent() -> Report:
    """Return time and memory of loss and gradient, against the textbook's formula.

    Memory is the process's peak, so the smaller user comes first.
    """
    report: Report = {}
    size, width = 2048, 128
    outputs = torch.randn(2, size, width, requires_grad=True)
    nt_xent(*outputs[:, :8], TEMPERATURE).backward()
    plain.nt_xent(*outputs[:, :8], TEMPERATURE).backward()
    matrix = (2 * size) ** 2 * 4
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for name, loss in (("", nt_xent), (", baseline", plain.nt_xent)):
        loss(*outputs, TEMPERATURE).backward()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        report[f"NT-Xent of {size} pairs: peak memory in matrices of (2N)²{name}"] = (peak - before) / matrix
    sizes = [256, 512, 1024, 2048]
    for name, loss in (("", nt_xent), (", baseline", plain.nt_xent)):
        times = [
            seconds(lambda n=n, loss=loss: loss(*outputs[:, :n], TEMPERATURE).backward(), 5) for n in sizes
        ]
        report[f"NT-Xent: milliseconds at {sizes[-1]} pairs{name}"] = 1e3 * times[-1]
        report[f"NT-Xent: exponent in the number of pairs{name} (2)"] = exponent(sizes, times)
    return report


def resnet(device: torch.device, batch: int = GPU_BATCH, blocks: tuple[int, ...] = (2, 2, 2, 2)) -> Report:
    """Return what a step of ResNet-18 on 32 × 32 costs in bfloat16, against its convolutions alone."""
    images = torch.randint(256, (batch, 3, 32, 32), dtype=torch.uint8, device=device)
    view = SimCLRViews(*torch.full((2, 3), 0.45, device=device))
    options = {"bfloat16": True, "channels_last": True, "compiled": device.type == "cuda"}
    step = Step(ResNet(blocks), (512, 128), view, images, **options)
    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    whole, encoding = timed(step, device), timed(step.encode, device)
    augmenting, alone = timed(step.augment, device), convolutions(step.model, step.views, device)
    baseline = plain.resnet(blocks).to(device)
    slow = min(
        plain_step(images.cpu(), plain.simclr, baseline, batch, workers) for workers in (0, workers_here())
    )
    return {
        "ResNet-18: images per second, baseline": batch / slow,
        "ResNet-18: images per second": batch / whole,
        "ResNet-18: whole step, ratio (5)": slow / whole,
        "ResNet-18: seconds to compile": first - whole,
        "ResNet-18: share of its convolutions alone in the step without augmentation (0.4)": alone / encoding,
        "ResNet-18: share of the augmentation in the step (at most 0.15)": augmenting / whole,
    }


def convolutions(model: nn.Module, views: Tensor, device: torch.device) -> float:
    """Return the time of a model's convolutions, forward and backward, each by itself in bfloat16."""
    inputs: list[tuple[nn.Conv2d, Tensor]] = []
    handles = [
        layer.register_forward_hook(lambda layer, given, _: inputs.append((layer, given[0].detach())))
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        model(views)
    for handle in handles:
        handle.remove()
    return sum(timed(one_convolution(layer, x, i > 0), device) for i, (layer, x) in enumerate(inputs))


def one_convolution(layer: nn.Conv2d, given: Tensor, below: bool) -> Callable[[], object]:
    """Return the work of one convolution in bfloat16; `below` if the gradient is passed on downwards."""
    x, kernel = (
        tensor.detach().to(torch.bfloat16, memory_format=torch.channels_last)
        for tensor in (given, layer.weight)
    )
    wanted = [kernel.requires_grad_(), *([x.requires_grad_()] if below else [])]

    def convolve() -> Tensor:
        return nn.functional.conv2d(x, kernel, None, layer.stride, layer.padding)

    gradient = torch.ones_like(convolve())
    return lambda: torch.autograd.grad(convolve(), wanted, gradient)


def main() -> None:
    report = cost_of_nt_xent() | augmentations() | digits()
    if torch.cuda.is_available():
        report["GPU"] = torch.cuda.get_device_name()
        report |= resnet(torch.device("cuda"))
    else:
        report["ResNet-18 in bfloat16 on a GPU"] = "not measured: no GPU"
    print(json.dumps({k: rounded(v) if isinstance(v, float) else v for k, v in report.items()}))


if __name__ == "__main__":
    main()
