"""Covariance operators of real size: accuracy, memory, and cost against bare matrix products."""

from __future__ import annotations

import json
import resource
import time
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, linearize, vjp

from benchmarks.timing import exponent, rounded, seconds
from ssl_theory.checks import relative_error
from ssl_theory.losses import InfoNCE
from ssl_theory.networks import ReLUNetwork
from ssl_theory.operators import WeightOperator, operator
from ssl_theory.operators.pairs import form_of
from ssl_theory.views import gaussian_views

WIDTHS, LAYER, OBJECTS, VIEWS = [64, 256, 256, 10], 2, 200, 16
LOSS = InfoNCE(0.5)


def world(objects: int, views: int, widths: list[int]) -> tuple[ReLUNetwork, Tensor]:
    g = torch.Generator().manual_seed(0)
    net = ReLUNetwork.random(widths, generator=g)
    centres = torch.randn(objects, widths[0], generator=g, dtype=torch.float64)
    return net, gaussian_views(centres, views, 0.3, generator=g)


def peak_memory() -> int:
    """Return the most bytes this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bare_products() -> float:
    """Return the time of the two matrix products that any form of the operator has to do."""
    below = torch.randn(OBJECTS * VIEWS, WIDTHS[LAYER - 1], dtype=torch.float64)
    weight = torch.randn(WIDTHS[LAYER - 1], WIDTHS[LAYER], dtype=torch.float64)
    above = below @ weight
    return seconds(lambda: (below @ weight, below.mT @ above))


def timed_solve(op: WeightOperator) -> tuple[Tensor, float, float]:
    """Return the top 20 eigenvalues, the time they took, and the share of it spent outside the products."""
    inside = 0.0

    def product(vectors: Tensor) -> Tensor:
        nonlocal inside
        start = time.perf_counter()
        image = op.product(vectors)
        inside += time.perf_counter() - start
        return image

    start = time.perf_counter()
    values = replace(op, product=product).top(20).values
    whole = time.perf_counter() - start
    return values, whole, 1 - inside / whole


def wide() -> dict[str, float]:
    """Return what widths 64-256-256-10 cost at layer 2: a matrix of 65,536 rows that nobody forms."""
    net, views = world(OBJECTS, VIEWS, WIDTHS)
    before = peak_memory()
    op = operator(net, views, LAYER, part="between")
    values, whole, outside = timed_solve(op)
    extra = peak_memory() - before
    vector = torch.randn(op.shape[0], dtype=torch.float64)
    product, bare = seconds(lambda: op @ vector), bare_products()
    exact = operator(net, views, LAYER, part="exact", loss=LOSS)
    exact_product = seconds(lambda: exact @ vector)
    spectrum = op.spectrum()
    error = ((values - spectrum[:20]) / spectrum[:20]).abs().max()
    return {
        "rows of the operator": op.shape[0],
        "top 20 eigenvalues against the Gram spectrum, relative": rounded(float(error)),
        "peak extra memory, GB": rounded(extra / 1e9),
        "the dense matrix would take, GB": rounded(op.shape[0] ** 2 * 8 / 1e9),
        "one product / two bare matrix products": rounded(product / bare),
        "one product of the exact operator / two bare matrix products": rounded(exact_product / bare),
        "whole solve / one product": rounded(whole / product),
        "share of the solve outside the products": rounded(outside),
        **by_torch_func(net, views, op, product),
    }


def as_module(net: ReLUNetwork) -> nn.Sequential:
    """Return the network as a torch module; layer l stands at 2 (l − 1)."""
    layers: list[nn.Module] = []
    for weight in net.weights:
        layer = nn.Linear(*weight.shape[::-1], bias=False, dtype=weight.dtype)
        layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def by_torch_func(net: ReLUNetwork, views: Tensor, op: WeightOperator, product: float) -> dict[str, float]:
    """Return the cost of the same product by automatic differentiation, relative to ours."""
    module, flat, layer = as_module(net), views.flatten(0, 1), str(2 * (LAYER - 1))
    weight = net.weights[LAYER - 1]
    form = form_of("between", net(views), LOSS)

    def outputs(w: Tensor) -> Tensor:
        return functional_call(module, {f"{layer}.weight": w}, (flat,))

    def finish(change: Tensor) -> Tensor:
        return form(change.reshape(*views.shape[:2], -1)).reshape(change.shape)

    def anew(direction: Tensor) -> Tensor:
        with torch.no_grad():
            change = jvp(outputs, (weight,), (direction,))[1]
        return vjp(outputs, weight)[1](finish(change))[0]

    _, push = linearize(outputs, weight)
    _, pull = vjp(outputs, weight)

    def once(direction: Tensor) -> Tensor:
        with torch.no_grad():
            change = push(direction)
        return pull(finish(change))[0]

    direction = torch.randn_like(weight)
    expected = op @ direction.mT.flatten()
    ratios, times = {}, {}
    for title, function in (("evaluated anew", anew), ("linearised once", once)):
        assert relative_error(function(direction).detach().mT.flatten(), expected) < 1e-10
        times[title] = seconds(lambda f=function: f(direction))
        ratios[f"torch.func, {title} / one product"] = rounded(times[title] / product)
    of_module = operator(module.eval(), views, layer, part="between")
    vector = direction.mT.flatten()
    assert relative_error(of_module @ vector, expected) < 1e-10
    ratios["one product of the module / two bare passes of torch.func"] = rounded(
        seconds(lambda: of_module @ vector) / times["linearised once"]
    )
    return ratios


def exponents() -> dict[str, float]:
    """Return fitted exponents of the cost, which the sizes of the sums predict."""
    widths, objects = [16, 128, 128, 8], [64, 128, 256, 512]
    found = {}
    for part in ("between", "within"):
        times = []
        for n in objects:
            net, views = world(n, 16, widths)
            op = operator(net, views, 2, part=part)
            vector = torch.randn(op.shape[0], dtype=torch.float64)
            times.append(seconds(lambda o=op, v=vector: o @ v))
        found[f"{part}: exponent of a product in N·A (1)"] = rounded(exponent(objects, times))
    narrow = [4, 8, 8, 8]
    objects = [512, 1024, 2048, 4096]
    times = []
    for n in objects:
        net, views = world(n, 1, narrow)
        image = form_of("leading", net(views), LOSS)
        t = torch.randn(n, 8, dtype=torch.float64)
        times.append(seconds(lambda f=image, t=t: f.apply(t)))
    found["leading: exponent of its sum over pairs of objects in N (2)"] = rounded(exponent(objects, times))
    found |= exact_exponents(narrow)
    return found


def exact_exponents(widths: list[int]) -> dict[str, float]:
    building, applying, many, few = [], [], [16, 32, 64, 128], [4, 8, 16, 32]
    for n in many:
        net, views = world(n, 12, widths)
        outputs = net(views)
        building.append(seconds(lambda o=outputs: form_of("exact", o, LOSS), 3))
    for n in (128, 256, 512):
        net, views = world(n, 8, widths)
        form = form_of("exact", net(views), LOSS)
        t = torch.randn(n * 8, 8, dtype=torch.float64)
        applying.append(seconds(lambda f=form, t=t: f.apply(t)))
    over_views = []
    for a in few:
        net, views = world(32, a, widths)
        outputs = net(views)
        over_views.append(seconds(lambda o=outputs: form_of("exact", o, LOSS), 3))
    return {
        "exact: exponent of building its pair weights in N (2)": rounded(exponent(many, building)),
        "exact: exponent of building its pair weights in A (3)": rounded(exponent(few, over_views)),
        "exact: exponent of its sum over pairs of views in N·A (2)": rounded(
            exponent([128, 256, 512], applying)
        ),
    }


if __name__ == "__main__":
    print(json.dumps(wide() | exponents()))
