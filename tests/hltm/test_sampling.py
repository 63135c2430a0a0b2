"""Drawn configurations against exact laws: within six standard errors, seeded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.hltm import CategoricalTree, LatentModel, LatentTree, TreeEnsemble
from ssl_theory.hltm.sampling import WORD, draw_flips, flip_thresholds, inner_bounds, random_words
from tests.hltm.cases import categorical_trees, latent_trees, seeds

DRAWS = 20_000
any_tree = st.one_of(latent_trees(5), categorical_trees(4))


def deviation(states: Tensor, tree: LatentModel, probabilities: Tensor) -> float:
    """Return the largest deviation of the configurations' frequencies, in standard errors."""
    code = torch.zeros(states.shape[:-1], dtype=torch.int64)
    for node, count in enumerate(tree.state_counts):
        code = code * count + states[..., node]
    frequencies = torch.bincount(code, minlength=len(probabilities)).double() / len(states)
    assert not frequencies[probabilities == 0.0].any()
    error = (probabilities * (1.0 - probabilities) / len(states)).sqrt().clamp_min(1.0 / len(states))
    return float(((frequencies - probabilities).abs() / error).max())


@given(any_tree, seeds)
def test_frequencies_of_all_configurations(tree: CategoricalTree, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    _, probabilities = tree.enumerate()
    assert deviation(tree.sample(DRAWS, generator=g), tree, probabilities) < 6.0


@given(any_tree, seeds)
def test_frequencies_below_a_given_root(tree: CategoricalTree, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    states, probabilities = tree.enumerate()
    root = seed % tree.state_counts[0]
    if tree.root_law[root] == 0.0:
        return
    conditional = probabilities * (states[:, 0] == root) / tree.root_law[root]
    assert deviation(tree.sample(DRAWS, generator=g, root=root), tree, conditional) < 6.0
    roots = torch.full((DRAWS,), root)
    assert deviation(tree.sample(DRAWS, generator=g, root=roots), tree, conditional) < 6.0


def pair_law(tree: LatentModel) -> Tensor:
    """Return the joint law of two views of one object, configuration against configuration."""
    states, probabilities = tree.enumerate()
    total = torch.zeros(len(states), len(states), dtype=torch.float64)
    for root in range(tree.state_counts[0]):
        if tree.root_law[root] > 0.0:
            below = probabilities * (states[:, 0] == root)
            total += torch.outer(below, below) / tree.root_law[root]
    return total.flatten()


def code(states: Tensor) -> Tensor:
    return (states * 2 ** torch.arange(states.shape[-1]).flip(0)).sum(-1)


def test_views_share_the_root_and_nothing_else(generator: torch.Generator) -> None:
    tree = LatentTree([-1, 0, 0], [1.0, 0.6, -0.8], root_polarity=0.3)
    one, two = tree.views(DRAWS, generator=generator)
    assert torch.equal(one[:, 0], two[:, 0])
    law = pair_law(tree)
    frequencies = torch.bincount(code(one) * 8 + code(two), minlength=64) / DRAWS
    assert float(((frequencies - law).abs() / (law / DRAWS).sqrt().clamp_min(1e-9)).max()) < 6.0


def test_triples(generator: torch.Generator) -> None:
    tree = LatentTree([-1, 0, 0], [1.0, 0.6, -0.8], root_polarity=0.3)
    triples = tree.triples(DRAWS, generator=generator)
    assert torch.equal(triples.anchor[:, 0], triples.positive[:, 0])
    _, single = tree.enumerate()
    positive, negative = pair_law(tree), torch.outer(single, single).flatten()
    for other, law in [(triples.positive, positive), (triples.negative, negative)]:
        frequencies = torch.bincount(code(triples.anchor) * 8 + code(other), minlength=64) / DRAWS
        assert float(((frequencies - law).abs() / (law / DRAWS).sqrt().clamp_min(1e-9)).max()) < 6.0


def test_every_negative_has_a_root_of_its_own(generator: torch.Generator) -> None:
    tree = LatentTree([-1, 0, 0], [1.0, 0.6, -0.8], root_polarity=0.3)
    one, many = (tree.triples(DRAWS, negatives=k, generator=generator) for k in (1, 3))
    assert one.states.shape == (3 * DRAWS, 3)
    assert many.negative.shape == (3 * DRAWS, 3)
    assert torch.equal(many.anchor[:, 0], many.positive[:, 0])
    _, single = tree.enumerate()
    law = torch.outer(single, single).flatten()
    first, second, third = many.negative.split(DRAWS)
    for left, right in ((many.anchor, first), (many.positive, third), (first, second), (second, third)):
        frequencies = torch.bincount(code(left) * 8 + code(right), minlength=64) / DRAWS
        assert float(((frequencies - law).abs() / (law / DRAWS).sqrt().clamp_min(1e-9)).max()) < 6.0


def test_an_ensemble_samples_every_tree_by_its_own_law(generator: torch.Generator) -> None:
    ensemble = TreeEnsemble.regular(3, 2, polarity=(0.0, 1.0), root_polarity=0.2, generator=generator)
    _, probabilities = ensemble.enumerate()
    states = ensemble.sample(DRAWS, generator=generator)
    assert states.shape == (3, DRAWS, 7)
    for s in range(3):
        assert deviation(states[s], ensemble, probabilities[s]) < 6.0
    correlation = torch.corrcoef(states[:, :, 0].double())
    assert float((correlation - torch.eye(3)).abs().max()) < 6.0 / DRAWS**0.5
    laws = TreeEnsemble([CategoricalTree.regular(1, states=3, generator=generator) for _ in range(2)])
    states, (_, probabilities) = laws.sample(DRAWS, generator=generator), laws.enumerate()
    assert max(deviation(states[s], laws, probabilities[s]) for s in range(2)) < 6.0


@given(st.floats(0.0, 0.5))
def test_thresholds_round_to_the_exact_probability_on_average(p: float) -> None:
    dither = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    thresholds = flip_thresholds(torch.full_like(dither, p), dither)
    probabilities = (thresholds.double() + WORD // 2) / WORD  # the share of all words below
    assert abs(float(probabilities.mean()) - p) < 1.0 / WORD / 64
    assert float((probabilities - p).abs().max()) <= 1.0 / WORD
    for exact in (0.0, 0.25, 0.5):
        exactly = flip_thresholds(torch.full_like(dither, exact), dither)
        assert bool((exactly.double() + WORD // 2 == exact * WORD).all())


def test_words_fill_their_range_evenly(generator: torch.Generator) -> None:
    words = random_words((3, DRAWS + 1), generator)  # no multiple of the four that are drawn together
    assert words.shape == (3, DRAWS + 1)
    counts = torch.bincount((words.flatten().long() + WORD // 2) // (WORD // 16), minlength=16).double()
    expected = words.numel() / 16
    assert float(((counts - expected) / expected**0.5).abs().max()) < 6.0


def test_a_small_probability_is_not_rounded_away(generator: torch.Generator) -> None:
    p, edges, draws = 2.0**-19, 1024, 4096  # an eighth of the smallest step of a word
    polarities = torch.full((edges,), 1.0 - 2.0 * p, dtype=torch.float64)
    flips = sum(int(draw_flips(polarities, draws, generator).sum()) for _ in range(20))
    expected = p * edges * draws * 20
    assert abs(flips - expected) < 6.0 * expected**0.5


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_polarity_one_copies_or_inverts_every_time(sign: float, generator: torch.Generator) -> None:
    tree = LatentTree([-1, 0, 1], [1.0, sign, sign], root_polarity=-1.0)
    states = tree.sample(100_000, generator=generator)
    assert not states[:, 0].any()
    assert bool((states[:, 1] == (sign < 0)).all())
    assert not states[:, 2].any()


def test_polarity_zero_forgets_the_parent(generator: torch.Generator) -> None:
    tree = LatentTree([-1, 0], [1.0, 0.0])
    states = 2.0 * tree.sample(DRAWS, generator=generator).double() - 1.0
    assert abs(float((states[:, 0] * states[:, 1]).mean())) < 6.0 / DRAWS**0.5


def test_a_state_of_probability_zero_is_never_drawn(generator: torch.Generator) -> None:
    law = [0.1] * 10 + [0.0]  # the running sum of ten tenths falls short of 1
    tree = CategoricalTree([-1, 0], [None, [law] * 11], law)
    assert float(inner_bounds(tree.root_law)[9]) > 1.0
    assert int(tree.sample(100_000, generator=generator).max()) == 9


@given(latent_trees(), seeds)
def test_same_generator_same_states(tree: LatentTree, seed: int) -> None:
    one, two = (tree.sample(5, generator=torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(one, two)


@given(any_tree, st.sampled_from([torch.int64, torch.int8, torch.float32, torch.bool]))
def test_no_draws_shapes_and_dtypes(tree: CategoricalTree, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    for n in (0, 1, 3):
        states = tree.sample(n, generator=g, dtype=dtype)
        assert states.shape == (n, tree.nodes)
        assert states.dtype == dtype
        assert tree.views(n, generator=g, count=3).shape == (3, n, tree.nodes)
        triples = tree.triples(n, generator=g)
        assert triples.anchor.shape == triples.positive.shape == triples.negative.shape == (n, tree.nodes)
    assert tree.sample(3, generator=g).mT.is_contiguous()


@pytest.mark.bad_input
def test_bad_draws(generator: torch.Generator) -> None:
    tree = LatentTree([-1, 0], [1.0, 0.5])
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        tree.sample(-1, generator=generator)
    with pytest.raises(TypeError, match=r"n must be an integer, got 1\.5"):
        tree.triples(1.5, generator=generator)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negatives must be at least 1, got 0"):
        tree.triples(1, negatives=0, generator=generator)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        tree.views(2, generator=generator, count=0)
    with pytest.raises(ValueError, match="root must be from 0 to 1, got 2"):
        tree.sample(2, generator=generator, root=2)
    with pytest.raises(ValueError, match="root must be from 0 to 1, got 3"):
        tree.sample(2, generator=generator, root=torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"root must have shape \(2,\) or \(2,\), got \(3,\)"):
        tree.sample(2, generator=generator, root=torch.tensor([0, 1, 1]))
    with pytest.raises(TypeError, match="root must hold integers"):
        tree.sample(2, generator=generator, root=torch.tensor([0.0, 1.0]))
