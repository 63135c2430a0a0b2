"""What the operator explains of trees that train, where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ssl_theory.checks import relative_error
from ssl_theory.experiments.trees import TreeExperiment, mechanism_table, tree_mechanism, tree_targets
from ssl_theory.experiments.trees.mechanism import _Look, share
from ssl_theory.experiments.trees.train import _Group
from ssl_theory.losses import InfoNCE, SimpleContrastive, two_view_covariance_loss

TINY = TreeExperiment(seeds=2, depth=2, width=3, batch=16, evaluation=128, temperature=0.5)
CLEAN = replace(TINY, polarity=(1.0, 1.0), bias=False, normalise=False, batch=64, evaluation=512)


def test_without_noise_the_operator_explains_everything() -> None:
    """All pairs of different objects are alike: the losses ask for the same, and OP·vec(W) is the step."""
    rows = tree_mechanism(CLEAN, updates=(0, 3), batches=2)
    assert len(rows) == 2 * 2 * 2  # moments, seeds, levels
    for column in (
        "cos_covariance", "cos_simple", "cosine_of_means", "cos_operator", "cos_operator_simple",
        *(f"share_{name}" for name in ("infonce", "covariance", "simple", "permuted")),
    ):  # fmt: skip
        assert rows[column].sub(1.0).abs().max() < 1e-4, column
    pooled = rows.groupby(["layer", "updates"])[["update_dot", "update_square", "leading_square"]].sum()
    cosine = pooled["update_dot"] / (pooled["update_square"] * pooled["leading_square"]) ** 0.5
    assert cosine.sub(1.0).abs().max() < 0.02  # halves have other numbers of equal roots
    ratio = (pooled["update_square"] / pooled["leading_square"]) ** 0.5
    assert ratio.sub(1.0).abs().max() < 0.25  # estimated from different samples


def test_nulls_know_nothing_of_the_loss() -> None:
    rows = tree_mechanism(replace(TINY, seeds=40, temperature=1.0), updates=(0,), batches=4)
    top = rows[rows["layer"] == "level 0"]
    error = top["cos_view"].std() / 40**0.5
    assert abs(top["cos_view"].mean()) < 5.0 * error
    assert top["cos_simple"].mean() > 0.9
    assert (top["share_view"] < top["share_simple"]).mean() > 0.9


def test_targets_by_their_formulas() -> None:
    g = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 3, 3, 6, generator=g, dtype=torch.float64)
    found = tree_targets(outputs, 0.5, torch.Generator().manual_seed(1))
    assert tuple(found) == ("infonce", "covariance", "simple", "permuted", "object", "view")
    source = torch.Generator().manual_seed(1)
    order = torch.randperm(6, generator=source)
    expected = dict.fromkeys(found, torch.zeros((), dtype=torch.float64))
    for one in outputs:
        anchor, positive, negative = one.permute(1, 2, 0)
        r_pos, r_neg, crossed = (
            (anchor - other).square().sum(1) / 2 for other in (positive, negative, positive[order])
        )
        for name, value in (
            ("infonce", InfoNCE(0.5)(r_pos, r_neg.unsqueeze(1)).mean()),
            ("simple", SimpleContrastive()(r_pos, r_neg.unsqueeze(1)).mean()),
            ("permuted", InfoNCE(0.5)(crossed, r_neg.unsqueeze(1)).mean()),
            ("covariance", two_view_covariance_loss(anchor, positive, InfoNCE(0.5))),
        ):
            expected[name] = expected[name] + value
    by_object = torch.randn(12, 1, 3, generator=source, dtype=torch.float64)
    by_view = torch.randn(12, 2, 3, generator=source, dtype=torch.float64)
    pairs = outputs[:, :, :2].permute(0, 3, 2, 1).reshape(12, 2, 3)
    expected["object"], expected["view"] = (pairs * by_object).sum(), (pairs * by_view).sum()
    for name, value in found.items():
        assert relative_error(value, expected[name]) < 1e-12, name


def test_the_share_in_a_subspace() -> None:
    basis = torch.eye(4, dtype=torch.float64)[:, :2].expand(3, 4, 2)
    vectors = torch.tensor([[3.0, 0.0, 4.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).double()
    assert share(vectors, basis).tolist() == pytest.approx([0.36, 1.0, float("nan")], nan_ok=True)


def test_looking_does_not_disturb_training() -> None:
    often, once = (tree_mechanism(TINY, updates=u, batches=2) for u in ((0, 1, 2, 4), (4,)))
    last = often[often["updates"] == 4].reset_index(drop=True)
    assert last["leading_square"].tolist() == once["leading_square"].tolist()
    assert once["epoch"].unique().tolist() == [4 / 500]


def test_a_row_says_what_it_should() -> None:
    """One seed, one level, against sums over its batches."""
    group = _Group(TINY, range(2), torch.device("cpu"))
    look, again = _Look(group, 4), _Look(group, 4)
    rows, steps = look.rows(), again.gradients()
    row = rows[(rows["network"] == 1) & (rows["layer"] == "level 1")].iloc[0]
    own = [step["infonce"][1][1].numpy() for step in steps]
    other = [step["simple"][1][1].numpy() for step in steps]

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert row["cos_simple"] == pytest.approx(
        np.mean([cosine(a, b) for a, b in zip(own, other, strict=True)])
    )
    halves = [0.5 * (own[k] + own[k + 2]) / 2 for k in (0, 1)]
    assert row["update_square"] == pytest.approx(float(halves[0] @ halves[1]))
    assert (row["size"], row["directions"]) == (2 * 3 * 2, 3)


def test_the_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table = mechanism_table({"one": TINY}, path, updates=(0, 2), batches=2)
    assert set(table["setting"]) == {"one"}
    assert table["temperature"].unique().tolist() == [0.5]
    again: Any = mechanism_table({"one": TINY}, path, updates=(0, 2), batches=2)
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batches": 1}, ValueError, "batches must be at least 2, got 1"),
        ({"updates": ()}, ValueError, r"updates must be ascending moments, got \(\)"),
        ({"updates": (4, 2)}, ValueError, r"updates must be ascending moments, got \(4, 2\)"),
        ({"updates": (-1, 2)}, ValueError, "updates must be at least 0, got -1"),
        ({"updates": (0.5,)}, TypeError, "updates must be an integer, got 0.5"),
        ({"device": "abacus"}, ValueError, "device must be auto or one of"),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tree_mechanism(TINY, **options)
