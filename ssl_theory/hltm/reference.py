"""Slow, obvious versions for latent trees and tree networks: dictionaries, loops, sums over everything.

They share no code with the fast ones and use plain Python numbers, so that nothing but the definitions is at
work. A law of node v is a function of the parent's state: laws[v][i][k] = P(z_v = k | z_parent = i); the
root's is laws[0][0]. Sizes must stay tiny. Tests and chapters compare the library with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product

__all__ = [
    "belief",
    "conditional_expectation",
    "configurations",
    "descends",
    "expectation",
    "leaves",
    "leaves_below",
    "pair_law",
    "probability",
    "symmetric_laws",
    "tree_network",
    "uniform_sum_tail",
]

Law = list[list[float]]
Configuration = tuple[int, ...]
Function = Callable[[Configuration], float]


def symmetric_laws(polarities: Sequence[float], root_polarity: float) -> list[Law]:
    """Return the laws of the symmetric binary tree: stay with probability (1 + ρ)/2, else change."""
    stay = [(1 + rho) / 2 for rho in polarities[1:]]
    root = [[(1 - root_polarity) / 2, (1 + root_polarity) / 2]]
    return [root, *([[p, 1 - p], [1 - p, p]] for p in stay)]


def probability(parents: Sequence[int], laws: Sequence[Law], states: Configuration) -> float:
    """Return the probability of one configuration, node by node."""
    result = laws[0][0][states[0]]
    for node in range(1, len(parents)):
        result *= laws[node][states[parents[node]]][states[node]]
    return result


def configurations(parents: Sequence[int], laws: Sequence[Law]) -> dict[Configuration, float]:
    """Return all configurations with their probabilities."""
    spaces = [range(len(law[0])) for law in laws]
    return {states: probability(parents, laws, states) for states in product(*spaces)}


def pair_law(
    parents: Sequence[int], laws: Sequence[Law], keep: Sequence[int]
) -> dict[tuple[Configuration, Configuration], float]:
    """Return the joint law of the leaves of two views that share the states of some nodes.

    Every configuration of the first view is paired with every one of the second that agrees with it there.
    """
    table = configurations(parents, laws)
    below = leaves(parents)
    kept: dict[Configuration, float] = {}
    for states, p in table.items():
        shared = tuple(states[v] for v in keep)
        kept[shared] = kept.get(shared, 0.0) + p
    pairs: dict[tuple[Configuration, Configuration], float] = {}
    for (first, p), (second, q) in product(table.items(), repeat=2):
        shared = tuple(first[v] for v in keep)
        if shared == tuple(second[v] for v in keep) and kept[shared] > 0.0:
            key = (tuple(first[v] for v in below), tuple(second[v] for v in below))
            pairs[key] = pairs.get(key, 0.0) + p * q / kept[shared]
    return pairs


def expectation(table: dict[Configuration, float], function: Function) -> float:
    """Return E[function(z)]."""
    return math.fsum(p * function(states) for states, p in table.items())


def conditional_expectation(
    table: dict[Configuration, float], function: Function, given: Callable[[Configuration], bool]
) -> float:
    """Return E[function(z) | given(z)]."""
    chosen = {states: p for states, p in table.items() if given(states)}
    return expectation(chosen, function) / math.fsum(chosen.values())


def leaves(parents: Sequence[int]) -> list[int]:
    """Return the nodes that are nobody's parent."""
    return [v for v in range(len(parents)) if v not in parents]


def descends(parents: Sequence[int], node: int, ancestor: int) -> bool:
    """Return whether `ancestor` lies on the way from `node` to the root, `node` itself included."""
    while node not in (ancestor, -1):
        node = parents[node]
    return node == ancestor


def leaves_below(parents: Sequence[int], node: int) -> list[int]:
    """Return the leaves of the subtree of `node`."""
    return [v for v in leaves(parents) if descends(parents, v, node)]


def belief(
    parents: Sequence[int], table: dict[Configuration, float], node: int, observed: dict[int, int], state: int
) -> float:
    """Return P(z_node = state | leaves below node), the leaves' states given by `observed`."""
    seen = {v: observed[v] for v in leaves_below(parents, node)}
    return conditional_expectation(
        table,
        lambda states: float(states[node] == state),
        lambda states: all(states[v] == k for v, k in seen.items()),
    )


def tree_network(
    parents: Sequence[int],
    weights: dict[int, list[list[float]]],
    biases: dict[int, list[float]],
    pixels: dict[int, float],
) -> dict[int, list[float]]:
    """Return the pre-activations f̃_μ of every inner node; a leaf is one neuron that holds its pixel.

    The neurons of node μ read the activations of its children, in ascending order of the children.
    """
    result: dict[int, list[float]] = {}
    for node in reversed(range(len(parents))):
        if node in pixels:
            continue
        inputs: list[float] = []
        for child in range(len(parents)):
            if parents[child] == node:
                inputs.extend([pixels[child]] if child in pixels else [max(0.0, v) for v in result[child]])
        result[node] = [
            sum(w * f for w, f in zip(row, inputs, strict=True)) + bias
            for row, bias in zip(weights[node], biases[node], strict=True)
        ]
    return result


def uniform_sum_tail(coefficients: Sequence[float], threshold: float) -> Fraction:
    """Return P(|Σ c_i U_i| ≥ x) for U_i uniform on [−1, 1], x ≥ 0, in rational arithmetic, without rounding.

    P(Σ c_i U_i ≥ x) = Σ_ε (Π ε_i) max(ε·c − x, 0)^n / (n! Π 2c_i) over all signs ε, for c_i > 0.
    """
    numbers = [Fraction(c) for c in coefficients]
    signed = {Fraction(0): 1}  # ε·c to the sum of Π ε_i over the signs that give it
    for c in numbers:
        wider: dict[Fraction, int] = {}
        for total, sign in signed.items():
            wider[total + c] = wider.get(total + c, 0) + sign
            wider[total - c] = wider.get(total - c, 0) - sign
        signed = wider
    n = len(numbers)
    x, zero = Fraction(threshold), Fraction(0)
    volume = sum((sign * max(total - x, zero) ** n for total, sign in signed.items()), start=zero)
    return 2 * volume / (math.factorial(n) * math.prod(2 * c for c in numbers))
