"""Closed forms of latent trees against sums over every configuration."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.hltm import CategoricalTree, LatentTree, Topology, TreeEnsemble, reference, small_tree
from tests.hltm.cases import categorical_trees, latent_trees, laws_of, table_of

TOL = 1e-13
any_tree = st.one_of(latent_trees(), categorical_trees())


def close(value: torch.Tensor, expected: object) -> bool:
    return relative_error(value, torch.as_tensor(expected, dtype=torch.float64)) < TOL


@given(any_tree)
def test_enumeration_equals_the_loop(tree: CategoricalTree) -> None:
    states, probabilities = tree.enumerate()
    table = table_of(tree)
    assert states.dtype == torch.int64
    assert [tuple(row) for row in states.tolist()] == list(table)
    assert close(probabilities, list(table.values()))
    assert abs(float(probabilities.sum()) - 1.0) < TOL


@given(any_tree)
def test_marginals_and_laws_of_pairs(tree: CategoricalTree) -> None:
    table = table_of(tree)
    marginals = tree.marginals()
    for a in range(tree.nodes):
        expected = [reference.expectation(table, lambda z, a=a, k=k: z[a] == k) for k in range(3)]
        assert close(marginals[a], expected[: marginals.shape[-1]])
        for b in range(tree.nodes):
            joint = tree.joint_law(a, b)
            assert joint.shape == (tree.state_counts[a], tree.state_counts[b])
            for i in range(joint.shape[0]):
                for k in range(joint.shape[1]):
                    both = reference.expectation(table, lambda z, a=a, b=b, i=i, k=k: (z[a], z[b]) == (i, k))
                    assert abs(float(joint[i, k]) - both) < TOL


@given(any_tree)
def test_conditional_laws_between_any_two_nodes(tree: CategoricalTree) -> None:
    table = table_of(tree)
    for given_node in range(tree.nodes):
        for node in range(tree.nodes):
            law = tree.conditional_law(node, given=given_node)
            for i in range(law.shape[0]):
                if reference.expectation(table, lambda z, g=given_node, i=i: z[g] == i) == 0.0:
                    continue
                expected = [
                    reference.conditional_expectation(
                        table, lambda z, n=node, k=k: z[n] == k, lambda z, g=given_node, i=i: z[g] == i
                    )
                    for k in range(law.shape[1])
                ]
                assert close(law[i], expected)


def test_a_state_of_probability_zero_has_a_law_downwards_and_none_elsewhere() -> None:
    tree = LatentTree([-1, 0, 0], [1.0, 1.0, 0.5], root_polarity=1.0)
    assert tree.conditional_law(2, given=0).tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert tree.conditional_law(2, given=1)[0].isnan().all()
    assert tree.conditional_law(2, given=1)[1].tolist() == [0.25, 0.75]


@given(latent_trees())
def test_path_polarity_multiplies_and_acts_on_every_function_of_the_subtree(tree: LatentTree) -> None:
    """T7, first two facts."""
    table = reference.configurations(
        tree.parents, reference.symmetric_laws(tree.polarities.tolist(), 0.0)
    )  # both root states possible
    g = torch.Generator().manual_seed(tree.nodes)
    weights = torch.randn(tree.nodes, generator=g, dtype=torch.float64).tolist()
    for node in range(tree.nodes):
        rho = float(tree.path_polarity(node))
        along = [v for v in range(1, tree.nodes) if reference.descends(tree.parents, node, v)]
        assert abs(rho - math.prod(float(tree.polarities[v]) for v in along)) < TOL
        below = [v for v in range(tree.nodes) if reference.descends(tree.parents, v, node)]

        def function(z: reference.Configuration, below: list[int] = below) -> float:
            return math.tanh(sum(weights[v] * z[v] for v in below)) + math.prod(z[v] for v in below)

        def effect(source: int, function: reference.Function = function) -> float:
            one, zero = (
                reference.conditional_expectation(table, function, lambda z, s=s: z[source] == s)
                for s in (1, 0)
            )
            return one - zero

        direct = reference.conditional_expectation(table, lambda z, v=node: z[v], lambda z: z[0] == 1)
        other = reference.conditional_expectation(table, lambda z, v=node: z[v], lambda z: z[0] == 0)
        assert abs(direct - other - rho) < TOL
        if rho:
            assert abs(effect(0) - rho * effect(node)) < TOL
    assert close(tree.path_polarities(), [float(tree.path_polarity(v)) for v in range(tree.nodes)])


@given(any_tree)
def test_root_variance_and_its_rank(tree: CategoricalTree) -> None:
    """T7, categorical: V_{z_0}[E[g|z_0]] by enumeration, rank at most the narrowest latent minus one."""
    table = table_of(tree)
    for node in range(tree.nodes):
        rows = tree.state_counts[node]
        g = torch.Generator().manual_seed(node)
        means = torch.randn(rows, 4, generator=g, dtype=torch.float64)
        conditional = {}
        for i in range(tree.state_counts[0]):
            p = reference.expectation(table, lambda z, i=i: z[0] == i)
            if p > 0.0:
                inside = {z: q for z, q in table.items() if z[0] == i}
                value = torch.stack([q * means[z[node]] for z, q in inside.items()]).sum(0) / p
                conditional[i] = (p, value)
        centre = torch.stack([p * v for p, v in conditional.values()]).sum(0)
        expected = torch.stack(
            [p * torch.outer(v - centre, v - centre) for p, v in conditional.values()]
        ).sum(0)
        variance = tree.root_variance(node, means)
        assert close(variance, expected)
        narrowest = min(tree.state_counts[v] for v in (0, *tree.topology.path(0, node)))
        values = torch.linalg.eigvalsh(variance)
        assert int((values > 1e-12).sum()) <= narrowest - 1


@given(any_tree)
def test_leaf_moments(tree: CategoricalTree) -> None:
    table = table_of(tree)
    moments = tree.leaf_moments()
    leaves = tree.leaves
    mean = [reference.expectation(table, lambda z, a=a: z[a]) for a in leaves]
    second = [[reference.expectation(table, lambda z, a=a, b=b: z[a] * z[b]) for b in leaves] for a in leaves]
    assert close(moments.mean, mean)
    assert close(moments.second, second)
    outer = torch.outer(torch.tensor(mean), torch.tensor(mean)).double()
    assert relative_error(moments.covariance, torch.tensor(second, dtype=torch.float64) - outer) < 1e-6


@given(any_tree)
def test_likelihoods_and_beliefs_of_every_latent(tree: CategoricalTree) -> None:
    table = table_of(tree)
    leaves = tree.enumerate_leaves()
    likelihoods = tree.likelihoods(leaves)
    given_root = (tree.root_law * likelihoods[:, 0]).sum(-1)
    evidence = [
        reference.expectation(table, lambda z, row=row: [z[v] for v in tree.leaves] == row)
        for row in leaves.tolist()
    ]
    assert close(given_root, evidence)
    possible = leaves[torch.tensor(evidence) > 0.0]
    beliefs = tree.beliefs(possible)
    for row, result in zip(possible.tolist(), beliefs, strict=True):
        observed = dict(zip(tree.leaves, row, strict=True))
        for node in range(tree.nodes):
            expected = [
                reference.belief(tree.parents, table, node, observed, k)
                for k in range(tree.state_counts[node])
            ]
            assert close(result[node, : tree.state_counts[node]], expected)
            assert not result[node, tree.state_counts[node] :].any()


@given(latent_trees(polarities=st.floats(-0.95, 0.95)))
def test_belief_means_obey_the_tanh_rule(tree: LatentTree) -> None:
    """T11: m_μ = tanh(artanh(ρ_0 ρ_{0μ}) + Σ artanh(ρ m)), the messages passed upwards prior-free."""
    leaves = tree.enumerate_leaves()
    means = tree.belief_means(leaves)
    for row, result in zip(leaves.tolist(), means, strict=True):
        free: dict[int, float] = {}
        for node in reversed(range(tree.nodes)):
            children = [v for v in range(tree.nodes) if tree.parents[v] == node]
            if not children:
                free[node] = 2.0 * row[tree.leaves.index(node)] - 1.0
                assert result[node] == free[node]
                continue
            total = sum(math.atanh(float(tree.polarities[v]) * free[v]) for v in children)
            free[node] = math.tanh(total)
            prior = math.atanh(float(tree.root_polarity * tree.path_polarity(node)))
            assert abs(float(result[node]) - math.tanh(prior + total)) < TOL


def test_beliefs_at_polarity_zero_and_one() -> None:
    blind = LatentTree([-1, 0, 0], [1.0, 0.0, 0.0], root_polarity=0.4)
    assert torch.allclose(blind.belief_means(blind.enumerate_leaves())[:, 0], torch.tensor(0.4).double())
    sure = LatentTree([-1, 0, 1], [1.0, -1.0, 1.0], root_polarity=0.4)
    assert sure.belief_means(torch.tensor([[0], [1]]))[:, 0].tolist() == [1.0, -1.0]


def test_many_children_do_not_underflow() -> None:
    n = 1500
    tree = LatentTree([-1, *[0] * n], [1.0, *[0.5] * n])
    leaves = torch.tensor([[0, 1] * (n // 2), [1] * n])
    assert tree.belief_means(leaves)[:, 0].tolist() == pytest.approx([0.0, 1.0], abs=1e-9)


def test_an_impossible_configuration_is_refused_by_beliefs_and_has_likelihood_zero() -> None:
    tree = LatentTree([-1, 0, 0], [1.0, 1.0, 1.0])
    leaves = torch.tensor([[0, 1]])
    assert tree.likelihoods(leaves)[0, 0].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="leaves must have positive probability"):
        tree.beliefs(leaves)


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=3), latent_trees(5))
def test_an_ensemble_equals_its_trees(numbers: list[int], shape: LatentTree) -> None:
    trees: list[CategoricalTree] = []
    for number in numbers:
        g = torch.Generator().manual_seed(number)
        rho = 2.0 * torch.rand(shape.nodes + 1, generator=g, dtype=torch.float64) - 1.0
        trees.append(LatentTree(shape.parents, rho[1:], rho[0]))
    ensemble = TreeEnsemble(trees)
    assert len(ensemble) == len(trees)
    states, probabilities = ensemble.enumerate()
    leaves = ensemble.enumerate_leaves()
    moments = ensemble.leaf_moments()
    last = shape.nodes - 1
    means = torch.ones(2, 3, dtype=torch.float64)
    for s, tree in enumerate(trees):
        assert torch.equal(states, tree.enumerate()[0])
        for value, expected in [
            (probabilities, tree.enumerate()[1]),
            (ensemble.polarities, tree.polarities),
            (ensemble.root_polarity, tree.root_polarity),
            (ensemble.path_polarities(), tree.path_polarities()),
            (ensemble.path_polarity(last), tree.path_polarity(last)),
            (ensemble.marginals(), tree.marginals()),
            (ensemble.conditional_law(0, given=last), tree.conditional_law(0, given=last)),
            (ensemble.root_variance(last, means), tree.root_variance(last, means)),
            (ensemble.likelihoods(leaves), tree.likelihoods(leaves)),
            (ensemble.belief_means(leaves), tree.belief_means(leaves)),
            (moments.mean, tree.leaf_moments().mean),
            (moments.second, tree.leaf_moments().second),
        ]:
            assert relative_error(value[s], expected) < TOL


def test_a_binary_categorical_tree_equals_the_latent_tree(generator: torch.Generator) -> None:
    tree = LatentTree.regular(2, polarity=(0.1, 1.0), root_polarity=-0.3, generator=generator)
    laws = laws_of(tree)
    twin = CategoricalTree(tree.parents, [None, *laws[1:]], laws[0][0])
    assert relative_error(twin.polarities, tree.polarities) < TOL
    assert relative_error(twin.root_polarity, tree.root_polarity) < TOL
    assert relative_error(twin.enumerate()[1], tree.enumerate()[1]) < TOL


def test_regular_trees(generator: torch.Generator) -> None:
    tree = LatentTree.regular(3, 3, polarity=(0.4, 0.6), root_polarity=0.2, generator=generator)
    rho = tree.polarities[1:]
    assert tree.nodes == 1 + 3 + 9 + 27
    assert float(rho.abs().min()) >= 0.4
    assert float(rho.abs().max()) <= 0.6
    assert bool((rho > 0).any())
    assert bool((rho < 0).any())
    assert tree.polarities.dtype == torch.float64
    states = CategoricalTree.regular(2, states=4, generator=generator)
    assert states.state_counts == (4,) * 7
    assert relative_error(states.transitions.sum(-1), torch.ones(7, 4).double()) < TOL


def test_the_small_tree_of_the_book() -> None:
    tree = small_tree()
    pixels = tree.path_polarities()[list(tree.leaves)]
    assert tree.topology.depths == Topology.regular(3, 2).depths
    assert float(tree.root_polarity) == 0
    assert (float(pixels.min()), float(pixels.max())) == pytest.approx((0.75 * 0.8 * 0.85, 0.8 * 0.9 * 0.9))


def test_a_single_root_is_a_leaf() -> None:
    tree = LatentTree([-1], [math.nan], root_polarity=0.5)
    states, probabilities = tree.enumerate()
    assert states.tolist() == [[0], [1]]
    assert probabilities.tolist() == [0.25, 0.75]
    assert tree.leaves == (0,)
    assert tree.path_polarity(0) == 1.0
    assert tree.leaf_moments().covariance.tolist() == [[0.75 * 0.25]]


@given(latent_trees())
def test_moving_keeps_the_model(tree: LatentTree) -> None:
    moved = tree.to("cpu")
    assert torch.equal(moved.transitions, tree.transitions)
    assert moved.parents == tree.parents


def test_law_almost_normalised_in_float32_is_accepted() -> None:
    law = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float32)
    tree = CategoricalTree([-1, 0], [None, law.repeat(3, 1)], law)
    assert abs(float(tree.root_law.sum()) - 1.0) < 1e-15


@given(categorical_trees())
def test_polarities_belong_to_two_states(tree: CategoricalTree) -> None:
    assume(set(tree.state_counts) != {2})
    with pytest.raises(ValueError, match="polarities belong to nodes of two states"):
        tree.path_polarity(0)
    with pytest.raises(ValueError, match="polarities belong to nodes of two states"):
        tree.root_polarity  # noqa: B018


LAW = [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("polarities", "root", "error", "message"),
    [
        ([1.0], 0.0, ValueError, r"polarities must have shape \(2,\)"),
        ([1.0, 1.5], 0.0, ValueError, r"polarities\[1\] must lie in \[−1, 1\], got 1.5"),
        ([1.0, math.nan], 0.0, ValueError, r"polarities\[1\] must lie in \[−1, 1\], got nan"),
        ([1.0, 0.5], -1.1, ValueError, r"root_polarity must lie in \[−1, 1\], got -1.1"),
        ([1.0, 0.5], math.nan, ValueError, r"root_polarity must lie in"),
        ([1.0, "a"], 0.0, TypeError, r"polarities must be an array of real numbers"),
        ([1.0, 0.5], [0.5], ValueError, r"root_polarity must be one number"),
        (torch.ones(2, dtype=torch.complex64), 0.0, TypeError, r"polarities must hold real numbers"),
    ],
)
def test_bad_polarities(polarities: object, root: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        LatentTree([-1, 0], polarities, root)  # type: ignore[arg-type]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("transitions", "root", "message"),
    [
        ([None], [0.5, 0.5], "transitions must hold one entry per node, 2, got 1"),
        ([None, [[0.5, 0.6], [0.5, 0.5]]], [0.5, 0.5], r"transitions\[1\] must sum to 1 .* got a sum of 1.1"),
        ([None, [[1.5, -0.5], [0.5, 0.5]]], [0.5, 0.5], r"transitions\[1\] must hold probabilities"),
        ([None, [[math.nan, 0.5], [0.5, 0.5]]], [0.5, 0.5], r"transitions\[1\] must hold probabilities"),
        ([None, [[0.5, 0.5]]], [0.5, 0.5], r"transitions\[1\] must have one row for each of the 2 states"),
        ([None, [0.5, 0.5]], [0.5, 0.5], r"transitions\[1\] must have 2 non-empty dimensions"),
        ([None, LAW], [0.5, 0.4], "root_law must sum to 1"),
        ([None, LAW], [], "root_law must have 1 non-empty dimensions"),
    ],
)
def test_bad_laws(transitions: list[object], root: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CategoricalTree([-1, 0], transitions, root)  # type: ignore[arg-type]


@pytest.mark.bad_input
def test_a_missing_law_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"transitions\[1\] must be an array of real numbers, got None"):
        CategoricalTree([-1, 0], [None, None], [0.5, 0.5])


@pytest.mark.bad_input
def test_bad_regular_trees(generator: torch.Generator) -> None:
    for polarity in [(0.9, 0.8), (-0.1, 0.5), (0.5, 1.1)]:
        with pytest.raises(ValueError, match="polarity must satisfy 0 ≤ low ≤ high ≤ 1"):
            LatentTree.regular(2, polarity=polarity, generator=generator)
    with pytest.raises(ValueError, match="polarity must be a pair"):
        LatentTree.regular(2, polarity=(0.5,), generator=generator)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="states must be at least 1"):
        CategoricalTree.regular(2, states=0, generator=generator)
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        TreeEnsemble.regular(0, 2, polarity=(0.5, 1.0), generator=generator)


@pytest.mark.bad_input
def test_bad_ensembles(generator: torch.Generator) -> None:
    small = LatentTree.regular(1, polarity=(0.5, 1.0), generator=generator)
    large = LatentTree.regular(2, polarity=(0.5, 1.0), generator=generator)
    with pytest.raises(ValueError, match="trees must hold at least one tree"):
        TreeEnsemble([])
    with pytest.raises(ValueError, match=r"trees\[1\] must have the parents"):
        TreeEnsemble([small, large])
    with pytest.raises(TypeError, match=r"trees\[1\] must be a tree, got str"):
        TreeEnsemble([small, "tree"])  # type: ignore[list-item]


@pytest.mark.bad_input
def test_enumeration_too_large(generator: torch.Generator) -> None:
    tree = LatentTree.regular(4, polarity=(0.5, 1.0), generator=generator)
    with pytest.raises(ValueError, match="at most 4194304 configurations .* got 2147483648"):
        tree.enumerate()
    assert tree.enumerate_leaves().shape == (2**16, 16)


@pytest.mark.bad_input
def test_bad_nodes_and_arguments(generator: torch.Generator) -> None:
    tree = LatentTree.regular(1, polarity=(0.5, 1.0), generator=generator)
    with pytest.raises(ValueError, match="node must be from 0 to 2, got 3"):
        tree.path_polarity(3)
    with pytest.raises(TypeError, match="node must be an integer"):
        tree.path_polarity(1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="given must be from 0 to 2, got -1"):
        tree.conditional_law(0, given=-1)
    with pytest.raises(ValueError, match="means must have shape"):
        tree.root_variance(0, torch.ones(3, 1, dtype=torch.float64))
    with pytest.raises(TypeError, match="leaves must hold integer states"):
        tree.beliefs(torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"leaves must have shape \('n', 2\), got \(4, 3\)"):
        tree.beliefs(torch.zeros(4, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="leaves must hold states from 0 to 1"):
        tree.beliefs(torch.full((4, 2), 2))


@pytest.mark.bad_input
def test_sources_places_and_flags(generator: torch.Generator) -> None:
    tree = LatentTree([-1, 0], [1.0, 0.5])
    for draw in (
        lambda: tree.sample(1, generator=None),  # type: ignore[arg-type]
        lambda: tree.views(1, generator=None),  # type: ignore[arg-type]
        lambda: tree.triples(1, generator=None),  # type: ignore[arg-type]
        lambda: LatentTree.regular(1, polarity=(0.1, 0.2), generator=None),  # type: ignore[arg-type]
        lambda: CategoricalTree.regular(1, generator=None),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="generator must be a torch.Generator, got NoneType"):
            draw()
    with pytest.raises(ValueError, match="device must name a device that is there, got 'nosuch'"):
        tree.to("nosuch")
    with pytest.raises(TypeError, match="root_polarity must be a real number, got True"):
        LatentTree([-1, 0], [1.0, 0.5], True)
    with pytest.raises(TypeError, match="polarities must hold real numbers, got torch.bool"):
        LatentTree([-1, 0], torch.tensor([True, True]))
    with pytest.raises(ValueError, match=r"polarity must be a pair \(low, high\), got 0.7"):
        LatentTree.regular(1, polarity=0.7, generator=generator)  # type: ignore[arg-type]
