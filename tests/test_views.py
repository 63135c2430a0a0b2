from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.views import (
    as_views,
    between_trace,
    centred_shapes,
    cyclic_translations,
    gaussian_views,
    two_shapes,
    within_trace,
)
from tests.cases import seeds

TOL = 1e-12


def test_translations_of_a_ring() -> None:
    views = cyclic_translations(torch.tensor([[1.0, 2.0, 3.0]]))
    assert views.tolist() == [[[1, 2, 3], [3, 1, 2], [2, 3, 1]]]
    assert cyclic_translations(torch.tensor([[1.0, 2.0, 3.0]]), [0, -1]).tolist() == [[[1, 2, 3], [2, 3, 1]]]


def test_translations_of_a_torus() -> None:
    image = torch.arange(6.0).reshape(1, 2, 3)
    views = cyclic_translations(image, [(0, 0), (1, 0), (0, 1)])
    assert views.tolist() == [[[0, 1, 2, 3, 4, 5], [3, 4, 5, 0, 1, 2], [2, 0, 1, 5, 3, 4]]]
    assert cyclic_translations(image).shape == (1, 6, 6)


@given(st.integers(1, 4), st.integers(1, 5), seeds)
def test_all_translations_have_a_constant_mean(objects: int, n: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    patterns = torch.randn(objects, n, generator=g, dtype=torch.float64)
    mean = cyclic_translations(patterns).mean(1)
    assert relative_error(mean, patterns.mean(1, keepdim=True).expand(objects, n)) < TOL


@given(st.integers(1, 4), st.integers(1, 5), st.floats(0.0, 3.0), seeds)
def test_gaussian_views_are_centred_and_scale(objects: int, count: int, scale: float, seed: int) -> None:
    points = torch.randn(objects, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def views(size: float, *, centred: bool = True) -> torch.Tensor:
        return gaussian_views(
            points, count, size, generator=torch.Generator().manual_seed(seed), centred=centred
        )

    assert relative_error(views(scale).mean(1), points) < TOL
    for centred in (True, False):
        unit, scaled = (views(s, centred=centred) - points[:, None] for s in (1.0, scale))
        assert relative_error(scaled, scale * unit) < TOL


def test_gaussian_views_have_the_stated_standard_deviation(generator: torch.Generator) -> None:
    count = 40_000
    views = gaussian_views(
        torch.zeros(1, 2, dtype=torch.float64), count, 0.5, generator=generator, centred=False
    )
    z = (views.square().mean() - 0.25) / (0.25 * (2 / (2 * count)) ** 0.5)
    assert abs(z) < 6


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), seeds)
def test_total_variance(objects: int, count: int, n: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(objects, count, n, generator=g, dtype=torch.float64)
    flat = values.flatten(0, 1)
    total = (flat - flat.mean(0)).square().sum() / flat.shape[0]
    assert relative_error(between_trace(values) + within_trace(values), total) < TOL


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("views", "error", "message"),
    [
        (torch.ones(2, 3), ValueError, r"views must have 3 dimensions \(N objects, A augmentations, n_0\)"),
        (torch.ones(2, 0, 3), ValueError, "views must hold at least one object, view and input"),
        (torch.ones(2, 1, 3) / 0, ValueError, "views must be finite"),
        (torch.ones(2, 1, 3).long(), TypeError, "views must be float32 or float64, got torch.int64"),
        ([[[1.0]]], TypeError, "views must be a torch tensor, got list"),
    ],
)
def test_bad_views(views: torch.Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_views(views)


@pytest.mark.bad_input
def test_bad_augmentations(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"objects must have shape \(N, n\) or \(N, height, width\)"):
        cyclic_translations(torch.ones(3))
    with pytest.raises(ValueError, match="shifts must list at least one translation of 1 numbers"):
        cyclic_translations(torch.ones(1, 3), [])
    with pytest.raises(ValueError, match="shifts must list at least one translation of 2 numbers"):
        cyclic_translations(torch.ones(1, 3, 3), [1])
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        gaussian_views(torch.ones(1, 3), 0, 1.0, generator=generator)
    with pytest.raises(ValueError, match="scale must not be negative, got -1.0"):
        gaussian_views(torch.ones(1, 3), 2, -1.0, generator=generator)
    with pytest.raises(ValueError, match=r"objects must have 2 dimensions \(N, n_0\)"):
        gaussian_views(torch.ones(3), 2, 1.0, generator=generator)


@pytest.mark.bad_input
def test_bad_values() -> None:
    for function in (between_trace, within_trace):
        with pytest.raises(TypeError, match="values must be a torch tensor, got list"):
            function([[[1.0]]])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"values must have 3 dimensions \(N objects, A"):
            function(torch.ones(2, 3))
        with pytest.raises(
            ValueError, match=r"values must have no dimension of size 0, got shape \(0, 2, 3\)"
        ):
            function(torch.ones(0, 2, 3))
    with pytest.raises(TypeError, match="generator must be a torch.Generator, got NoneType"):
        gaussian_views(torch.ones(1, 3), 2, generator=None)  # type: ignore[arg-type]


def test_two_shapes_differ_by_the_augmentation_alone() -> None:
    shapes = centred_shapes()
    assert shapes.shape == (4, 25)
    assert shapes.sum(0).abs().max() < 1e-15
    kept = two_shapes()
    assert kept.shape == (16, 16, 50)
    left, right = kept[..., :25], kept[..., 25:]
    assert (left == left[:, :1]).all(), "the left half is what an object is"
    assert right.mean(1).abs().max() < 1e-15, "the right half dies in the mean"
    torch.testing.assert_close(left.flatten(0, 1).mT.cov(), right.flatten(0, 1).mT.cov())


@pytest.mark.parametrize("redraw_left", range(5))
def test_a_half_survives_the_mean_by_the_share_of_views_that_keep_it(redraw_left: int) -> None:
    left, right = two_shapes(redraw_left).mean(1).split(25, dim=-1)
    expected = centred_shapes()
    assert relative_error(left, (1 - redraw_left / 4) * expected.repeat_interleave(4, 0)) < TOL
    assert relative_error(right, redraw_left / 4 * expected.repeat(4, 1)) < TOL


def test_two_shapes_refuse_what_is_no_share() -> None:
    with pytest.raises(ValueError, match="redraw_left must be from 0 to 4, got 5"):
        two_shapes(5)
    with pytest.raises(TypeError, match="redraw_left must be an integer, got True"):
        two_shapes(True)
