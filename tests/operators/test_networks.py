from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from ssl_theory.checks import relative_error
from ssl_theory.losses import InfoNCE
from ssl_theory.networks import ReLUNetwork
from ssl_theory.operators import (
    between_variance,
    covariance_operator,
    leading_operator,
    operator,
    within_variance,
)
from ssl_theory.operators.pairs import Part
from tests.cases import World, make_world, worlds

TOL = 1e-12
LOSS = InfoNCE(0.4)
PARTS: list[Part] = ["exact", "leading", "between", "within"]


def dense(world: World, part: Part, negatives: int = 1) -> Tensor:
    place = (world.net, world.views, world.layer)
    if part == "between":
        return between_variance(*place)
    if part == "within":
        return within_variance(*place)
    function = covariance_operator if part == "exact" else leading_operator
    return function(*place, LOSS, negatives)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("negatives", [1, 2])
@given(world=worlds(max_objects=3))
@settings(max_examples=10)
def test_products_equal_the_dense_matrix(part: Part, negatives: int, world: World) -> None:
    op = operator(world.net, world.views, world.layer, part=part, loss=LOSS, negatives=negatives)
    expected = dense(world, part, negatives)
    assert relative_error(op @ torch.eye(op.shape[0], dtype=op.dtype), expected) < TOL
    assert relative_error(op.dense(), expected) == 0


@pytest.mark.parametrize("part", PARTS)
def test_a_small_memory_limit_changes_nothing(part: Part) -> None:
    world = make_world([4, 5, 3, 2], 4, 3, seed=1, layer=2)
    for limit in (3500, 10_000):
        op = operator(world.net, world.views, 2, part=part, loss=LOSS, memory_limit=limit)
        matrix = op @ torch.eye(15, dtype=torch.float64)
        assert relative_error(matrix, dense(world, part)) < TOL


def test_scipy_and_torch_agree_on_vectors_and_matrices() -> None:
    world = make_world([4, 5, 2], 3, 2, seed=2)
    op = operator(world.net, world.views, 1)
    vectors = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = dense(world, "between") @ vectors
    assert relative_error(op @ vectors, expected) < TOL
    assert relative_error(op @ vectors[:, 0], expected[:, 0]) < TOL
    assert torch.equal(op(vectors), op @ vectors)
    for product in (op.scipy().matmat(vectors.numpy()), op.scipy() @ vectors.numpy()):
        assert relative_error(torch.from_numpy(np.asarray(product)), expected) < TOL
    assert op.scipy().matvec(vectors[:, 0].numpy()).shape == (20,)
    assert (op @ vectors[:, :0]).shape == (20, 0)


def test_single_precision_stays_single() -> None:
    world = make_world([4, 5, 2], 3, 2, seed=3)
    net = ReLUNetwork([w.float() for w in world.net.weights])
    op = operator(net, world.views.float(), 1, part="exact", loss=LOSS)
    assert op.scipy().dtype == np.float32
    assert (op @ torch.eye(20)).dtype == torch.float32
    assert relative_error((op @ torch.eye(20)).double(), dense(world, "exact")) < 1e-5


@pytest.mark.bad_input
def test_bad_input() -> None:
    world = make_world([4, 5, 2], 3, 2, seed=0)
    op = operator(world.net, world.views, 1)
    with pytest.raises(ValueError, match="memory_limit must hold one view, at least 256 bytes, got 255"):
        operator(world.net, world.views, 1, part="between", memory_limit=255)
    with pytest.raises(ValueError, match="memory_limit must hold the pair weights of the exact part"):
        operator(world.net, world.views, 1, memory_limit=800)
    with pytest.raises(ValueError, match="layer must be from 1 to 2, got 0"):
        operator(world.net, world.views, 0)
    with pytest.raises(TypeError, match="layer must be an integer, got 'one'"):
        operator(world.net, world.views, "one")
    with pytest.raises(TypeError, match="net must be a ReLUNetwork or a torch module, got list"):
        operator([], world.views, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the outputs must be finite"):
        operator(ReLUNetwork([w * 1e200 for w in world.net.weights]), world.views, 1)
    with pytest.raises(TypeError, match="vectors must have the operator's dtype, torch.float64"):
        op @ torch.ones(20)
    with pytest.raises(ValueError, match=r"vectors must have shape \(20,\) or \(20, k\), got \(19,\)"):
        op @ torch.ones(19, dtype=torch.float64)
    with pytest.raises(ValueError, match="vectors must be on the operator's device, cpu, got meta"):
        op @ torch.ones(20, dtype=torch.float64, device="meta")
