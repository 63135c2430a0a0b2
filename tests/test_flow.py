from __future__ import annotations

import math

import pytest
import torch

from ssl_theory.checks import relative_error
from ssl_theory.flow import descend, gradient_flow, gradients, smooth_flow
from ssl_theory.networks import ReLUNetwork
from ssl_theory.operators import expected_loss
from tests.cases import make_world


def test_quadratic_loss_decays_exponentially() -> None:
    curvature = torch.tensor([1.0, 3.0], dtype=torch.float64)
    start = torch.tensor([2.0, -1.0], dtype=torch.float64)
    times = [0.0, 0.5, 2.0]
    path = gradient_flow(lambda w: 0.5 * (curvature * w[0] ** 2).sum(), [start], times)
    for t, (w,) in zip(times, path, strict=True):
        assert relative_error(w, start * torch.exp(-curvature * t)) < 1e-10


def test_squared_norms_of_the_layers_stay_balanced() -> None:
    world = make_world([3, 3, 2], 3, 2, seed=1, noise=0.1)
    path = gradient_flow(
        lambda w: expected_loss(ReLUNetwork(w), world.views), world.net.weights, [0.0, 0.1, 0.2]
    )
    gaps = torch.stack([w[0].square().sum() - w[1].square().sum() for w in path])
    assert relative_error(gaps, gaps[:1].expand(3)) < 1e-8
    assert not torch.allclose(path[0][0], path[2][0])
    assert torch.equal(path[0][1], world.net.weights[1])


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_flow_looks_at_no_time_after_the_last(size: float) -> None:
    """A kink beyond the end must not be met: the loss refuses weights that the flow reaches later only."""
    curvature, start, end = 1.0, size * torch.ones(2, dtype=torch.float64), 1e-3

    def loss(weights: tuple[torch.Tensor, ...]) -> torch.Tensor:
        assert float(weights[0].detach().min()) > size * (1 - 2 * curvature * end)
        return 0.5 * curvature * weights[0].square().sum()

    (_, (w,)) = gradient_flow(loss, [start], [0.0, end])
    assert relative_error(w / size, start / size * math.exp(-end)) < 1e-12


def test_a_flow_that_rests_and_one_that_starts_at_zero() -> None:
    w = torch.zeros(2, dtype=torch.float64)
    assert torch.equal(gradient_flow(lambda v: (v[0] ** 2).sum(), [w], [0.0, 1.0])[1][0], w)
    (_, (moved,)) = gradient_flow(lambda v: -v[0].sum(), [w], [0.0, 2.0])
    assert relative_error(moved, torch.full((2,), 2.0, dtype=torch.float64)) < 1e-12


def test_gradients_are_those_of_autograd() -> None:
    a, b = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0])
    with torch.no_grad():
        found = gradients(lambda w: (w[0] ** 2).sum(), [a, b])
    assert [g.tolist() for g in found] == [[2.0, 4.0], [0.0]]
    assert a.grad is None


def test_descent_on_a_quadratic() -> None:
    curvature = torch.tensor([1.0, 3.0], dtype=torch.float64)
    start = torch.tensor([2.0, -1.0], dtype=torch.float64)

    def loss(weights: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return 0.5 * (curvature * weights[0] ** 2).sum()

    path = descend(loss, [start], 0.1, 5)
    for k, (w,) in enumerate(path.weights):
        assert relative_error(w, start * (1 - 0.1 * curvature) ** k) < 1e-14
        assert abs(float(path.losses[k]) - float(loss((w,)))) < 1e-14
    squares = [[float((curvature * w).square().sum())] for (w,) in path.weights[:-1]]
    assert relative_error(path.squares, torch.tensor(squares, dtype=torch.float64)) < 1e-14
    assert path.rates.tolist() == [0.1] * 5
    assert [len(part) for part in descend(loss, [start], 0.1, 0)] == [1, 1, 0, 0]


def test_the_rate_may_depend_on_where_one_is() -> None:
    start = torch.tensor([1.0], dtype=torch.float64)
    seen: list[tuple[float, float, float]] = []

    def rate(value: float, weights: tuple[torch.Tensor, ...], slopes: tuple[torch.Tensor, ...]) -> float:
        seen.append((value, float(weights[0]), float(slopes[0])))
        return value / float(slopes[0] ** 2)

    path = descend(lambda w: (w[0] ** 2).sum(), [start], rate, 2)
    assert seen == [(1.0, 1.0, 2.0), (0.25, 0.5, 1.0)]
    assert path.rates.tolist() == [0.25, 0.25]


def test_small_steps_follow_the_flow() -> None:
    world = make_world([3, 3, 2], 3, 2, seed=1, noise=0.1)

    def loss(weights: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return expected_loss(ReLUNetwork(weights), world.views)

    end = gradient_flow(loss, world.net.weights, [0.0, 0.1])[1]
    gaps = []
    for steps in (100, 200):
        last = descend(loss, world.net.weights, 0.1 / steps, steps).weights[-1]
        gaps.append(float((last[0] - end[0]).abs().max()))
    assert gaps[0] < 1e-2
    assert gaps[1] == pytest.approx(gaps[0] / 2, rel=0.1)


@pytest.mark.bad_input
def test_bad_input() -> None:
    w = torch.ones(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="times must increase and hold at least two entries"):
        gradient_flow(lambda v: v[0].sum(), [w], [0.0, 0.0])
    with pytest.raises(TypeError, match=r"weights\[0\] must be a torch tensor"):
        gradient_flow(lambda v: v[0].sum(), [1.0], [0.0, 1.0])  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match="could not be followed to t = 2"):
        gradient_flow(lambda v: -(v[0] ** 3).sum(), [w], [0.0, 2.0])
    with pytest.raises(RuntimeError, match="could not be followed to t = 1: the gradient is NaN at 0"):
        gradient_flow(lambda v: (v[0] * float("nan")).sum(), [w], [0.0, 1.0])
    with pytest.raises(RuntimeError, match="could not be followed to t = 1: the gradient is NaN at 0"):
        gradient_flow(lambda v: (v[0] - 1.0).sqrt().sum() * 0.0, [w], [0.0, 1.0])
    for bad in (float("nan"), -1.0, 0.0):
        with pytest.raises(ValueError, match="rtol must be finite and greater than 0, got"):
            gradient_flow(lambda v: v[0].sum(), [w], [0.0, 1.0], rtol=bad)
        with pytest.raises(ValueError, match="atol must be finite and greater than 0, got"):
            gradient_flow(lambda v: v[0].sum(), [w], [0.0, 1.0], atol=bad)
    for function in (lambda loss, w: gradient_flow(loss, w, [0.0, 1.0]), gradients):
        with pytest.raises(ValueError, match="weights must hold at least one tensor, got none"):
            function(lambda v: v[0].sum(), [])
        with pytest.raises(ValueError, match=r"weights\[0\] must be finite"):
            function(lambda v: v[0].sum(), [w / 0])
        with pytest.raises(ValueError, match=r"loss must return a scalar, got shape \(2,\)"):
            function(lambda v: v[0].expand(2), [w])
        with pytest.raises(TypeError, match="loss must return a tensor, got float"):
            function(lambda v: 1.0, [w])
    with pytest.raises(ValueError, match="steps must be at least 0, got -1"):
        descend(lambda v: v[0].sum(), [w], 0.1, -1)
    with pytest.raises(ValueError, match="rate must be finite, got nan"):
        descend(lambda v: v[0].sum(), [w], float("nan"), 1)
    with pytest.raises(RuntimeError, match="the weights are not finite after step 2, of rate 1e"):
        descend(lambda v: (v[0] ** 2).sum(), [w], 1e200, 5)


def test_a_smooth_flow_ends_before_the_first_gate_flips() -> None:
    start = [torch.tensor([1.0, 5.0], dtype=torch.float64)]
    time, path = smooth_flow(lambda w: w[0].sum(), start, lambda w: w[0] > 0, 6.0, [0.5, 1.0])
    assert time == 0.75  # 6 halved until it is below 1, where the first number changes its sign
    assert [w.tolist() for (w,) in path] == [
        [1.0, 5.0],
        pytest.approx([0.625, 4.625]),
        pytest.approx([0.25, 4.25]),
    ]


def test_a_smooth_flow_that_has_nowhere_to_go_says_so() -> None:
    start = [torch.tensor([1.0], dtype=torch.float64)]
    with pytest.raises(ValueError, match="longest must be finite and greater than 0"):
        smooth_flow(lambda w: w[0].sum(), start, lambda w: w[0] > 0, 0.0, [1.0])
    with pytest.raises(RuntimeError, match="a gate flips at once"):
        smooth_flow(lambda w: w[0].sum(), start, lambda w: w[0] >= 1, 1.0, [1.0])
