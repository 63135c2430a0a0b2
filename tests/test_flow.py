from __future__ import annotations

import pytest
import torch

from ssl_theory.checks import relative_error
from ssl_theory.flow import gradient_flow
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
    from ssl_theory.networks import ReLUNetwork

    world = make_world([3, 3, 2], 3, 2, seed=1, noise=0.1)
    path = gradient_flow(
        lambda w: expected_loss(ReLUNetwork(w), world.views), world.net.weights, [0.0, 0.1, 0.2]
    )
    gaps = torch.stack([w[0].square().sum() - w[1].square().sum() for w in path])
    assert relative_error(gaps, gaps[:1].expand(3)) < 1e-8
    assert not torch.allclose(path[0][0], path[2][0])
    assert torch.equal(path[0][1], world.net.weights[1])


@pytest.mark.bad_input
def test_bad_input() -> None:
    w = torch.ones(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="times must increase and hold at least two entries"):
        gradient_flow(lambda v: v[0].sum(), [w], [0.0, 0.0])
    with pytest.raises(TypeError, match=r"weights\[0\] must be a torch tensor"):
        gradient_flow(lambda v: v[0].sum(), [1.0], [0.0, 1.0])  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match="could not be followed to t = 2"):
        gradient_flow(lambda v: -(v[0] ** 3).sum(), [w], [0.0, 2.0])
