"""Networks beside the eigenfunctions of the augmentation graph: exact losses, angles, a tiny run."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.checks import relative_error
from ssl_theory.experiments.pairs import (
    SETTINGS,
    PairExperiment,
    expected_infonce,
    expected_spectral,
    pair_table,
    run,
    subspace_angle,
)
from ssl_theory.hltm import AugmentationGraph, augmentation_graph
from tests.hltm.cases import categorical_trees

TINY = PairExperiment(depth=2, width=3, seeds=3, steps=20, every=10)


def dot(first: list[float], second: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(first, second, strict=True))


def random_outputs(graph: AugmentationGraph, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, len(graph.patterns), generator=g, dtype=torch.float64)


@given(categorical_trees(max_nodes=5), st.integers(0, 2**31))
def test_losses_are_sums_over_pairs(tree, seed: int) -> None:  # type: ignore[no-untyped-def]
    graph = augmentation_graph(tree, [0])
    outputs, law, pairs = random_outputs(graph, seed), graph.law.tolist(), graph.pair_law.tolist()
    mean = outputs[0] @ graph.law
    points, centred = outputs[0].mT.tolist(), (outputs[0].mT - mean).tolist()
    spectral, infonce = 0.0, 0.0
    for i, p in enumerate(law):
        inner = [dot(centred[i], other) for other in centred]
        apart = [0.5 * math.dist(points[i], other) ** 2 for other in points]
        spectral -= 2 * dot(pairs[i], inner)
        spectral += p * dot(law, [v * v for v in inner])
        infonce += dot(pairs[i], apart)
        infonce += p * math.log(dot(law, [math.exp(-r) for r in apart]))
    joint = graph.joint.unsqueeze(0)
    assert (
        relative_error(expected_spectral(outputs, joint), torch.tensor([spectral], dtype=torch.float64))
        < 1e-11
    )
    assert (
        relative_error(expected_infonce(outputs, joint), torch.tensor([infonce], dtype=torch.float64)) < 1e-11
    )


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 30.0, 89.0, 90.0])
def test_angles_are_those_of_the_plane(degrees: float) -> None:
    turned = math.radians(degrees)
    law = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    axes = torch.diag(law.rsqrt())  # orthonormal
    line = math.cos(turned) * axes[:, :1] + math.sin(turned) * axes[:, 1:2]
    assert float(subspace_angle(line, axes[:, :1], law)) == pytest.approx(degrees, abs=1e-5)
    assert float(subspace_angle(line, axes[:, [2, 0]], law)) == pytest.approx(degrees, abs=1e-5)
    with pytest.raises(ValueError, match="first must hold at most 1 functions, as second does, got 2"):
        subspace_angle(axes[:, :2], line, law)


def test_a_run_learns_and_its_angles_make_a_right_triangle() -> None:
    rows = run(TINY)
    assert len(rows) == 3 * 3
    first, last = (rows[rows["step"] == step].reset_index() for step in (0, 20))
    assert (last["excess"] < first["excess"]).all()
    assert (last["excess"] > -1e-9).all()  # no network of the tree's shape falls below
    cosines = [
        rows[name].map(lambda a: math.cos(math.radians(a))) for name in ("angle", "floor", "reachable")
    ]
    assert (cosines[0] - cosines[1] * cosines[2]).abs().max() < 1e-9
    assert not rows.isna().any().any()


def test_two_kept_children_leave_two_directions() -> None:
    rows = run(PairExperiment(keep=(1, 2), loss="infonce", depth=2, width=3, seeds=2, steps=2, every=2))
    assert rows["excess"].isna().all()
    assert rows["angle"].between(0.0, 90.0).all()
    assert set(rows["keep"]) == {"1 2"}


def test_the_table_is_written(tmp_path: Path) -> None:
    lines: list[str] = []
    rows = pair_table([replace(TINY, steps=35, every=5)], folder=tmp_path, report=lines.append)
    assert sorted(set(rows["step"])) == [0, 5, 10, 20, 35]
    stored = pd.read_csv(tmp_path / "pairs.csv", dtype={"keep": str})
    assert len(stored) == len(rows)
    assert (stored["angle"] - rows["angle"]).abs().max() < 1e-3
    assert lines[0].startswith("kept (0,), spectral")
    assert (SETTINGS[0].keep, SETTINGS[0].loss) == ((0,), "spectral")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"rate": 0.0}, "rate must"),
        ({"loss": "triplet"}, "loss must"),
        ({"seed": -1}, "seed must"),
    ],
)
def test_wrong_settings_are_named(options, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises((ValueError, TypeError), match=message):
        partial(PairExperiment, **options)()
