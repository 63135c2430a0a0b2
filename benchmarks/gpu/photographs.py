"""Photographs with a ResNet-18: a training step, how near it comes to its convolutions, and what is learned.

A step is the library's: two views of a batch on the GPU, one pass of both in bfloat16 with the channels last,
NT-Xent in float32, Adam. The yardsticks are a plain loop, which draws views image by image in a DataLoader
and trains in float32, and the convolutions of the network alone, each by itself in bfloat16.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks import _images_baseline as plain
from benchmarks.gpu.report import Report
from benchmarks.gpu.setting import Setting
from ssl_theory.experiments.images import ImageExperiment, pixels, run
from ssl_theory.images import Projector, ResNet, SimCLRViews, View, load_images, two_views
from ssl_theory.images.photographs import EACH, VIEW
from ssl_theory.losses import nt_xent

TEMPERATURE = 0.5
FASTER, SHARE, AUGMENTATION = 5.0, 0.4, 0.15  # targets


class Step:
    """The library's training step on one batch, whole and in parts."""

    def __init__(self, images: Tensor, view: View, blocks: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        self.images, self.view, self.generator = images, view, torch.Generator().manual_seed(0)
        encoder = ResNet(blocks)
        self.model = nn.Sequential(encoder, Projector(encoder.features, 512, 128)).to(images.device)
        self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3, fused=images.is_cuda)
        self.views = self.augment().contiguous(memory_format=torch.channels_last)
        self.forward: Callable[[Tensor], Tensor] = self.model

    def augment(self) -> Tensor:
        return torch.cat(two_views(self.images, self.view, generator=self.generator))

    def gradients(self) -> Tensor:
        """Return the loss on the views at hand, and leave its gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.views.device.type, torch.bfloat16):
            first, second = self.forward(self.views).chunk(2)
        loss = nt_xent(first.float(), second.float(), TEMPERATURE)
        loss.backward()
        return loss.detach()

    def whole(self, gradients: Callable[[], Tensor]) -> None:
        self.views.copy_(self.augment())
        gradients()
        self.optimizer.step()

    def encoding(self, gradients: Callable[[], Tensor]) -> None:
        gradients()
        self.optimizer.step()


def measure(setting: Setting, report: Report) -> None:
    if setting.rehearsal:
        EACH.update(train=30, test=20)
    data = load_images("photographs", device=setting.name)
    view = SimCLRViews(data.mean, data.std, size=VIEW)
    batch, blocks = setting.pick((1024, (2, 2, 2, 2)), (8, (1, 1)))
    images = data.images[torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:batch]]
    report.number("images in a batch, each in two views", batch)
    report.number("seed of weights, views and order", 0)
    with report.guarded("training"):
        training(setting, report)
    step = Step(images, view, blocks)
    times: dict[str, float] = {}
    with report.guarded("bare convolutions"):
        times["convolutions"] = bare(setting, report, step)
    with report.guarded("plain loop"):
        times["plain, given views"], times["plain"] = plain_loop(setting, report, images, blocks)
    with report.guarded("augmentation"):
        times["augmentation"] = setting.seconds(step.augment)
        report.number("milliseconds to augment a batch on the GPU", 1e3 * times["augmentation"])
    uncompiled(setting, report, step, times)
    summary(report, times, batch)  # should compiling take too long
    if setting.left() < setting.pick(25, 1):
        report.errors["compiled"] = "no time left to compile"
        report.save()
        return
    compiled(setting, report, step, times)
    summary(report, times, batch)


def uncompiled(setting: Setting, report: Report, step: Step, times: dict[str, float]) -> None:
    """Time the step in bfloat16, kernel by kernel and as a CUDA graph."""
    with report.guarded("eager"):
        timed(setting, report, step, times, "eager", step.gradients)
    with report.guarded("CUDA graph"):
        timed(setting, report, step, times, "CUDA graph", setting.recorded(step.gradients))


def compiled(setting: Setting, report: Report, step: Step, times: dict[str, float]) -> None:
    """Time the same with the network compiled."""
    with report.guarded("compiled"):
        step.forward = torch.compile(step.model)
        report.number("seconds to compile", setting.once(step.gradients)[1])
        timed(setting, report, step, times, "compiled", step.gradients)
    with report.guarded("compiled, CUDA graph"):
        timed(setting, report, step, times, "compiled, CUDA graph", setting.recorded(step.gradients))


def timed(
    setting: Setting,
    report: Report,
    step: Step,
    times: dict[str, float],
    name: str,
    gradients: Callable[[], Tensor],
) -> None:
    """Time a way to compute gradients, with the optimiser and with the augmentation too."""
    times[f"encoding, {name}"] = setting.seconds(lambda: step.encoding(gradients))
    times[f"step, {name}"] = setting.seconds(lambda: step.whole(gradients))
    loss = float(gradients())
    if not math.isfinite(loss):
        raise ArithmeticError(f"the loss is {loss}")
    count = len(step.images)
    report.number(f"images per second, {name}", count / times[f"step, {name}"])
    report.number(f"images per second without augmentation, {name}", count / times[f"encoding, {name}"])


def summary(report: Report, times: dict[str, float], batch: int) -> None:
    steps = {name.removeprefix("step, "): t for name, t in times.items() if name.startswith("step, ")}
    best = min(steps, key=lambda name: steps[name])
    encoding = min(t for name, t in times.items() if name.startswith("encoding, "))
    report.number("the fastest step", best)
    if "plain" in times:
        report.at_least("whole step: times as fast as the plain loop", times["plain"] / steps[best], FASTER)
    if "plain, given views" in times:
        report.number(
            "without augmentation: times as fast as float32", times["plain, given views"] / encoding
        )
    if "convolutions" in times:
        share = times["convolutions"] / encoding
        report.at_least("share of its convolutions' rate, without augmentation", share, SHARE)
        report.number("share of its convolutions' rate, whole step", times["convolutions"] / steps[best])
    if "augmentation" in times:
        report.at_most("share of the augmentation in the step", 1 - encoding / steps[best], AUGMENTATION)


def plain_loop(
    setting: Setting, report: Report, images: Tensor, blocks: tuple[int, ...]
) -> tuple[float, float]:
    """Return the seconds of a plain step on given views, and of one with a worker for each core."""
    workers = setting.pick(len(os.sched_getaffinity(0)), 0)
    model = plain.resnet(blocks).to(setting.device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    given = [torch.rand(len(images), 3, VIEW, VIEW, device=setting.device) for _ in range(2)]
    alone = setting.seconds(lambda: plain.train_step(model, optimizer, given, TEMPERATURE))
    report.number("plain loop: images per second with views given", len(images) / alone)
    copies = 4 * workers + 1  # an epoch that outlasts what is drawn here: at its end workers would wait
    stream = plain.batches(images.cpu(), partial(plain.simclr, to=VIEW), len(images), workers, copies)
    for _ in range(3 * workers):  # each worker has two batches in store, and one at hand
        next(stream)

    def steps() -> None:
        for _ in range(max(1, workers)):
            plain.train_step(model, optimizer, next(stream), TEMPERATURE)

    seconds = setting.once(steps)[1] / max(1, workers)
    report.number("plain loop: DataLoader workers", workers)
    report.number("plain loop: images per second", len(images) / seconds)
    return alone, seconds


def bare(setting: Setting, report: Report, step: Step) -> float:
    """Return the time of the convolutions, forward and backward, one after the other in bfloat16."""
    inputs: list[tuple[nn.Conv2d, Tensor]] = []
    handles = [
        layer.register_forward_hook(lambda layer, given, _: inputs.append((layer, given[0].detach())))
        for layer in step.model.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.no_grad(), torch.autocast(setting.device.type, torch.bfloat16):
        step.model(step.views)
    for handle in handles:
        handle.remove()
    seconds, operations = 0.0, 0.0
    for index, (layer, given) in enumerate(inputs):
        work, flops = convolution(layer, given, below=index > 0)
        seconds += setting.seconds(work)
        operations += flops
    report.number("bare convolutions: milliseconds", 1e3 * seconds)
    report.number("bare convolutions: TFLOP/s", operations / seconds / 1e12)
    size = setting.pick(8192, 64)
    square = torch.randn(size, size, device=setting.device).bfloat16()
    rate = 2 * size**3 / setting.seconds(lambda: square @ square) / 1e12
    report.number(f"matrix product of {size} rows in bfloat16: TFLOP/s", rate)
    return seconds


def convolution(layer: nn.Conv2d, given: Tensor, *, below: bool) -> tuple[Callable[[], object], float]:
    """Return a convolution's work in bfloat16 and its operations; `below` if its input has a gradient."""
    x, kernel = (
        tensor.detach().to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        for tensor in (given, layer.weight)
    )
    wanted = [kernel.requires_grad_(), *([x.requires_grad_()] if below else [])]

    def convolve() -> Tensor:
        return nn.functional.conv2d(x, kernel, None, layer.stride, layer.padding)

    output = convolve()
    gradient = torch.randn_like(output)
    flops = 2.0 * output.numel() * kernel[0].numel() * (1 + len(wanted))
    return lambda: torch.autograd.grad(convolve(), wanted, gradient), flops


def training(setting: Setting, report: Report) -> None:
    """Train from one seed in float32 and in bfloat16, and compare with pixels and random weights."""
    experiment = ImageExperiment(
        data="photographs",
        encoder=setting.pick("resnet18", "conv"),
        hidden=512,
        outputs=128,
        temperature=TEMPERATURE,
        rate=1e-3,
        batch=setting.pick(256, 100),
        epochs=setting.pick(40, 1),
        measure_every=setting.pick(40, 1),
    )
    known = pixels(experiment, device=setting.name).iloc[0]
    report.number("linear accuracy of pixels on the other halves", float(known["linear"]))
    results: dict[str, pd.DataFrame] = {}
    how: dict[str, dict[str, Any]] = {"float32": {}, "bfloat16": {"precision": "bfloat16"}}
    for name, options in how.items():
        begun = time.monotonic()
        rows = run(experiment, device=setting.name, **options)
        results[name] = rows
        title = f"{name}, {experiment.epochs} epochs in batches of {experiment.batch}"
        report.number(f"{title}: seconds", time.monotonic() - begun)
        report.number(f"{title}: loss", float(rows["loss"].iloc[-1]))
        report.number(f"{name}: linear accuracy with random weights", float(rows["linear"].iloc[0]))
        report.number(f"{name}: k-NN accuracy", float(rows["knn"].iloc[-1]))
    for name, rows in results.items():
        last = float(rows["linear"].iloc[-1])
        report.at_least(f"{name}: linear accuracy above pixels", last - float(known["linear"]), 0.1)
        gain = last - float(rows["linear"].iloc[0])
        report.at_least(f"{name}: linear accuracy above random weights", gain, 0.05)
    losses = [float(rows["loss"].iloc[-1]) for rows in results.values()]
    report.at_most("loss in bfloat16 against float32, relative", abs(losses[1] / losses[0] - 1), 0.05)
