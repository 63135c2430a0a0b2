"""The numbers of pictures that a page computes, against the definitions; the page: tests/test_controls.py."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import torch

from ssl_theory.controls import Beliefs, Lucky, Pulling, Ring, Strength, Vote
from ssl_theory.controls.ring import ring_path
from ssl_theory.controls.strength import growth
from ssl_theory.flow import gradients
from ssl_theory.hltm import LevelState, Topology, lucky
from ssl_theory.losses import InfoNCE
from ssl_theory.networks import ReLUNetwork, vec
from ssl_theory.operators import covariance_operator, expected_loss
from ssl_theory.views import cyclic_translations, gaussian_views


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def level(seed: int, nodes: int = 4, networks: int = 1) -> LevelState:
    shapes = ((nodes, 3, 2), (nodes, 2, 5), (nodes, 5), (nodes,), ())
    return LevelState(*(normal(seed + k, networks, *shape) / 3 for k, shape in enumerate(shapes)))


def test_growth_is_the_form_of_every_layer():
    net = ReLUNetwork.random((3, 4, 2), generator=torch.Generator().manual_seed(0))
    views = normal(1, 4, 1, 3) + 0.5 * normal(2, 4, 3, 3)
    for layer, w in enumerate(net.weights, 1):
        form = vec(w) @ covariance_operator(net, views, layer, InfoNCE(0.4)) @ vec(w)
        assert growth(net(views), 0.4) == pytest.approx(float(form), rel=1e-12)


def test_strength_shows_the_sign_and_the_growth():
    objects = normal(0, 3, 4)
    noise = gaussian_views(0 * objects, 3, generator=torch.Generator().manual_seed(1))
    net = ReLUNetwork.random((4, 5, 3), generator=torch.Generator().manual_seed(2))
    picture = Strength(net, objects, noise, np.geomspace(0.05, 3, 4), np.geomspace(0.1, 3, 3))
    values = picture(3.0, 0.1).values
    assert values["signs"][-1, -1] == np.sign(values["growth"])  # coldest and strongest: below, on the right
    taus, strengths = np.geomspace(0.1, 3, 3)[::-1], np.geomspace(0.05, 3, 4)
    forms = [[growth(net(objects[:, None] + s * noise), tau) for s in strengths] for tau in taus]
    assert (values["signs"] == np.sign(forms)).all()
    assert not (values["signs"] == np.sign(forms[::-1])).all(), "upside down is another picture"
    assert values["growth"] == growth(net(objects[:, None] + 3.0 * noise), 0.1)
    assert values["word"] == "shrink"
    assert np.abs(values["curve"]).max() == 1


def test_the_ring_is_descent_on_the_loss():
    objects = torch.zeros(2, 6, dtype=torch.float64)
    objects[0, [0, 1]] = objects[1, [0, 2]] = 1
    views, w = cyclic_translations(objects), normal(0, 6)

    def loss(weights):
        return expected_loss(ReLUNetwork([*weights, weights[0].new_ones(1, 1)]), views)

    path = ring_path(w, 0.3, 20)
    for before, after in pairwise(path):
        moved = before - 0.3 * gradients(loss, [before[None]])[0][0]
        torch.testing.assert_close(after, moved / moved.norm(), rtol=0, atol=1e-12)
    values = Ring(w, normal(1, 6))(0.0, 20).values
    assert values["gap"] == values["gaps"][20]
    assert abs(values["gaps"][-1]) >= abs(values["gaps"][0])


def test_the_vote_is_the_flow_of_the_level():
    state = level(3)
    picture = Vote(state)
    for law, time in (("coupled", 0.0), ("own", 0.0), ("coupled", 1e-6), ("own", 1e-6)):
        shares = picture.shares(3, 4, law, time)
        if time == 0:
            torch.testing.assert_close(shares, state.shares()[0])
            continue
        update = state.update() if law == "coupled" else state.own_update()
        moved = state._replace(weight=state.weight + update).shares()[0] - state.shares()[0]
        rate = (shares - state.shares()[0]) / time
        torch.testing.assert_close(rate / rate.norm(), moved / moved.norm(), rtol=0, atol=1e-5)
    cosines = picture(3, 4, "coupled", 3.0).values["cosines"]
    assert (cosines > 0).all()


def test_lucky_counts_what_lies_beyond_the_threshold():
    values = Lucky()(5, 50, 2.0).values
    p = float(lucky.tail(torch.ones(5, dtype=torch.float64), torch.tensor([2.0]).double()))
    assert values["some"] == pytest.approx(1 - (1 - p) ** 50, rel=1e-12)
    assert np.trapezoid(values["density"], dx=5 / 200) == pytest.approx(1, abs=1e-3)
    assert np.nansum(values["lucky"]) * 5 / 200 == pytest.approx(values["some"], abs=0.01)
    assert Lucky()(1, 3, 2.0).values["enough"] == "no number of neurons reaches it"
    assert values["ceiling"] == math.sqrt(15)


def test_beliefs_show_the_mean_square_of_the_belief():
    values = Beliefs(Topology.regular(2, 2))([1, 1, 0, 1], 0.7).values
    assert values["eigenvalue"] == pytest.approx(values["limit"] ** 2)
    assert values["value"] == pytest.approx(values["root"] / values["limit"])
    assert values["sorted"][round(values["rank"])] == pytest.approx(values["value"])
    assert len(values["limits"]) == 3


def test_beyond_the_threshold_every_direction_shrinks():
    half, other = normal(0, 4, 4), normal(1, 4, 6)
    picture = Pulling(half @ half.mT, other @ other.mT, normal(2, 3, 4))
    expected = scipy.linalg.eigh(picture.between.numpy(), picture.within.numpy(), eigvals_only=True)[-1]
    assert picture.threshold == pytest.approx(expected, rel=1e-10)
    before, after = (picture(beta).values for beta in (0.999, 1.001))
    assert (before["top"] > 0) != (after["top"] > 0)
    assert (before["growing"], after["growing"]) == (1, 0)
    assert (np.diff(after["norms"]) < 0).all()
    path = picture.start @ torch.linalg.matrix_exp(
        2 * picture.data["moments"][9] * picture.data["pace"] * (picture.between)
    )
    grown = path.square().sum() / picture.start.square().sum()
    assert picture(0.0).values["norms"][9] == pytest.approx(float(grown), rel=1e-10)


@pytest.mark.bad_input
@pytest.mark.parametrize(("nodes", "networks"), [(7, 1), (3, 2)])
def test_levels_that_do_not_fit_are_named(nodes, networks):
    with pytest.raises(ValueError, match=f"at most six nodes, got {networks} of {nodes}"):
        Vote(level(0, nodes, networks))
