"""Linear networks and tree networks without negatives."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from ssl_theory.experiments import predictors
from ssl_theory.experiments.predictors import LINEAR, TREES, Linear, Tree, threshold_table, tree_table
from ssl_theory.experiments.trees import stored


def test_modes_die_where_they_should() -> None:
    table = threshold_table({"identity": Linear()}, shares=(0.55, 1.3), sizes=16, seeds=3, steps=1500)
    within, beyond = (row for _, row in table.iterrows())
    assert within["measured"] == pytest.approx(within["threshold"], rel=0.15)
    assert within["size"] == pytest.approx(within["kept"], rel=0.05)
    assert within["alive"] == 1
    assert beyond["alive"] == 0
    assert pd.isna(beyond["threshold"])
    assert pd.isna(beyond["size"])


def test_every_start_runs_and_repeats_itself() -> None:
    small = {"shares": (0.4,), "sizes": 4, "seeds": 2, "steps": 5}
    first, second = (threshold_table(**small) for _ in range(2))  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(first, second)
    assert list(first["setting"]) == list(LINEAR)


def test_the_geometric_mean_of_neighbours_divides_living_from_dying() -> None:
    grid = torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64)
    end = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64).view(3, 1, 1).expand(3, 2, 4)
    found = predictors._threshold(0.01, grid, end)
    assert found["measured"] == pytest.approx((0.01 * 0.1) ** 0.5)


def test_a_tree_without_predictor_shrinks_and_every_setting_runs() -> None:
    table = tree_table(seeds=2, steps=150).set_index("setting")
    assert list(table.index) == list(TREES)
    assert table.loc["no predictor", "size"] < 0.8
    assert table.loc["from 1/2, centred", "size"] > table.loc["no predictor", "size"]
    again = tree_table({"no predictor": Tree(frozen=True)}, seeds=2, steps=150)
    assert again["after"].item() == table.loc["no predictor", "after"]


def test_a_frozen_identity_is_the_loss_of_positives_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    tree = predictors.TreeEnsemble.regular(1, 2, polarity=(0.8, 1.0), generator=generator)
    net = predictors.TreeNetwork.random(tree, 3, generator=generator, dtype=torch.float32)
    states = torch.rand(1, 4, 9, generator=generator) < 0.5
    x, x_pos, _ = net(states).chunk(3, -1)
    found = predictors._Pair(net, Tree(frozen=True)).loss(states)
    assert found.item() == pytest.approx((x - x_pos).square().sum(1).mean().item() / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"seeds": 0}, "seeds must"), ({"steps": 0}, "steps must"), ({"seed": -1}, "seed must")],
)
def test_bad_arguments_are_named(arguments: dict[str, int], message: str) -> None:
    for make in (threshold_table, tree_table):
        with pytest.raises(ValueError, match=message):
            make(**arguments)  # type: ignore[operator]
    with pytest.raises(ValueError, match="sizes must be at least 2, got 1"):
        threshold_table(sizes=1)
    with pytest.raises(ValueError, match="shares must be finite and greater than 0"):
        threshold_table(shares=(0.0,))


def test_the_command_writes_both_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("threshold_table", "tree_table"):
        monkeypatch.setattr(predictors, name, lambda name=name: pd.DataFrame({"made by": [name]}))
    predictors.main(["-o", str(tmp_path)])
    assert (tmp_path / "without-negatives.csv").read_text() == "made by\nthreshold_table\n"
    assert (tmp_path / "without-negatives-trees.csv").read_text() == "made by\ntree_table\n"


def test_the_stored_tables_are_those_that_the_command_makes() -> None:
    linear, trees = stored("without-negatives"), stored("without-negatives-trees")
    assert list(linear["setting"].unique()) == list(LINEAR)
    assert list(trees["setting"]) == list(TREES)
    assert set(linear["seeds"]) == {30}
    assert set(trees["seeds"]) == {10}
