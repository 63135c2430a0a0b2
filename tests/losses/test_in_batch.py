from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_theory.checks import relative_error
from ssl_theory.losses import InfoNCE, half_squared_distances, nt_xent

# torch 2.14 warns of itself where these tests push tangents forward by its own functions.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")

TOL = 1e-12
seeds, temperatures = st.integers(0, 2**31 - 1), st.floats(0.05, 5)


def by_loops(first: Tensor, second: Tensor, tau: float) -> Tensor:
    """Return the mean of log(1 + Σ e^{others − positive}), an anchor and a negative at a time."""
    unit = [u / u.norm() for u in (*first, *second)]
    size, terms = len(first), []
    for i, anchor in enumerate(unit):
        partner = (i + size) % (2 * size)
        positive = anchor @ unit[partner]
        others = [(anchor @ u - positive) / tau for j, u in enumerate(unit) if j not in (i, partner)]
        terms.append(torch.stack(others).logsumexp(0).exp().log1p())
    return torch.stack(terms).mean()


def pairs(b: int, n: int, seed: int = 0) -> Tensor:
    return torch.randn(2, b, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def confident(b: int, n: int, seed: int, noise: float = 0.02) -> Tensor:
    """Return two views of each object that nearly agree, in float32."""
    g = torch.Generator().manual_seed(seed)
    first = F.normalize(torch.randn(b, n, generator=g), dim=1)
    return torch.stack([first, first + noise * torch.randn(b, n, generator=g)])


def with_gradient(loss, outputs: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    outputs = outputs.detach().requires_grad_()
    value = loss(outputs[0], outputs[1], tau)
    return value.detach(), torch.autograd.grad(value, outputs)[0]


@given(st.integers(2, 5), st.integers(1, 4), seeds, temperatures)
def test_cross_entropy_and_infonce_term_by_term(b: int, n: int, seed: int, tau: float) -> None:
    first, second = pairs(b, n, seed)
    unit = F.normalize(torch.cat([first, second]), dim=-1)
    own, others = torch.eye(2 * b, dtype=torch.bool), torch.arange(2 * b)
    labels = (others + b) % (2 * b)
    expected = F.cross_entropy((unit @ unit.mT / tau).masked_fill(own, -torch.inf), labels)
    assert relative_error(nt_xent(first, second, tau), expected) < TOL
    r = half_squared_distances(unit, unit)
    r_neg = torch.stack([r[i][(others != i) & (others != labels[i])] for i in range(2 * b)])
    terms = InfoNCE(tau)(r[others, labels], r_neg)
    assert relative_error(nt_xent(first, second, tau), terms.mean()) < 1e-11


@given(st.integers(2, 5), st.integers(2, 4), seeds, st.floats(0.02, 5))
def test_value_and_gradient_are_those_of_loops(b: int, n: int, seed: int, tau: float) -> None:
    for known, found in zip(
        *(with_gradient(f, pairs(b, n, seed), tau) for f in (by_loops, nt_xent)), strict=True
    ):
        assert (known - found).norm() <= 1e-11 * known.norm() + 1e-300


@pytest.mark.parametrize("tau", [0.5, 0.1, 0.07, 0.05, 0.02])
@pytest.mark.parametrize("shape", [(64, 32), (64, 128), (256, 128)])
def test_confident_positives_keep_their_digits_in_float32(tau: float, shape: tuple[int, int]) -> None:
    outputs = confident(*shape, seed=1)
    known = with_gradient(nt_xent, outputs.double(), tau)
    found = with_gradient(nt_xent, outputs, tau)
    assert found[0].dtype == torch.float32
    for exact, value in zip(known, found, strict=True):
        assert (value.double() - exact).norm() < 1e-5 * exact.norm()


def test_confident_positives_in_float64_are_those_of_loops_where_cross_entropy_has_lost_them() -> None:
    outputs = confident(4, 16, seed=2, noise=1e-3).double()
    known, found = (with_gradient(f, outputs, 0.02) for f in (by_loops, nt_xent))
    assert known[0] < 1e-9
    for exact, value in zip(known, found, strict=True):
        assert (value - exact).norm() < 1e-11 * exact.norm()


def test_negatives_that_win_by_far_do_not_overflow() -> None:
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    value, gradient = with_gradient(nt_xent, torch.stack([first, -first]), 0.01)
    assert value == pytest.approx(200, rel=1e-6)
    assert torch.isfinite(gradient).all()


def test_derivatives_of_every_mode() -> None:
    outputs = tuple(view.requires_grad_() for view in pairs(3, 2))
    loss = partial(nt_xent, temperature=0.5)
    assert gradcheck(loss, outputs, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(loss, outputs, check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize("outer", [jacfwd, jacrev])
@pytest.mark.parametrize("inner", [jacfwd, jacrev])
def test_second_derivatives_under_torch_func(outer, inner) -> None:
    first, second = pairs(3, 2)
    known = jacrev(jacrev(by_loops))(first, second, 0.5)
    assert relative_error(outer(inner(nt_xent))(first, second, 0.5), known) < TOL
    assert relative_error(hessian(nt_xent)(first, second, 0.5), known) < TOL


def test_a_tangent_goes_through_backward() -> None:
    first, second = pairs(3, 2)
    direction = pairs(3, 2, seed=1)[0]
    known = torch.einsum("abcd,cd->ab", jacrev(jacrev(by_loops))(first, second, 0.5), direction)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(first.requires_grad_(), direction)
        (gradient,) = torch.autograd.grad(nt_xent(dual, second, 0.5), dual)
        tangent = forward_ad.unpack_dual(gradient).tangent
    assert relative_error(tangent, known) < TOL


def test_pushed_forward_it_is_the_same_number() -> None:
    for outputs in (confident(4, 16, seed=2).double(), torch.stack([pairs(4, 16)[0], -pairs(4, 16)[0]])):
        known = nt_xent(*outputs, 0.02)
        value, tangent = jvp(lambda x: nt_xent(*x, 0.02), (outputs,), (outputs.flip(1),))
        assert (value - known).abs() < 1e-12 * known
        _, gradient = with_gradient(nt_xent, outputs, 0.02)
        assert tangent == pytest.approx(float((gradient * outputs.flip(1)).sum()), rel=1e-10)


def test_batches_of_batches_under_vmap() -> None:
    first, second = torch.stack([pairs(3, 2, seed) for seed in range(4)], 1)
    loss = partial(nt_xent, temperature=0.5)
    for function in (loss, grad(loss), lambda u, v: jvp(loss, (u, v), (v, u))[1]):
        one_by_one = torch.stack([function(u, v) for u, v in zip(first, second, strict=True)])
        assert relative_error(vmap(function)(first, second), one_by_one) < TOL
    _, tangent = jvp(vmap(loss), (first, second), (second, first))
    known = [jvp(loss, (u, v), (v, u))[1] for u, v in zip(first, second, strict=True)]
    assert relative_error(tangent, torch.stack(known)) < TOL


def test_collapse_and_directions_that_are_missing() -> None:
    same = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    value = nt_xent(same, same, 0.5)
    assert value.item() == pytest.approx(math.log(7))
    value.backward()
    assert torch.isfinite(same.grad).all()
    assert nt_xent(torch.zeros(2, 2), torch.zeros(2, 2), 0.01).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("small", [0.0, 1e-30])
def test_no_gradient_reaches_a_zero_output_nor_does_it_blow_up(small: float) -> None:
    first, second = pairs(4, 3).float()
    first[1] = small
    first.requires_grad_()
    (gradient,) = torch.autograd.grad(nt_xent(first, second, 0.5), first, create_graph=True)
    assert not gradient[1].any()
    assert gradient[0].any()
    (again,) = torch.autograd.grad(gradient.square().sum(), first)
    assert torch.isfinite(again).all()


class Squares(TorchDispatchMode):
    """Notes where tensors of at least `size` numbers lie."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.places = size, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.numel() >= self.size:
            self.places.add(found.untyped_storage().data_ptr())
        return found


def test_one_matrix_is_formed(generator: torch.Generator) -> None:
    outputs = torch.randn(2, 50, 3, generator=generator, requires_grad=True)
    with Squares(100 * 100) as squares:
        nt_xent(*outputs, 0.5).backward()
    assert len(squares.places) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_full(dtype: torch.dtype, generator: torch.Generator) -> None:
    first, second = torch.randn(2, 64, 16, generator=generator).to(dtype)
    expected = nt_xent(first.double(), second.double(), 0.01)
    found = nt_xent(first, second, 0.01)
    assert found.dtype == torch.float32
    assert relative_error(found.double(), expected) < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nt_xent(first.float(), second.float(), 0.01), found)
    own = first.requires_grad_()
    nt_xent(own, second, 0.5).backward()
    assert own.grad.dtype == dtype


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("first", "second", "tau", "error", "message"),
    [
        (torch.ones(1, 2), torch.ones(1, 2), 1.0, ValueError, r"must share a shape \(B ≥ 2, n_L ≥ 1\)"),
        (torch.ones(2), torch.ones(2), 1.0, ValueError, r"must share a shape .* got \(2,\) and \(2,\)"),
        (torch.ones(2, 2), torch.ones(2, 2).double(), 1.0, TypeError, "second must have the dtype of first"),
        (
            torch.ones(2, 2).half(),
            torch.ones(2, 2).bfloat16(),
            1.0,
            TypeError,
            "second must have the dtype of first, torch.float16, got torch.bfloat16",
        ),
        (torch.ones(2, 2), torch.ones(2, 2).half(), 1.0, TypeError, "second must be float32 or float64"),
        (
            torch.ones(2, 2).long(),
            torch.ones(2, 2).long(),
            1.0,
            TypeError,
            "first must be float32 or float64",
        ),
        (None, None, 1.0, TypeError, "first must be a torch tensor, got NoneType"),
        ([[1.0, 0.0]], [[1.0, 0.0]], 1.0, TypeError, "first must be a torch tensor, got list"),
        (torch.ones(2, 2), None, 1.0, TypeError, "second must be a torch tensor, got NoneType"),
        (
            torch.ones(2, 2),
            torch.ones(2, 2),
            0.0,
            ValueError,
            "temperature must be finite and greater",
        ),
        (torch.ones(2, 2), torch.ones(2, 2), None, TypeError, "temperature must be a real number, got None"),
    ],
)
def test_bad_batches(first, second, tau, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nt_xent(first, second, tau)
