from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.flow import gradients
from ssl_theory.losses.predictor import predictor_loss
from ssl_theory.networks import ReLUNetwork, vec
from ssl_theory.operators import between_variance, within_variance
from ssl_theory.operators.predictor import predictor_operator, predictor_sizes
from tests.cases import World, make_world, worlds


@given(world=worlds(), centred=st.booleans())
@settings(max_examples=20)
def test_its_product_with_the_weights_is_the_update(world: World, centred: bool) -> None:
    size = world.net.widths[-1]
    predictor = torch.randn(size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = predictor_operator(world.net, world.views, world.layer, predictor, centred=centred)

    def loss(w: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return predictor_loss(ReLUNetwork(w)(world.views), predictor, centred=centred)

    slope = gradients(loss, world.net.weights)[world.layer - 1]
    assert relative_error(found @ vec(world.weight), -vec(slope)) < 1e-12


@pytest.mark.parametrize("factor", [0.3, 1.0])
def test_with_a_multiple_of_the_identity_it_is_made_of_variances(factor: float) -> None:
    world = make_world([3, 4, 2], 3, 2, seed=1, layer=2)
    predictor = factor * torch.eye(2, dtype=torch.float64)
    between, within = (f(world.net, world.views, 2) for f in (between_variance, within_variance))
    found = predictor_operator(world.net, world.views, 2, predictor, centred=True)
    assert relative_error(found, factor * (1 - factor) * between - factor**2 * within) < 1e-12


@given(b=st.floats(0.1, 3), excess=st.floats(0, 3), share=st.floats(0, 1))
def test_both_sizes_are_fixed_points(b: float, excess: float, share: float) -> None:
    s = b + excess
    decay = share * b * b / (4 * s)
    sizes = predictor_sizes(b, s, decay * (1 - 1e-12))
    assert sizes is not None
    assert 0 <= sizes.lost <= sizes.kept <= b / s * (1 + 1e-12)
    for p in sizes:
        assert p * (b * p - s * p * p - decay) == pytest.approx(0, abs=1e-9)
    assert predictor_sizes(b, s, 1.001 * b * b / (4 * s)) is None


def test_bad_arguments_are_named() -> None:
    world = make_world([3, 2], 2, 2, seed=0)
    with pytest.raises(ValueError, match=r"predictor must have shape \(2, 2\), got \(3, 3\)"):
        predictor_operator(world.net, world.views, 1, torch.eye(3, dtype=torch.float64))
    with pytest.raises(TypeError, match="predictor must have the dtype of the weights"):
        predictor_operator(world.net, world.views, 1, torch.eye(2))
    with pytest.raises(ValueError, match="between must be finite and greater than 0"):
        predictor_sizes(0.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="total must be at least between and decay at least 0"):
        predictor_sizes(1.0, 0.5, 0.0)
    with pytest.raises(ValueError, match="decay at least 0, got 2"):
        predictor_sizes(1.0, 2.0, -0.1)
