"""What frozen features are worth: linear and k-NN accuracy, alignment, uniformity (T12).

Source of alignment and uniformity: Wang and Isola, arXiv:2005.10242.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_theory.images.augmentation import View
from ssl_theory.images.data import ImageSet
from ssl_theory.inspection.outputs import effective_rank
from ssl_theory.validation import (
    require_finite,
    require_float_tensor,
    require_integer,
    require_rank,
    require_real,
    require_same_kind,
)

__all__ = [
    "LinearProbe",
    "Probe",
    "alignment",
    "evaluate",
    "features",
    "knn_accuracy",
    "retrieval_accuracy",
    "uniformity",
]

Probe = Literal["auto", "scikit-learn", "torch"]

ITERATIONS = 300


def features(
    encoder: nn.Module,
    images: ImageSet,
    view: View,
    *,
    generator: torch.Generator | None = None,
    copies: int = 1,
    batch_size: int = 512,
) -> Float[Tensor, "copies N n"]:
    """Return the features of all images in evaluation mode, flattened, without gradients.

    Args:
        encoder: Maps views (B, C, h, w) to features (B, ...); its mode is restored.
        images: N images, on the encoder's device.
        view: How views are drawn.
        generator: Source of random views; None for the plain view of each image.
        copies: How many views of each image; 1 if they are plain.
        batch_size: Images that go through the encoder at a time.

    Returns:
        Shape (copies, N, n).

    Raises:
        TypeError: If a count is not an integer.
        ValueError: If a count is below 1, several plain views are asked for, or a feature is not finite.
    """
    copies = require_integer("copies", copies, 1)
    if generator is None and copies > 1:
        raise ValueError(f"copies must be 1 without a generator: plain views are all alike, got {copies}")
    chunks = torch.split(images.images, require_integer("batch_size", batch_size, 1))

    def one(chunk: Tensor) -> Tensor:
        shown = view.plain(chunk) if generator is None else view(chunk, generator=generator)
        found: Tensor = encoder(shown)
        return found.flatten(1)

    training = encoder.training
    encoder.eval()
    try:
        with torch.no_grad():
            stacked = torch.stack([torch.cat([one(chunk) for chunk in chunks]) for _ in range(copies)])
    finally:
        encoder.train(training)
    require_finite("features", stacked)
    return stacked


class LinearProbe:
    """Multinomial logistic regression on standardised features: cross-entropy and a squared penalty.

    Minimises strength·Σ cross-entropy + ½‖W‖², by scikit-learn on the CPU or by L-BFGS in torch on the
    features' device. Both find the one minimum of the same strictly convex function.

    Args:
        features: Of the training images, shape (N, n).
        labels: Their classes, shape (N,).
        strength: Weight of the data against the penalty, scikit-learn's C.
        probe: "scikit-learn", "torch", or "auto" for scikit-learn exactly if the features are on the CPU.

    Raises:
        TypeError: If the features are no float tensor.
        ValueError: If shapes do not fit, fewer than two classes occur, a feature is not finite, `strength`
            is not positive, or `probe` is unknown.
    """

    def __init__(
        self,
        features: Float[Tensor, "N n"],
        labels: Int[Tensor, " N"],
        *,
        strength: float = 1.0,
        probe: Probe = "auto",
    ) -> None:
        _check(features, labels)
        strength = require_real("strength", strength, above=0.0)
        if probe not in ("auto", "scikit-learn", "torch"):
            raise ValueError(f"probe must be auto, scikit-learn or torch, got {probe!r}")
        self.classes, targets = torch.unique(labels, return_inverse=True)
        if len(self.classes) < 2:
            raise ValueError(f"labels must hold at least two classes, got {self.classes.tolist()}")
        self.mean, spread = features.mean(0), features.std(0)
        self.scale = torch.where(spread > 0, spread, torch.ones_like(spread))
        points = self._standard(features)
        on_cpu = features.device.type == "cpu"
        by_torch = probe == "torch" or (probe == "auto" and not on_cpu)
        fit = _fit_by_torch if by_torch else _fit_by_scikit_learn
        self.weight, self.bias = fit(points, targets, len(self.classes), strength)

    def predict(self, features: Float[Tensor, "M n"]) -> Int[Tensor, " M"]:
        """Return the most likely class of each row, (M, n) -> (M,)."""
        scores: Tensor = self._standard(features) @ self.weight.mT + self.bias
        found: Tensor = self.classes[scores.argmax(1)]
        return found

    def score(self, features: Float[Tensor, "M n"], labels: Int[Tensor, " M"]) -> float:
        """Return the share of rows whose class is found."""
        return float((self.predict(features) == labels).double().mean())

    def _standard(self, features: Tensor) -> Tensor:
        return ((features - self.mean) / self.scale).double()


def _fit_by_scikit_learn(
    points: Tensor, targets: Tensor, classes: int, strength: float
) -> tuple[Tensor, Tensor]:
    model = LogisticRegression(C=strength, max_iter=ITERATIONS, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of the loss move no prediction
        model.fit(points.cpu().numpy(), targets.cpu().numpy())
    weight, bias = (torch.as_tensor(a).to(points) for a in (model.coef_, model.intercept_))
    if classes == 2:  # scikit-learn keeps the difference of the two scores alone
        weight, bias = torch.cat([-weight / 2, weight / 2]), torch.cat([-bias / 2, bias / 2])
    return weight, bias


def _fit_by_torch(points: Tensor, targets: Tensor, classes: int, strength: float) -> tuple[Tensor, Tensor]:
    weight = points.new_zeros(classes, points.shape[1]).requires_grad_()
    bias = points.new_zeros(classes).requires_grad_()
    solver = torch.optim.LBFGS(
        [weight, bias],
        max_iter=ITERATIONS,
        tolerance_grad=1e-4 / len(points),
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    # scikit-learn's two-class model penalises the difference of the weight vectors, which is twice as large.
    penalty = 1.0 if classes > 2 else 2.0

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(points @ weight.mT + bias, targets)
        loss = loss + 0.5 * penalty * weight.square().sum() / (strength * len(points))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def knn_accuracy(
    features: Float[Tensor, "N n"],
    labels: Int[Tensor, " N"],
    test_features: Float[Tensor, "M n"],
    test_labels: Int[Tensor, " M"],
    neighbours: int = 20,
) -> float:
    """Return the accuracy of a vote among the nearest training images by cosine similarity.

    Args:
        features: Of the training images, shape (N, n).
        labels: Their classes, shape (N,).
        test_features: Of the test images, shape (M, n).
        test_labels: Their classes, shape (M,).
        neighbours: k, at most N.

    Returns:
        The share of test images whose class wins the vote.

    Raises:
        TypeError: If the features are no float tensors.
        ValueError: If shapes do not fit, k is out of range, or a feature is not finite.
    """
    _check(features, labels)
    _check(test_features, test_labels)
    require_integer("neighbours", neighbours, 1, len(features))
    model = KNeighborsClassifier(neighbours, algorithm="brute")  # on the sphere, as ‖u − v‖² = 2 − 2 cos
    model.fit(F.normalize(features).cpu().numpy(), labels.cpu().numpy())
    return float(model.score(F.normalize(test_features).cpu().numpy(), test_labels.cpu().numpy()))


def retrieval_accuracy(first: Float[Tensor, "N n"], second: Float[Tensor, "N n"]) -> float:
    """Return how often, of all second views, the one most similar to a first view is of the same object.

    It asks for the object itself, of photographs the place, where labels ask for its class; by chance 1/N.

    Args:
        first: Features of one view of N ≥ 2 objects, shape (N, n).
        second: Features of another view of the same objects.

    Returns:
        The share of first views whose nearest second view by cosine similarity is their own; a tie counts for
        the earlier object.

    Raises:
        TypeError: If the features are no float tensors.
        ValueError: If shapes differ, there are fewer than two objects, or a feature is not finite.
    """
    _check_views(first, second)
    nearest = (F.normalize(first) @ F.normalize(second).mT).argmax(1)
    return float((nearest == torch.arange(len(first), device=first.device)).double().mean())


def alignment(first: Float[Tensor, "N n"], second: Float[Tensor, "N n"]) -> float:
    """Return E‖f̂(x1) − f̂(x+)‖² on normalised features of two views: 0 if views of an object agree.

    Args:
        first: Features of one view of N ≥ 2 objects, shape (N, n).
        second: Features of another view of the same objects.

    Returns:
        The mean over objects.

    Raises:
        TypeError: If the features are no float tensors.
        ValueError: If shapes differ, there are fewer than two objects, or a feature is not finite.
    """
    _check_views(first, second)
    return float((F.normalize(first) - F.normalize(second)).square().sum(1).mean())


def uniformity(features: Float[Tensor, "N n"], t: float = 2.0) -> float:
    """Return log E e^{−t‖f̂ − f̂'‖²} over pairs of different images: 0 if all agree, lower if they spread.

    Args:
        features: Shape (N ≥ 2, n).
        t: How fast the potential falls, positive.

    Returns:
        The logarithm of the mean potential.

    Raises:
        TypeError: If the features are no float tensor, or t is no number.
        ValueError: If they have not two dimensions, there are fewer than two images, a feature is not finite,
            or t is not positive.
    """
    t = require_real("t", t, above=0.0)
    _check_features("features", features)
    distances = torch.pdist(F.normalize(features)).square()
    return float(torch.logsumexp(-t * distances, 0) - torch.log(torch.tensor(len(distances))))


def evaluate(
    encoder: nn.Module,
    train: ImageSet,
    test: ImageSet,
    view: View,
    *,
    generator: torch.Generator | None = None,
    copies: int = 4,
    strength: float = 1.0,
    neighbours: int = 20,
    probe: Probe = "auto",
    batch_size: int = 512,
) -> dict[str, float]:
    """Return what the frozen features of an encoder are worth.

    With a generator all images are seen in random views, as objects that nobody has centred: the probes
    learn from `copies` views of each training image. "linear" and "knn" classify each of `copies` views of
    a test image by itself; "linear_mean" and "knn_mean" classify the mean of their features, an estimate of
    the augmentation mean f̄(x). Without a generator there is one plain view and the two coincide.

    Args:
        encoder: Maps views to features.
        train: Labelled images for the probes.
        test: Labelled images to be classified.
        view: How views are drawn.
        generator: Source of random views; None for plain ones.
        copies: Views of each image, at least 2 with a generator.
        strength: As for `LinearProbe`.
        neighbours: As for `knn_accuracy`.
        probe: As for `LinearProbe`.
        batch_size: Images that go through the encoder at a time.

    Returns:
        "linear", "linear_mean", "knn", "knn_mean": accuracies on the test images. Of the test features:
        "rank", the effective rank of mean features; "uniformity"; and with a generator "alignment", else NaN.

    Raises:
        TypeError: If a count is not an integer.
        ValueError: If a number is out of range or a feature is not finite.
    """
    if generator is not None:
        require_integer("copies", copies, 2)
    copies = copies if generator is not None else 1
    known, seen = (
        features(encoder, images, view, generator=generator, copies=copies, batch_size=batch_size)
        for images in (train, test)
    )
    labels, means = train.labels.repeat(copies), seen.mean(0)
    model = LinearProbe(known.flatten(0, 1), labels, strength=strength, probe=probe)
    single = (seen.flatten(0, 1), test.labels.repeat(copies))
    base, base_labels = known.mean(0), train.labels
    return {
        "linear": model.score(*single),
        "linear_mean": model.score(means, test.labels),
        "knn": knn_accuracy(known[0], base_labels, seen[0], test.labels, neighbours),
        "knn_mean": knn_accuracy(base, base_labels, means, test.labels, neighbours),
        "alignment": alignment(seen[0], seen[1]) if copies > 1 else float("nan"),
        "uniformity": uniformity(seen[0]),
        "rank": effective_rank(means),
    }


def _check_features(name: str, features: Tensor) -> None:
    require_float_tensor(name, features)
    require_rank(name, features, 2, "(N, n)")
    if len(features) < 2:
        raise ValueError(f"{name} must hold at least two images, got {len(features)}")
    require_finite(name, features)


def _check_views(first: Tensor, second: Tensor) -> None:
    _check_features("first", first)
    _check_features("second", second)
    require_same_kind("second", second, "first", first)
    if first.shape != second.shape:
        raise ValueError(
            f"first and second must share a shape (N, n), got {tuple(first.shape)} and {tuple(second.shape)}"
        )


def _check(features: Tensor, labels: Tensor) -> None:
    require_float_tensor("features", features)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features and labels must have shapes (N, n) and (N,), got {tuple(features.shape)} and "
            f"{tuple(labels.shape)}"
        )
    require_finite("features", features)
