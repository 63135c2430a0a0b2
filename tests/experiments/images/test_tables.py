"""The tables of the experiment on images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from ssl_theory.experiments.images import (
    TABLES,
    ImageExperiment,
    ImageRun,
    labelled,
    pixels,
    run,
    table,
    tables,
)
from ssl_theory.experiments.images.settings import ADDED
from ssl_theory.experiments.sweep import Shard
from ssl_theory.training import NonFiniteError

TINY = ImageExperiment(
    channels=(4, 8), strides=(2, 2), hidden=8, outputs=4, batch=512, epochs=1, measure_every=1, copies=2
)
STORED = Path(__file__).parents[3] / "book" / "results"


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "run", lambda *_, **__: pytest.fail("was run again"))
    monkeypatch.setattr(tables, "pixels", lambda *_, **__: pytest.fail("was measured again"))


def test_rows_are_those_of_the_runs(tmp_path: Path) -> None:
    experiments = [replace(TINY, seeds=2), replace(TINY, loss="simple")]
    said: list[str] = []
    found = table(experiments, folder=tmp_path, device="cpu", report=said.append)
    assert found["loss_name"].tolist() == ["pixels"] * 2 + ["infonce"] * 4 + ["simple"] * 2
    assert said == [
        *("1/5 pixels, seed 0", "2/5 pixels, seed 1"),
        *("3/5 infonce, seed 0", "4/5 infonce, seed 1", "5/5 simple, seed 0"),
    ]
    expected = pd.concat(
        [
            labelled(experiments[0], pixels(experiments[0], device="cpu"), loss_name="pixels", epochs=0),
            *(labelled(e, run(e, device="cpu")) for e in experiments),
        ],
        ignore_index=True,
    )
    for column, values in expected.items():
        if values.dtype.kind == "f":
            assert found[column].to_numpy() == pytest.approx(values.to_numpy(), rel=1e-5, nan_ok=True)
        else:
            assert found[column].tolist() == values.tolist()
    assert set(found["torch"]) == {torch.__version__}
    assert set(found["device"]) == {"cpu"}
    names = [f"{experiments[0].name}-0.pt", f"{experiments[0].name}-1.pt", f"{experiments[1].name}-0.pt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names, "table.csv"])


def test_other_settings_stay_and_pixels_are_measured_once(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    table([TINY], folder=tmp_path, device="cpu")
    table([replace(TINY, temperature=0.33333333)], folder=tmp_path, device="cpu")
    held = pd.read_csv(tmp_path / "table.csv")
    assert held["loss_name"].tolist() == ["pixels", "infonce", "infonce", "infonce", "infonce"]
    assert held["temperature"].tolist()[1:] == [0.2, 0.2, 0.33333333, 0.33333333]
    request.getfixturevalue("no_run")
    both = [TINY, replace(TINY, temperature=0.33333333)]
    pd.testing.assert_frame_equal(table(both, folder=tmp_path, device="cpu"), held)


def test_a_table_that_is_lost_is_made_from_the_trained_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = table([TINY], folder=tmp_path, device="cpu")
    (tmp_path / "table.csv").unlink()
    monkeypatch.setattr(ImageRun, "loss", lambda *_: pytest.fail("was trained again"))
    pd.testing.assert_frame_equal(table([TINY], folder=tmp_path, device="cpu"), first)


def test_a_run_that_diverges_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(self: ImageRun, step: int) -> torch.Tensor:
        return next(self.model.parameters()).sum() * float("nan")

    monkeypatch.setattr(ImageRun, "loss", diverges)
    with pytest.raises(NonFiniteError, match="step 0"):
        table([TINY], folder=tmp_path, device="cpu")
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]  # with the pixels


def test_shards_are_gathered(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    whole = table([replace(TINY, seeds=2)], device="cpu")
    for index in (1, 2):
        table([replace(TINY, seeds=2)], folder=tmp_path, device="cpu", shard=Shard(index, 2))
    request.getfixturevalue("no_run")
    found = table([replace(TINY, seeds=2)], folder=tmp_path, device="cpu")
    assert found["linear"].tolist() == pytest.approx(whole["linear"].tolist(), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in sorted(TABLES) if (STORED / f"{name}.csv").exists()])
def test_the_stored_tables_hold_their_settings(name: str, tmp_path: Path, no_run: None) -> None:
    """A table of the book is opened as if it had been made here: nothing is run, no row is lost."""
    stored = (STORED / f"{name}.csv").read_text(encoding="utf-8")
    (tmp_path / "table.csv").write_text(stored, encoding="utf-8")
    found = table(TABLES[name], folder=tmp_path, device="cpu")
    assert len(found) == stored.count("\n") - 1
    for label in set(ADDED) & set(found.columns):
        assert set(found[label]) == {ADDED[label]}
