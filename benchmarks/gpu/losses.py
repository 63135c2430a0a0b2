"""NT-Xent on a GPU: time and memory beside plain forms of it, accuracy where positives are confident."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks import _images_baseline as plain
from benchmarks.gpu.report import Report, distance
from benchmarks.gpu.setting import Setting
from ssl_theory.losses import nt_xent

Loss = Callable[[Tensor, Tensor, float], Tensor]
FORMS: dict[str, Loss] = {
    "plain cross-entropy": plain.nt_xent,
    "lightly's form": plain.blocked_nt_xent,
}
WIDTH = 128


def measure(setting: Setting, report: Report) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    for pairs in setting.pick((1024, 4096, 8192), (32,)):
        with report.guarded(f"{pairs} pairs"):
            cost(setting, report, pairs)
    for temperature in (0.5, 0.1, 0.05, 0.02):
        with report.guarded(f"τ = {temperature}"):
            accuracy(setting, report, temperature)


def cost(setting: Setting, report: Report, pairs: int) -> None:
    """Loss and gradient of random outputs in float32 without TF32."""
    g = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, pairs, WIDTH, generator=g).to(setting.device).requires_grad_()
    matrix = (2 * pairs) ** 2 * 4

    def work(loss: Loss) -> None:
        torch.autograd.grad(loss(outputs[0], outputs[1], 0.2), outputs)

    own = setting.seconds(partial(work, nt_xent))
    name = f"NT-Xent, {pairs} pairs"
    report.number(f"{name}: milliseconds", 1e3 * own)
    memory = setting.peak(partial(work, nt_xent)) / matrix
    report.at_most(f"{name}: peak memory in matrices of (2N)² floats", memory, 1.5)
    rows = torch.randn(2 * pairs, WIDTH, generator=g).to(setting.device)
    square = torch.randn(2 * pairs, 2 * pairs, generator=g).to(setting.device)
    bare = setting.seconds(lambda: (torch.mm(rows, rows.mT, out=square), square @ rows, square.mT @ rows))
    report.number(f"{name}: share of the rate of its three matrix products alone", bare / own)
    for other, loss in FORMS.items():
        report.number(f"{name}: times as fast as {other}", setting.seconds(partial(work, loss)) / own)
        report.number(f"{name}: memory of {other} in matrices", setting.peak(partial(work, loss)) / matrix)


def accuracy(setting: Setting, report: Report, temperature: float) -> None:
    """The gradient in float32 against float64 where the two views of an object nearly agree."""
    g = torch.Generator().manual_seed(1)
    first = torch.nn.functional.normalize(torch.randn(setting.pick(64, 8), 32, generator=g), dim=1)
    outputs = torch.stack([first, first + 0.02 * torch.randn(first.shape, generator=g)])

    def gradient(loss: Loss, x: Tensor) -> Tensor:
        x = x.to(setting.device).requires_grad_()
        return torch.autograd.grad(loss(x[0], x[1], temperature), x)[0]

    known = gradient(plain.stable_nt_xent, outputs.double())
    name = f"NT-Xent, τ = {temperature}: relative error of the gradient in float32"
    report.at_most(name, distance(gradient(nt_xent, outputs), known), 1e-5)
    report.number(f"{name}, plain cross-entropy", distance(gradient(plain.nt_xent, outputs), known))
