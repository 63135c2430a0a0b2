from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ssl_theory.checks import relative_error
from ssl_theory.losses import InfoNCE, SoftTriplet
from ssl_theory.networks import ReLUNetwork
from ssl_theory.operators import (
    WeightOperator,
    between_variance,
    covariance_operator,
    gram_spectrum,
    leading_operator,
    linear_operator,
    module_operator,
    top_eigenvalues,
    within_variance,
)
from ssl_theory.operators.pairs import Part
from ssl_theory.views import gaussian_views
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


def matrix_of(operator: WeightOperator) -> Tensor:
    return operator(torch.eye(operator.shape[0], dtype=operator.dtype))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("negatives", [1, 2])
@given(world=worlds(max_objects=3))
@settings(max_examples=10)
def test_products_equal_the_dense_matrix(part: Part, negatives: int, world: World) -> None:
    operator = linear_operator(world.net, world.views, world.layer, part, LOSS, negatives)
    assert relative_error(matrix_of(operator), dense(world, part, negatives)) < TOL


@pytest.mark.parametrize("part", PARTS)
def test_a_small_memory_limit_changes_nothing(part: Part) -> None:
    world = make_world([4, 5, 3, 2], 4, 3, seed=1, layer=2)
    whole = matrix_of(linear_operator(world.net, world.views, 2, part, LOSS))
    for limit in (3500, 10_000):
        parts = linear_operator(world.net, world.views, 2, part, LOSS, memory_limit=limit)
        assert relative_error(matrix_of(parts), whole) < TOL


def test_scipy_and_torch_agree_on_vectors_and_matrices() -> None:
    world = make_world([4, 5, 2], 3, 2, seed=2)
    operator = linear_operator(world.net, world.views, 1)
    vectors = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = dense(world, "between") @ vectors
    assert relative_error(operator(vectors), expected) < TOL
    assert relative_error(operator(vectors[:, 0]), expected[:, 0]) < TOL
    for product in (operator.scipy().matmat(vectors.numpy()), operator.scipy() @ vectors.numpy()):
        assert relative_error(torch.from_numpy(np.asarray(product)), expected) < TOL
    assert operator.scipy().matvec(vectors[:, 0].numpy()).shape == (20,)
    assert operator(vectors[:, :0]).shape == (20, 0)


def test_single_precision_stays_single() -> None:
    world = make_world([4, 5, 2], 3, 2, seed=3)
    net = ReLUNetwork([w.float() for w in world.net.weights])
    operator = linear_operator(net, world.views.float(), 1, "exact", LOSS)
    assert operator.scipy().dtype == np.float32
    assert matrix_of(operator).dtype == torch.float32
    assert relative_error(matrix_of(operator).double(), dense(world, "exact")) < 1e-5


@pytest.mark.parametrize("part", PARTS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_spectra_agree(part: Part, seed: int) -> None:
    world = make_world([4, 5, 2], 3, 2, seed)
    expected = torch.linalg.eigvalsh(dense(world, part)).flip(0)
    operator = linear_operator(world.net, world.views, 1, part, LOSS)
    values, vectors = top_eigenvalues(operator, 3, eigenvectors=True)
    assert relative_error(values, expected[:3]) < 1e-10
    assert vectors.shape == (3, 5, 4)
    flat = vectors.mT.flatten(1)  # column-major
    assert relative_error(flat @ flat.mT, torch.eye(3, dtype=torch.float64)) < 1e-10
    assert relative_error(operator(flat.mT.contiguous()), flat.mT * values) < 1e-8
    gram = gram_spectrum(world.net, world.views, 1, part, LOSS, block=2)
    padded = torch.cat([gram, torch.zeros(20, dtype=torch.float64)])
    largest = padded[padded.abs().argsort(descending=True)[:20]].sort(descending=True).values
    assert relative_error(largest, expected) < 1e-10


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_rank_between_objects(seed: int) -> None:
    world = make_world([6, 5, 2], 3, 2, seed)
    for part in ("between", "leading"):
        spectrum = gram_spectrum(world.net, world.views, 1, part, LOSS)  # type: ignore[arg-type]
        assert spectrum.shape == (6,)
        assert spectrum[-2:].abs().max() < TOL


class Book(nn.Module):
    """The book's network as a torch module."""

    def __init__(self, net: ReLUNetwork) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for weight in net.weights:
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
            layer.weight = nn.Parameter(weight)
            layers += [layer, nn.ReLU()]
        self.stack = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("batch_size", [256, 4])
def test_modules_give_the_same_operators(part: Part, batch_size: int) -> None:
    world = make_world([4, 5, 3, 2], 3, 3, seed=5, layer=2)
    operator = module_operator(
        Book(world.net).eval(), "stack.2", world.views, part, LOSS, batch_size=batch_size
    )
    assert relative_error(matrix_of(operator), dense(world, part)) < TOL


def test_a_convolution_shares_its_weights(generator: torch.Generator) -> None:
    """Against the definition: the derivative of every output in every weight, by autograd."""
    module = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).double().eval()
    views = gaussian_views(
        torch.randn(3, 18, generator=generator, dtype=torch.float64), 2, generator=generator
    ).reshape(3, 2, 2, 3, 3)
    weight = module[0].weight
    rows = []
    for x in views.flatten(0, 1):
        outputs = module(x[None])[0]
        gradients = [torch.autograd.grad(o, weight, retain_graph=True)[0] for o in outputs]
        rows.append(torch.stack([g.flatten(1).mT.flatten() for g in gradients]))  # K_uᵀ, column-major vec
    connections = torch.stack(rows).reshape(3, 2, 2, 24)
    means = connections.mean(1)
    centred = means - means.mean(0)
    expected = torch.einsum("noi,noj->ij", centred, centred) / 3
    operator = module_operator(module, "0", views)
    assert (operator.rows, operator.columns) == (3, 8)
    assert relative_error(matrix_of(operator), expected) < TOL


@pytest.mark.bad_input
def test_bad_input() -> None:
    world = make_world([4, 5, 2], 3, 2, seed=0)
    operator = linear_operator(world.net, world.views, 1)
    for k in (0, 20):
        with pytest.raises(ValueError, match=f"k must be from 1 to 19, got {k}"):
            top_eigenvalues(operator, k)
    with pytest.raises(ValueError, match="memory_limit must hold one view, at least 256 bytes, got 255"):
        linear_operator(world.net, world.views, 1, "between", memory_limit=255)
    with pytest.raises(ValueError, match="memory_limit must hold the pair weights of the exact part"):
        linear_operator(world.net, world.views, 1, "exact", memory_limit=800)
    with pytest.raises(ValueError, match="layer must be from 1 to 2, got 0"):
        linear_operator(world.net, world.views, 0)
    with pytest.raises(ValueError, match="the activations must be finite"):
        linear_operator(ReLUNetwork([w * 1e200 for w in world.net.weights]), world.views, 1)
    with pytest.raises(TypeError, match="vectors must have the operator's dtype, torch.float64"):
        operator(torch.ones(20))
    with pytest.raises(ValueError, match=r"vectors must have shape \(20,\) or \(20, k\), got \(19,\)"):
        operator(torch.ones(19, dtype=torch.float64))
    with pytest.raises(ValueError, match="vectors must be on the operator's device, cpu, got meta"):
        operator(torch.ones(20, dtype=torch.float64, device="meta"))
    many = torch.ones(5000, 1, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="views are too many: the Gram matrix would have 10000 rows"):
        gram_spectrum(world.net, many, 1)


@pytest.mark.bad_input
def test_a_symmetric_solver_refuses_other_operators() -> None:
    skew = torch.randn(20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    operator = WeightOperator(5, 4, torch.float64, torch.device("cpu"), lambda v: skew @ v)
    with pytest.raises(ValueError, match="operator must be symmetric, got uᵀAv"):
        top_eigenvalues(operator, 2)
    broken = WeightOperator(5, 4, torch.float64, torch.device("cpu"), lambda v: v * float("nan"))
    with pytest.raises(ValueError, match="the operator's products must be finite"):
        top_eigenvalues(broken, 2)


@pytest.mark.bad_input
def test_bad_modules() -> None:
    world = make_world([4, 5, 2], 3, 2, seed=0)
    module = Book(world.net)
    with pytest.raises(ValueError, match="module must be in evaluation mode"):
        module_operator(module.train(), "stack.0", world.views)
    module.eval()
    with pytest.raises(ValueError, match=r"layer must be one of .*\['stack.0', 'stack.2'\], got 'stack.1'"):
        module_operator(module, "stack.1", world.views)
    with pytest.raises(ValueError, match=r"views must have shape \(N, A, ...\) without zeros"):
        module_operator(module, "stack.0", world.views[:0])
    with pytest.raises(TypeError, match="views must have the dtype of the weights"):
        module_operator(module, "stack.0", world.views.float(), loss=SoftTriplet(1.0))
