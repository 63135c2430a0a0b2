from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.networks import vec
from ssl_theory.operators import WeightOperator, operator, spectra
from ssl_theory.operators.pairs import Part
from tests.cases import World, make_world
from tests.operators.test_modules import Book
from tests.operators.test_networks import LOSS, PARTS, TOL, dense


def operator_of(kind: str, world: World, part: Part) -> WeightOperator:
    if kind == "network":
        return operator(world.net, world.views, world.layer, part=part, loss=LOSS)
    layer = f"stack.{2 * (world.layer - 1)}"
    return operator(Book(world.net).eval(), world.views, layer, part=part, loss=LOSS)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("seed", range(4))
def test_leading_eigenvalues(monkeypatch: pytest.MonkeyPatch, part: Part, seed: int) -> None:
    world = make_world([4, 5, 2], 3, 2, seed)
    matrix = dense(world, part)
    expected = torch.linalg.eigvalsh(matrix).flip(0)
    op = operator_of("network", world, part)
    for small in (0, 64):  # by iteration, and from the matrix
        monkeypatch.setattr("ssl_theory.operators.interface._SMALL", small)
        values, vectors = op.top(3)
        assert relative_error(values, expected[:3]) < 1e-10
        assert vectors.shape == (3, 5, 4)
        flat = vec(vectors)
        assert relative_error(flat @ flat.mT, torch.eye(3, dtype=torch.float64)) < 1e-10
        assert relative_error(op @ flat.mT.contiguous(), flat.mT * values) < 1e-8
        assert relative_error(op.top(20).values, expected) < 1e-10


def test_an_operator_that_vanishes_has_eigenvalues_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_theory.operators.interface._SMALL", 0)
    op = WeightOperator(3, 4, torch.float64, torch.device("cpu"), torch.zeros_like)
    values, vectors = op.top(5)
    assert values.tolist() == [0.0] * 5
    flat = vec(vectors)
    assert torch.equal(flat @ flat.mT, torch.eye(5, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["network", "module"])
@pytest.mark.parametrize("part", PARTS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=6)
def test_the_spectrum_holds_all_that_is_not_zero(kind: str, part: Part, seed: int) -> None:
    for objects in (2, 5):  # the Gram matrix is the smaller one, and the larger one
        world = make_world([4, 5, 2], objects, 2, seed)
        expected = torch.linalg.eigvalsh(dense(world, part)).flip(0)
        op = operator_of(kind, world, part)
        assert op.gram is not None
        spectrum = op.spectrum()
        assert len(spectrum) == min(20, op.gram.size)
        padded = torch.cat([spectrum, torch.zeros(20 - len(spectrum), dtype=torch.float64)])
        assert relative_error(padded.sort(descending=True).values, expected) < 1e-10
        surplus = torch.cat([op.gram.eigenvalues(), torch.zeros(20, dtype=torch.float64)])
        largest = surplus[surplus.abs().argsort(descending=True)[:20]].sort(descending=True).values
        assert relative_error(largest, expected) < 1e-10


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    op = operator_of("network", make_world([4, 5, 2], 5, 1, 3), "exact")
    assert op.gram is not None
    whole = op.gram.matrix()
    monkeypatch.setattr(spectra, "_BLOCK", 2)
    assert relative_error(op.gram.matrix(), whole) < TOL


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_rank_between_objects(seed: int) -> None:
    world = make_world([6, 5, 2], 3, 2, seed)
    for part in ("between", "leading"):
        spectrum = operator_of("network", world, part).spectrum()
        assert spectrum.shape == (6,)
        assert spectrum[-2:].abs().max() < TOL


def test_a_network_of_one_weight() -> None:
    world = make_world([1, 1], 2, 1, 0)
    op = operator_of("network", world, "between")
    assert op.shape == (1, 1)
    assert relative_error(op.top(1).values, op.dense()[0]) < TOL
    assert relative_error(op.spectrum(), op.dense()[0]) < TOL


@pytest.mark.bad_input
def test_bad_input() -> None:
    world = make_world([4, 5, 2], 3, 2, seed=0)
    op = operator(world.net, world.views, 1)
    for k in (0, 21):
        with pytest.raises(ValueError, match=f"k must be from 1 to 20, got {k}"):
            op.top(k)
    wide = make_world([100, 100, 2], 1, 1, seed=0)
    many = torch.ones(5000, 1, 100, dtype=torch.float64)
    with pytest.raises(ValueError, match="the spectrum needs a matrix of 10000 rows, more than 8192"):
        operator(wide.net, many, 1, part="between").spectrum()


@pytest.mark.bad_input
def test_a_symmetric_solver_refuses_other_operators() -> None:
    skew = torch.randn(20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    op = WeightOperator(5, 4, torch.float64, torch.device("cpu"), lambda v: skew @ v)
    with pytest.raises(ValueError, match="operator must be symmetric, got uᵀAv"):
        op.top(2)
    broken = WeightOperator(5, 4, torch.float64, torch.device("cpu"), lambda v: v * float("nan"))
    with pytest.raises(ValueError, match="the operator's products must be finite"):
        broken.top(2)
