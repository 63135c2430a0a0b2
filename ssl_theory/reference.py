"""Slow, obvious versions of the core: loops over pairs, entries and layers, sharing no code with it.

They use plain Python numbers and lists of float64 values, so that nothing but the definitions is at work.
Sizes must stay tiny. Tests and chapters compare the library with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

__all__ = [
    "between_variance",
    "connection",
    "covariance_operator",
    "distance",
    "forward",
    "infonce_weights",
    "jacobian",
    "leading_operator",
    "output",
    "simple_weights",
    "triplet_weights",
    "within_variance",
]

Vector = list[float]
Matrix = list[list[float]]
PairWeights = Callable[[float, Vector], Vector]


def forward(weights: list[Matrix], x: Vector) -> list[Vector]:
    """Return [f̃_1, …, f̃_L] of the bias-free network, one sum at a time."""
    stack: list[Vector] = []
    below = x
    for matrix in weights:
        pre = [sum(w * f for w, f in zip(row, below, strict=True)) for row in matrix]
        stack.append(pre)
        below = [max(0.0, value) for value in pre]
    return stack


def output(weights: list[Matrix], x: Vector) -> Vector:
    """Return f_L(x)."""
    return forward(weights, x)[-1]


def jacobian(weights: list[Matrix], x: Vector, layer: int) -> Matrix:
    """Return J_l by summing over all paths from the neurons of layer l to the outputs."""
    stack = forward(weights, x)
    depth = len(weights)

    def path_sum(m: int, neuron: int, target: int) -> float:
        """Return ∂f_target/∂f̃_{m, neuron}."""
        if m == depth:
            return 1.0 if neuron == target else 0.0
        if stack[m - 1][neuron] <= 0.0:
            return 0.0
        above = range(len(weights[m]))
        return sum(weights[m][k][neuron] * path_sum(m + 1, k, target) for k in above)

    outputs, neurons = range(len(weights[-1])), range(len(weights[layer - 1]))
    return [[path_sum(layer, i, o) for i in neurons] for o in outputs]


def connection(weights: list[Matrix], x: Vector, layer: int) -> Matrix:
    """Return K_l entry by entry: the row of (i, j), at i + n_l·j, holds f_{l-1, j} ∂f_L/∂f̃_{l, i}."""
    below = x if layer == 1 else [max(0.0, value) for value in forward(weights, x)[layer - 2]]
    top_down = jacobian(weights, x, layer)
    rows: Matrix = []
    for f in below:
        rows.extend([f * row[i] for row in top_down] for i in range(len(weights[layer - 1])))
    return rows


def distance(left: Vector, right: Vector) -> float:
    """Return r = ½‖left − right‖².

    Example:
        >>> distance([0.0, 0.0], [3.0, 4.0])
        12.5
    """
    return 0.5 * sum((a - b) ** 2 for a, b in zip(left, right, strict=True))


def simple_weights(r_pos: float, r_neg: Vector) -> Vector:
    """Return ξ_k = 1/H of the simple loss."""
    return [1.0 / len(r_neg) for _ in r_neg]


def triplet_weights(temperature: float, margin: float = 0.0) -> PairWeights:
    """Return the function ξ of the soft triplet loss."""

    def weights(r_pos: float, r_neg: Vector) -> Vector:
        return [1.0 / (1.0 + math.exp(-(r_pos - r + margin) / temperature)) / len(r_neg) for r in r_neg]

    return weights


def infonce_weights(temperature: float) -> PairWeights:
    """Return the function ξ of InfoNCE."""

    def weights(r_pos: float, r_neg: Vector) -> Vector:
        terms = [math.exp(-r / temperature) for r in r_neg]
        total = math.exp(-r_pos / temperature) + sum(terms)
        return [term / total / temperature for term in terms]

    return weights


def _add_outer(total: Matrix, left: Matrix, right: Matrix, weight: float) -> None:
    """Add weight·(left − right)(left − right)ᵀ to `total`, in place."""
    difference = [[a - b for a, b in zip(p, q, strict=True)] for p, q in zip(left, right, strict=True)]
    for i, row in enumerate(difference):
        for j, other in enumerate(difference):
            total[i][j] += weight * sum(a * b for a, b in zip(row, other, strict=True))


def _mean_matrix(matrices: list[Matrix]) -> Matrix:
    """Return the entrywise mean."""
    count, rows, columns = len(matrices), len(matrices[0]), len(matrices[0][0])
    return [[sum(m[i][j] for m in matrices) / count for j in range(columns)] for i in range(rows)]


def covariance_operator(
    weights: list[Matrix], views: list[list[Vector]], layer: int, xi: PairWeights, negatives: int = 1
) -> Matrix:
    """Return the exact operator as its definition reads, one draw of (x1, x+, x-_1 … x-_H) at a time."""
    connections = [[connection(weights, x, layer) for x in views_of_x] for views_of_x in views]
    outputs = [[output(weights, x) for x in views_of_x] for views_of_x in views]
    everything = [(i, a) for i, views_of_x in enumerate(views) for a in range(len(views_of_x))]
    size = len(connections[0][0])
    total = [[0.0] * size for _ in range(size)]
    draws = len(everything) * len(views[0]) * len(everything) ** negatives
    for i, a in everything:
        for b in range(len(views[i])):
            for others in product(everything, repeat=negatives):
                r_pos = distance(outputs[i][a], outputs[i][b])
                r_neg = [distance(outputs[i][a], outputs[j][c]) for j, c in others]
                for value, (j, c) in zip(xi(r_pos, r_neg), others, strict=True):
                    _add_outer(total, connections[i][a], connections[j][c], 0.5 * value / draws)
                    _add_outer(total, connections[i][a], connections[i][b], -0.5 * value / draws)
    return total


def leading_operator(
    weights: list[Matrix], views: list[list[Vector]], layer: int, xi: PairWeights, negatives: int = 1
) -> Matrix:
    """Return the leading part as its definition reads, one tuple of objects at a time."""
    objects = range(len(views))
    means = [_mean_matrix([connection(weights, x, layer) for x in views[i]]) for i in objects]
    outputs = [_mean_matrix([[output(weights, x)] for x in views[i]])[0] for i in objects]
    total = [[0.0] * len(means[0]) for _ in means[0]]
    draws = len(views) ** (negatives + 1)
    for i in objects:
        for others in product(objects, repeat=negatives):
            r_neg = [distance(outputs[i], outputs[j]) for j in others]
            for value, j in zip(xi(0.0, r_neg), others, strict=True):
                _add_outer(total, means[i], means[j], 0.5 * value / draws)
    return total


def between_variance(weights: list[Matrix], views: list[list[Vector]], layer: int) -> Matrix:
    """Return V_x[K̄_l] = E (K̄ − EK̄)(K̄ − EK̄)ᵀ."""
    means = [_mean_matrix([connection(weights, x, layer) for x in views_of_x]) for views_of_x in views]
    centre = _mean_matrix(means)
    total = [[0.0] * len(centre) for _ in centre]
    for mean in means:
        _add_outer(total, mean, centre, 1.0 / len(means))
    return total


def within_variance(weights: list[Matrix], views: list[list[Vector]], layer: int) -> Matrix:
    """Return E_x V_aug[K_l | x]."""
    total: Matrix = []
    for views_of_x in views:
        connections = [connection(weights, x, layer) for x in views_of_x]
        centre = _mean_matrix(connections)
        total = total or [[0.0] * len(centre) for _ in centre]
        for k in connections:
            _add_outer(total, k, centre, 1.0 / (len(views) * len(views_of_x)))
    return total
