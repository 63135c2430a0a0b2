"""How strong an augmentation may be before squared norms shrink, and before the residue leads (T16).

Small networks, random and trained, on small worlds: the strengths of both onsets, measured, and as the
variances of the outputs foretell them.

python -m ssl_theory.experiments.weak -o book/results/weak.csv
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
import torch
from jaxtyping import Float
from numpy.polynomial.hermite_e import hermegauss
from scipy.optimize import brentq
from torch import Tensor, nn

from ssl_theory.losses import augmentation_temperature, half_squared_distances, output_moments
from ssl_theory.networks import ReLUNetwork
from ssl_theory.training import fit
from ssl_theory.validation import require_count, require_one_of, require_real, require_seed

__all__ = ["WIDTHS", "SmallWorld", "Weights", "draw_world", "measure", "onset_table", "pair_weights"]

World = Literal["normal", "plane", "rotations"]
Negatives = Literal["one", "batch"]
WORLDS: tuple[World, ...] = get_args(World)
WIDTHS = ((6, 4), (6, 16, 8), (6, 32, 8), (6, 12, 12, 6), (6, 10, 10, 10, 4))
_OBJECTS, _VIEWS, _WEAK = 12, 4, 0.01
_NODES, _SHARES = (torch.from_numpy(part) for part in hermegauss(41))
_SHARES = _SHARES / _SHARES.sum()
_GRID = torch.logspace(-2.5, 0.5, 25, dtype=torch.float64).tolist()


@dataclass(frozen=True)
class SmallWorld:
    """Objects, and deviations that a strength multiplies.

    Attributes:
        objects: Shape (N, n_0).
        noise: Centred for each object: (N, A, n_0), or of rotations the angles, (N, A, n_0/2).
        rotates: Whether pairs of coordinates are rotated.
    """

    objects: Float[Tensor, "N n_0"]
    noise: Float[Tensor, "N A k"]
    rotates: bool = False

    def views(self, strength: float) -> Float[Tensor, "N A n_0"]:
        """Return the views at a strength: a standard deviation of the inputs, or of angles in radians."""
        if not self.rotates:
            return self.objects.unsqueeze(1) + strength * self.noise
        x, y = self.objects.reshape(len(self.objects), 1, -1, 2).unbind(-1)
        cos, sin = (strength * self.noise).cos(), (strength * self.noise).sin()
        return torch.stack([cos * x - sin * y, sin * x + cos * y], -1).flatten(-2)


def draw_world(
    world: World, inputs: int, generator: torch.Generator, *, objects: int = _OBJECTS, views: int = _VIEWS
) -> SmallWorld:
    """Draw normal objects and deviations: in all inputs, in a plane of them, or rotations of pairs of them.

    Args:
        world: Which deviations.
        inputs: n_0, even for rotations.
        generator: Source of randomness.
        objects: N.
        views: A.

    Returns:
        The world.

    Raises:
        ValueError: If the world is unknown, or a number out of range.
    """
    require_one_of("world", world, WORLDS)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    size = require_count("inputs", inputs, 2) // 2 if world == "rotations" else inputs
    if world == "rotations" and inputs % 2:
        raise ValueError(f"inputs must be even for rotations, got {inputs}")
    points = draw(require_count("objects", objects), inputs)
    noise = draw(objects, require_count("views", views, 2), size)
    if world == "plane":
        basis = torch.linalg.qr(draw(inputs, 2))[0]
        noise = noise @ basis @ basis.mT
    return SmallWorld(points, noise - noise.mean(1, keepdim=True), world == "rotations")


@dataclass(frozen=True)
class Weights:
    """How InfoNCE weights pairs of views, and in its leading part pairs of objects.

    Attributes:
        views: s_uv = −∂L/∂r_uv, shape (N·A, N·A).
        objects: The same of the mean outputs, the positive at distance 0, shape (N, N).
        growth: vec(W_l)ᵀ OP_l vec(W_l), in every layer.
        leading: vec(W_l)ᵀ Lead_l vec(W_l), in every layer.
    """

    views: Float[Tensor, "views views"]
    objects: Float[Tensor, "N N"]
    growth: float
    leading: float


def pair_weights(outputs: Float[Tensor, "N A n_L"], temperature: float, negatives: Negatives) -> Weights:
    """Return the weights of pairs under InfoNCE, its expectation over all that is drawn.

    Args:
        outputs: f_L of every view.
        temperature: τ.
        negatives: "one" of all views, those of the own object included, the positive any view of the object;
            "batch": all views of the other objects at once, the positive another view.

    Returns:
        The weights.

    Raises:
        ValueError: If `negatives` is unknown, or the temperature is not positive.
    """
    require_one_of("negatives", negatives, get_args(Negatives))
    require_real("temperature", temperature, above=0.0)
    distances = [_distances(outputs.flatten(0, 1)), _distances(outputs.mean(1))]
    losses = (
        expected_loss(distances[0], outputs.shape[1], temperature, negatives),
        _loss_of_means(distances[1], outputs.shape[1], temperature, negatives),
    )
    slopes = [-torch.autograd.grad(*pair)[0] for pair in zip(losses, distances, strict=True)]
    forms = [float((s * r.detach()).sum()) for s, r in zip(slopes, distances, strict=True)]
    return Weights(slopes[0], slopes[1], *forms)


def _distances(points: Tensor) -> Tensor:
    return half_squared_distances(points, points).detach().requires_grad_()


def expected_loss(
    distances: Float[Tensor, "views views"], views: int, temperature: float, negatives: Negatives
) -> Float[Tensor, ""]:
    """Return the mean InfoNCE loss of views, those of an object following each other; see `pair_weights`.

    Args:
        distances: r of all pairs.
        views: A.
        temperature: τ.
        negatives: Which negatives.

    Returns:
        The loss, differentiable.
    """
    count = len(distances)
    own = torch.arange(count) // views
    same = own.unsqueeze(1) == own
    logits = -distances / temperature
    if negatives == "one":
        positive = logits[same].view(count, views, 1)
        return nn.functional.softplus(logits.unsqueeze(1) - positive, threshold=1e3).mean()
    positive = logits[same & ~torch.eye(count, dtype=torch.bool)].view(count, views - 1)
    others = logits.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
    return nn.functional.softplus(others - positive, threshold=1e3).mean()


def _loss_of_means(distances: Tensor, views: int, temperature: float, negatives: Negatives) -> Tensor:
    logits = -distances / temperature
    if negatives == "one":
        return nn.functional.softplus(logits, threshold=1e3).mean()
    own = torch.eye(len(logits), dtype=torch.bool)
    others = logits.masked_fill(own, -torch.inf).logsumexp(1) + math.log(views)
    return nn.functional.softplus(others, threshold=1e3).mean()


def normal_growth(outputs: Float[Tensor, "N A n_L"], temperature: float) -> float:
    """Return E u σ(−u/τ)/τ, one negative, as if u = r_- − r_+ were normal given the pair of objects.

    Args:
        outputs: f_L of every view.
        temperature: τ.

    Returns:
        The growth, from the mean and the variance of u for each pair alone.
    """
    n, a, _ = outputs.shape
    distances = half_squared_distances(outputs.flatten(0, 1), outputs.flatten(0, 1)).view(n, a, n, a)
    positive = distances.diagonal(dim1=0, dim2=2).movedim(-1, 0)  # (N, A, A)
    gaps = distances[:, :, None] - positive[..., None, None]  # (N, A, A, N, A)
    spread, mean = torch.var_mean(gaps, dim=(1, 2, 4), correction=0)
    u = (mean.unsqueeze(-1) + spread.sqrt().unsqueeze(-1) * _NODES) / temperature
    return float((u * torch.sigmoid(-u) @ _SHARES).mean())


def residue_ratio(net: ReLUNetwork, views: Tensor, layer: int, weights: Weights) -> float:
    """Return ‖θ_l‖_F over the norm of the leading part.

    Args:
        net: The network.
        views: Shape (N, A, n_0).
        layer: l.
        weights: Of its outputs.

    Returns:
        The ratio.
    """
    connections = net.connection(views, layer)
    exact = _operator(connections.flatten(0, 1), weights.views)
    lead = _operator(connections.mean(1), weights.objects)
    return float((exact - lead).norm() / lead.norm())


def _operator(connections: Tensor, weights: Tensor) -> Tensor:
    symmetric = (weights + weights.mT) / 2.0
    laplacian = torch.diag(symmetric.sum(1)) - symmetric
    pushed = torch.einsum("uv,vdn->udn", laplacian, connections)
    return torch.einsum("udn,uen->de", connections, pushed)


def _crossing(value: Callable[[float], float]) -> float:
    """Return the first strength at which a value turns negative: 0 if at once, NaN if it does not."""
    signs = [value(s) for s in _GRID]
    if not signs[0] > 0:
        return 0.0
    for low, high, end in zip(_GRID, _GRID[1:], signs[1:], strict=False):
        if not end > 0:
            return float(brentq(value, low, high, xtol=1e-5))
    return math.nan


def measure(
    net: ReLUNetwork, world: SmallWorld, temperature: float, negatives: Negatives
) -> dict[str, float]:
    """Return both onsets of a network, measured and foretold.

    Args:
        net: The network, without biases.
        world: Objects and deviations.
        temperature: τ.
        negatives: As for `pair_weights`.

    Returns:
        At strength 0.01: `V_x`, in units of τ, `n_a` and `n_xa`, directions. At the first onset: `V_a`, in
        units of τ. Strengths, 0 if the smallest, 0.003, is beyond them, NaN if the largest, 3, is not:
        `onset`, from which norms shrink, and as foretold by the variances at each strength, `variances`, by
        those at strength 0.01, `ahead`, and by mean and variance of each pair, `pairs`, for one negative;
        `residue` and `residue_last`, from which the residue of the first and last layer passes the leading
        part, and `form`, from which it does so in vec(W)ᵀ OP vec(W), which the outputs know.
    """
    sample = negatives == "batch"

    def weights(s: float) -> Weights:
        return pair_weights(net(world.views(s)), temperature, negatives)

    def ratio(layer: int, s: float) -> float:
        return 1.0 - residue_ratio(net, world.views(s), layer, weights(s))

    def balance(pair: Weights) -> float:
        return pair.leading - abs(pair.growth - pair.leading)

    def gap(s: float) -> float:
        return temperature - augmentation_temperature(net(world.views(s)), sample=sample)

    weak = output_moments(net(world.views(_WEAK)), sample=sample)
    onset = _crossing(lambda s: weights(s).growth)
    within = output_moments(net(world.views(onset)), sample=sample).V_a if onset > 0 else math.nan
    return {
        "V_x": weak.V_x / temperature,
        "V_a": within / temperature,
        "n_a": weak.V_a**2 / weak.square if weak.square > 0 else math.nan,
        "n_xa": weak.V_x * weak.V_a / weak.mixed if weak.mixed > 0 else math.nan,
        "onset": onset,
        "residue": _crossing(partial(ratio, 1)),
        "residue_last": _crossing(partial(ratio, net.depth)),
        "variances": _crossing(gap),
        "ahead": _WEAK * weak.onset(temperature),
        "pairs": math.nan if sample else _crossing(lambda s: normal_growth(net(world.views(s)), temperature)),
        "form": _crossing(lambda s: balance(weights(s))),
    }


def _train(
    net: ReLUNetwork, views: Tensor, temperature: float, negatives: Negatives, steps: int
) -> ReLUNetwork:
    model = nn.ParameterList([w.clone() for w in net.weights])

    def loss(_: int) -> Tensor:
        flat = ReLUNetwork(list(model))(views).flatten(0, 1)
        products = flat @ flat.mT  # distances one by one would keep their digits, and take their time
        squares = products.diagonal()
        distances = (squares.unsqueeze(1) + squares) / 2.0 - products
        return expected_loss(distances, views.shape[1], temperature, negatives)

    fit(model, loss, steps=steps, optimizer=partial(torch.optim.Adam, lr=0.01))
    return ReLUNetwork([w.detach() for w in model])


def onset_table(
    *,
    worlds: Sequence[World] = WORLDS,
    widths: Sequence[tuple[int, ...]] = WIDTHS,
    repeats: int = 4,
    steps: int = 400,
    seed: int = 0,
) -> pd.DataFrame:
    """Draw worlds and networks, train each, and measure its onsets before and after.

    τ is V_x of the random network over a number from 0.2 to 20, drawn on a logarithmic scale; the network is
    trained at a strength from 0.05 to 0.4. Networks whose outputs vary by less than 0.05 between objects are
    drawn again.

    Args:
        worlds: Which deviations.
        widths: n_0 … n_L of the networks.
        repeats: Networks of each kind.
        steps: Updates by Adam on the expected loss.
        seed: Source of all randomness.

    Returns:
        A row for each network, random and trained: `world`, `widths`, `negatives`, `state`, `tau`,
        `trained_at`, the strength it is trained at, and what `measure` returns.

    Raises:
        TypeError: If a number is of another type.
        ValueError: If one is out of range, or a world is unknown.
    """
    require_count("repeats", repeats)
    require_count("steps", steps)
    generator = torch.Generator().manual_seed(require_seed("seed", seed))
    kinds: tuple[Negatives, ...] = get_args(Negatives)
    rows = []
    for world, sizes, negatives, _ in product(worlds, widths, kinds, range(repeats)):
        small = draw_world(world, sizes[0], generator)
        net, spread = _living(sizes, small, generator)
        ease, strong = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        tau, strength = spread / (0.2 * 100**ease), 0.05 * 8**strong
        trained = _train(net, small.views(strength), tau, negatives, steps)
        names = {"world": world, "widths": "-".join(map(str, sizes)), "negatives": negatives}
        for state, one in (("random", net), ("trained", trained)):
            found = measure(one, small, tau, negatives)
            rows.append({**names, "state": state, "tau": tau, "trained_at": strength, **found})
    return pd.DataFrame(rows).assign(steps=steps, seed=seed, torch=torch.__version__)


def _living(
    sizes: tuple[int, ...], world: SmallWorld, generator: torch.Generator
) -> tuple[ReLUNetwork, float]:
    while True:
        net = ReLUNetwork.random(sizes, generator=generator)
        spread = output_moments(net(world.views(0.0))).V_x
        if spread > 0.05:
            return net, spread


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the stored table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="file of the table")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    onset_table().to_csv(given.output, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
