"""Products with a layer of a module against curvlinops and torch.func; what watching a training costs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, linearize, vjp

from benchmarks.timing import rounded, seconds
from ssl_theory.checks import relative_error
from ssl_theory.inspection import CHEAP, inspect, named_loss
from ssl_theory.inspection.series import EVERY
from ssl_theory.losses import nt_xent
from ssl_theory.operators import linearise

VIEWS, SIDE, LAYER = 48, 32, "3"  # the second of three convolutions
WATCHED, BATCH = 16, 256  # objects that are inspected, and those of a step


def encoder() -> nn.Sequential:
    """Return three convolutions with BatchNorm, and a projector."""
    layers: list[nn.Module] = []
    for below, above in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(below, above, 3, stride=2, padding=1), nn.BatchNorm2d(above), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 64))


def settled() -> tuple[nn.Sequential, Tensor]:
    """Return the encoder in evaluation mode, its statistics touched, and views for it."""
    torch.manual_seed(0)
    model, views = encoder(), torch.randn(VIEWS, 3, SIDE, SIDE)
    model.train()(views)
    return model.eval(), views


def products() -> dict[str, float]:
    """Return the time of Σ_u K_u K_uᵀ vec(V) by four programs, over the two bare passes."""
    model, views = settled()
    name, weight = f"{LAYER}.weight", model[int(LAYER)].weight
    direction = torch.randn_like(weight)

    def outputs(w: Tensor) -> Tensor:
        return functional_call(model, {name: w}, (views,))

    _, push = linearize(outputs, weight.detach())
    _, pull = vjp(outputs, weight.detach())

    def bare() -> Tensor:
        with torch.no_grad():
            change = push(direction)
        return pull(change)[0]

    def anew() -> Tensor:
        with torch.no_grad():
            change = jvp(outputs, (weight.detach(),), (direction,))[1]
        return vjp(outputs, weight.detach())[1](change)[0]

    layer = linearise(model, views.unsqueeze(1), LAYER)

    def ours() -> Tensor:
        return layer.pull(layer.push(direction.flatten(1))).view_as(weight)

    programs: dict[str, Callable[[], Tensor]] = {"the library": ours, "torch.func, evaluated anew": anew}
    other = curvlinops(model, views, direction)
    if other is not None:
        programs["curvlinops"] = other
    expected, unit = bare(), seconds(bare)
    found = {}
    for title, product in programs.items():
        assert relative_error(product().detach(), expected.detach()) < 1e-3, title
        found[f"one product of a convolution, {title} / two bare passes"] = rounded(seconds(product) / unit)
    return found


def curvlinops(model: nn.Module, views: Tensor, direction: Tensor) -> Callable[[], Tensor] | None:
    """Return the product as curvlinops has it, for half a sum of squares; None where it is not installed."""
    try:
        from curvlinops import GGNLinearOperator
    except ImportError:
        print("curvlinops is not installed: pip install 'ssl-theory[bench]'", file=sys.stderr)
        return None
    weight = model[int(LAYER)].weight
    data = [(views, torch.zeros_like(model(views)).detach())]
    matrix = GGNLinearOperator(model, nn.MSELoss(reduction="sum"), [weight], data, check_deterministic=False)
    return lambda: (matrix @ [direction])[0] / 2


def watching() -> dict[str, float]:
    """Return what an inspection costs, in steps of training and as a share of them."""
    torch.manual_seed(0)
    model = encoder()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    batch = torch.randn(2, BATCH, 3, SIDE, SIDE)
    views = torch.randn(WATCHED, 1, 3, SIDE, SIDE) + 0.3 * torch.randn(WATCHED, 2, 3, SIDE, SIDE)
    loss = named_loss("nt-xent", temperature=0.2)

    def step() -> None:
        optimizer.zero_grad()
        nt_xent(model(batch[0]), model(batch[1]), temperature=0.2).backward()
        optimizer.step()

    def look() -> float:
        start = time.perf_counter()
        inspect(model, views, loss=loss, **CHEAP)
        return time.perf_counter() - start

    one, whole = seconds(step, 3), look()
    return {
        "one inspection of all layers / one step of training": rounded(whole / one),
        f"inspections every {EVERY} steps / training": rounded(whole / one / EVERY),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(products() | watching()))
