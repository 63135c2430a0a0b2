"""Evaluation of frozen features."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ssl_theory.images import DigitViews, load_images
from ssl_theory.images.evaluation import (
    LinearProbe,
    alignment,
    evaluate,
    features,
    knn_accuracy,
    retrieval_accuracy,
    uniformity,
)


def clusters(classes: int, seed: int, spread: float = 1.0, count: int = 60) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(count)
    points = torch.randn(classes, 5, generator=g)[labels] * 2
    return points + spread * torch.randn(len(labels), 5, generator=g), 3 * labels + 1


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_both_probes_find_the_same_minimum(classes: int, strength: float) -> None:
    points, labels = clusters(classes, 1)
    one, two = (LinearProbe(points, labels, strength=strength, probe=p) for p in ("scikit-learn", "torch"))
    assert one.weight.sub(two.weight).abs().max() < 0.02 * one.weight.abs().max()
    assert abs(one.score(points, labels) - two.score(points, labels)) <= 0.005


def test_both_probes_agree_on_digits() -> None:
    train, test = (load_images("digits", split) for split in ("train", "test"))
    seen, unseen = (s.images.flatten(1) for s in (train, test))
    scores = [
        LinearProbe(seen, train.labels, probe=p).score(unseen, test.labels) for p in ("scikit-learn", "torch")
    ]
    assert abs(scores[0] - scores[1]) <= 0.005
    assert scores[0] > 0.93


def test_a_probe_without_data_weight_predicts_the_most_frequent_class() -> None:
    points, labels = clusters(3, 2)
    labels[: len(labels) // 2] = 4
    found = LinearProbe(points, labels, strength=1e-9).predict(points)
    assert set(found.tolist()) == {4}


def test_constant_features_do_no_harm() -> None:
    points, labels = clusters(2, 3, 0.1)
    assert LinearProbe(torch.cat([points, torch.ones(len(points), 1)], 1), labels).score(
        torch.cat([points, torch.ones(len(points), 1)], 1), labels
    ) == pytest.approx(1.0)


def test_neighbours_vote_by_cosine() -> None:
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 50.0]])
    labels = torch.tensor([0, 1, 1])
    assert (
        knn_accuracy(known, labels, torch.tensor([[40.0, 1.0], [0.1, 0.2]]), torch.tensor([0, 1]), 1) == 1.0
    )
    assert knn_accuracy(known, labels, torch.tensor([[40.0, 1.0]]), torch.tensor([1]), 3) == 1.0


@given(st.integers(0, 2**31))
def test_alignment_and_uniformity_by_their_definitions(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, 6, 3, generator=g, dtype=torch.float64)
    unit = [[row / row.norm() for row in rows] for rows in (first, second)]
    slow = sum(float((u - v).norm() ** 2) for u, v in zip(*unit, strict=True)) / 6
    assert alignment(first, second) == pytest.approx(slow)
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    potential = sum(math.exp(-2 * float((unit[0][i] - unit[0][j]).norm() ** 2)) for i, j in pairs) / len(
        pairs
    )
    assert uniformity(first) == pytest.approx(math.log(potential))
    assert alignment(first, 3 * first) == pytest.approx(0.0)
    assert uniformity(torch.ones(4, 3)) == pytest.approx(0.0)


def test_retrieval_finds_the_object_not_its_class() -> None:
    g = torch.Generator().manual_seed(0)
    first = torch.randn(50, 8, generator=g)
    second = 3 * first + 0.1 * torch.randn(50, 8, generator=g)
    assert retrieval_accuracy(first, second) == 1.0
    assert retrieval_accuracy(first, second.roll(1, 0)) == 0.0
    crossed = second.clone()
    crossed[:10] = second[:10].flip(0)
    assert retrieval_accuracy(first, crossed) == pytest.approx(0.8)
    alike = torch.ones(50, 8)
    assert retrieval_accuracy(alike, alike) == pytest.approx(1 / 50)  # collapse


class Mean(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        return images.flatten(1)


def test_features_are_made_in_evaluation_mode_and_batches_do_not_matter() -> None:
    images = load_images("digits", "test")
    view, model = DigitViews(images.mean, images.std), Mean()
    whole = features(model, images, view, copies=1)
    assert model.training
    assert whole.shape == (1, 360, 256)
    torch.testing.assert_close(features(model, images, view, batch_size=7), whole)
    one, two = features(model, images, view, generator=torch.Generator().manual_seed(0), copies=2)
    assert not torch.equal(one, two)


def test_evaluation_of_pixels() -> None:
    train, test = (load_images("digits", split) for split in ("train", "test"))
    view = DigitViews(train.mean, train.std)
    g = torch.Generator().manual_seed(0)
    random = evaluate(nn.Flatten(), train, test, view, generator=g, copies=2)
    assert random["linear"] < random["knn"] < 0.6  # a digit may be anywhere
    assert 0.5 < random["alignment"] < 2.0
    plain = evaluate(nn.Flatten(), train, test, view)
    assert plain["linear"] == plain["linear_mean"] > 0.9
    assert plain["knn"] == plain["knn_mean"] > 0.9
    assert math.isnan(plain["alignment"])


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: LinearProbe(x, y[:2]), ValueError, r"features and labels must have shapes \(N, n\)"),
        (lambda x, y: LinearProbe(x, y * 0), ValueError, r"at least two classes, got \[0\]"),
        (lambda x, y: LinearProbe(x, y, strength=0.0), ValueError, "strength must be finite and greater"),
        (lambda x, y: LinearProbe(x, y, probe="svm"), ValueError, "probe must be auto, scikit-learn"),
        (lambda x, y: LinearProbe(x / 0, y), ValueError, "features must be finite"),
        (lambda x, y: LinearProbe(x.long(), y), TypeError, "features must be float32 or float64"),
        (lambda x, y: knn_accuracy(x, y, x, y, 99), ValueError, "neighbours must be from 1 to 4, got 99"),
        (lambda x, y: uniformity(x, 0.0), ValueError, "t must be finite and greater than 0"),
        (lambda x, y: uniformity(x[:1]), ValueError, "features must hold at least two images, got 1"),
        (lambda x, y: uniformity(None), TypeError, "features must be a torch tensor, got NoneType"),
        (lambda x, y: uniformity(x[0]), ValueError, r"features must have 2 dimensions \(N, n\)"),
        (lambda x, y: uniformity(x * math.nan), ValueError, "features must be finite"),
        (lambda x, y: alignment(x, x[:3]), ValueError, r"first and second must share a shape \(N, n\)"),
        (lambda x, y: alignment(x.numpy(), x), TypeError, "first must be a torch tensor, got ndarray"),
        (lambda x, y: alignment(x, x.double()), TypeError, "second must have the dtype of first"),
        (lambda x, y: alignment(x[:0], x[:0]), ValueError, "first must hold at least two images, got 0"),
        (lambda x, y: retrieval_accuracy(x, x * math.nan), ValueError, "second must be finite"),
    ],
)  # fmt: skip
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(torch.rand(4, 2), torch.tensor([0, 0, 1, 1]))


@pytest.mark.bad_input
def test_plain_views_are_all_alike() -> None:
    images = load_images("digits", "test")
    view = DigitViews(images.mean, images.std)
    with pytest.raises(ValueError, match="copies must be 1 without a generator: plain views are all alike"):
        features(nn.Flatten(), images, view, copies=2)
    with pytest.raises(ValueError, match="copies must be at least 2, got 1"):
        evaluate(nn.Flatten(), images, images, view, generator=torch.Generator(), copies=1)
