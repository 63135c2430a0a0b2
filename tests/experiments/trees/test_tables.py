"""The tables of the experiment on latent trees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ssl_theory.experiments.trees import (
    TreeExperiment,
    grid,
    level_summary,
    level_table,
    memory,
    run,
    seed_summary,
    setting_name,
    stored,
    tables,
    tabulate,
    train,
    variations,
)

TINY = TreeExperiment(seeds=2, epochs=2, depth=2, width=2, steps=2, batch=8, evaluation=64)
PAIR = {"one": TINY, "two": replace(TINY, width=3)}


def test_settings() -> None:
    table = grid()
    assert len(table) == 9
    assert all(e.seeds == 30 and e.epochs == 20 and e.steps == 500 for e in table.values())
    assert {(e.polarity[0], e.width) for e in table.values()} == {
        (low, width) for low in (0.7, 0.8, 0.9) for width in (2, 5, 10)
    }
    small = variations(seeds=3, steps=7)
    assert all(e.seeds == 3 and e.steps == 7 for e in small.values())
    others = [e for name, e in small.items() if name != "base"]
    assert small["base"] not in others
    assert len(set(others)) == len(others)


def test_level_summary() -> None:
    rows = run(TINY, device="cpu")
    table = level_summary(TINY, rows, "cpu", epochs=(0, 2, 9))
    assert set(table["epoch"]) == {0, 2}
    assert len(table) == 4
    top = rows[(rows["level"] == 0) & (rows["epoch"] == 2)]
    row = table[(table["level"] == 0) & (table["epoch"] == 2)].iloc[0]
    for column, value in (("mean", "correlation"), ("belief", "belief_correlation"), ("limit", "ceiling")):
        assert row[column] == pytest.approx(top[value].mean())
    assert row["std"] == pytest.approx(top["correlation"].std())
    assert row["norm"] == pytest.approx(top["operator_norm"].mean())
    assert (row["seeds"], row["together"], row["polarity_low"], row["device"]) == (2, 2, 0.8, "cpu")


def test_seed_summary() -> None:
    rows = run(TINY, device="cpu")
    table = seed_summary(TINY, rows, "cpu", epochs=(0, 2, 9))
    assert len(table) == 2 * 2 * 2  # levels, epochs, seeds
    one = rows[(rows["level"] == 1) & (rows["epoch"] == 2) & (rows["seed"] == 1)]
    row = table[(table["level"] == 1) & (table["epoch"] == 2) & (table["network"] == 1)].iloc[0]
    names = {
        "mean": "correlation",
        "belief": "belief_correlation",
        "sum": "sum_correlation",
        "best_sum": "best_sum_correlation",
        "limit": "ceiling",
        "sum_limit": "sum_ceiling",
        "norm": "operator_norm",
    }
    for column, value in names.items():
        assert row[column] == pytest.approx(one[value].mean())
    assert (row["seed"], row["seeds"], row["width"], row["together"]) == (0, 2, 2, 2)
    assert set(tabulate({"one": TINY}, summary=seed_summary, epochs=(2,))["network"]) == {0, 1}


def test_pre_activations_have_a_limit_of_their_own() -> None:
    rows = run(replace(TINY, depth=3, width=6, steps=50, batch=64, evaluation=1024), device="cpu")
    assert (rows["sum_correlation"] <= rows["sum_ceiling"] + 6.0 / 1024**0.5).all()
    assert (rows["sum_ceiling"] <= rows["ceiling"] + 0.02).all()  # both from draws
    alike = (rows["sum_correlation"] - rows["sum_ceiling"] * rows["best_sum_correlation"]).abs()
    assert alike.max() < 6.0 / 1024**0.5


def test_kept_of_the_leading_step() -> None:
    rows = run(replace(TINY, epochs=0), device="cpu").assign(
        update_dot=3.0, leading_square=4.0, update_square=-1.0
    )
    table = level_summary(TINY, rows, "cpu")
    assert table["kept"].tolist() == [0.75, 0.75]
    assert table[["cosine", "ratio"]].isna().all(axis=None)  # the measured step is lost in its noise


def test_a_stopped_table_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tabulate(PAIR, tmp_path / "whole.csv")
    assert list(tmp_path.iterdir()) == [tmp_path / "whole.csv"]  # no checkpoints are left
    monkeypatch.setattr(tables, "run", _fails_at_width_3)
    with pytest.raises(RuntimeError, match="power cut"):
        tabulate(PAIR, tmp_path / "part.csv")
    monkeypatch.setattr(tables, "run", _only_width_3)
    pd.testing.assert_frame_equal(tabulate(PAIR, tmp_path / "part.csv"), whole)


def test_a_stopped_run_goes_on_in_its_groups_whatever_memory_is_free_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds that are trained together share batches: other groups would be another run."""
    need = memory.bytes_per_seed(TINY, torch.device("cpu"))
    batch_loss, calls = train._Group.batch_loss, 0

    def stops(self: Any, count: int) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 12:
            raise RuntimeError("power cut")
        return batch_loss(self, count)

    monkeypatch.setattr(memory, "free_bytes", lambda _: 2 * need)  # one at a time
    whole = tabulate({"one": TINY}, tmp_path / "whole.csv")
    assert set(whole["together"]) == {1}
    monkeypatch.setattr(train._Group, "batch_loss", stops)
    with pytest.raises(RuntimeError, match="power cut"):
        tabulate({"one": TINY}, tmp_path / "part.csv")
    monkeypatch.setattr(train._Group, "batch_loss", batch_loss)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 20 * need)
    pd.testing.assert_frame_equal(tabulate({"one": TINY}, tmp_path / "part.csv"), whole)


@pytest.mark.parametrize(("name", "settings"), [("latents", grid()), ("latents-variations", variations())])
def test_the_stored_tables_hold_their_settings(
    name: str, settings: dict[str, TreeExperiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of the book is opened as if it had been made here: nothing is run, no row is lost."""
    monkeypatch.setattr(tables, "run", lambda *_, **__: pytest.fail("was run again"))
    path = tmp_path / "table.csv"
    stored(name).to_csv(path, index=False)
    pd.testing.assert_frame_equal(tabulate(settings, path), stored(name))


def test_the_stored_variations_begin_as_the_code_does() -> None:
    """The table's own seeds give its start to the digits of single precision; other seeds do not."""
    base = replace(variations()["base"], epochs=0)
    rows = run(base, device="cpu", together=base.seeds)
    stored_ = stored("latents-variations").query("setting == 'base' and epoch == 0").set_index("level")
    for value, column in (("correlation", "mean"), ("belief_correlation", "belief")):
        found = level_table(rows, value, epochs=(0,))["mean"].droplevel(1)
        assert found.tolist() == pytest.approx(stored_[column].tolist(), abs=1e-5)
        other = level_table(rows[rows["seed"] != 3], value, epochs=(0,))["mean"].droplevel(1)
        assert (other - stored_[column]).abs().max() > 1e-3


def test_names_tell_numbers_apart() -> None:
    near = replace(TINY, polarity=(0.70000001, 1.0), rate=1 / 3)
    assert setting_name(TINY) == "δ = 0.8, 2 neurons"
    assert setting_name(near, ["rate"]) == "δ = 0.70000001, 2 neurons, rate = 0.3333333333333333"


def test_rows_of_other_settings_stay(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    tabulate({"one": TINY}, path)
    assert set(tabulate({"two": PAIR["two"]}, path)["setting"]) == {"two"}
    assert list(pd.read_csv(path)["setting"].unique()) == ["one", "two"]
    assert set(tabulate({"one": TINY}, device="cpu")["setting"]) == {"one"}  # nothing kept


@pytest.mark.bad_input
def test_bad_tables(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    tabulate({"one": TINY}, path)
    with pytest.raises(ValueError, match="path holds 'one' with width = 2, got 3; name another file"):
        tabulate({"one": PAIR["two"]}, path)
    with pytest.raises(OSError, match="nowhere"):
        tabulate({"one": TINY}, tmp_path / "nowhere" / "table.csv")
    with pytest.raises(FileNotFoundError, match="name must be that of a table in book/results, got 'lost'"):
        stored("lost")


def _fails_at_width_3(experiment: TreeExperiment, **how: Any) -> pd.DataFrame:
    if experiment.width == 3:
        raise RuntimeError("power cut")
    return run(experiment, **how)


def _only_width_3(experiment: TreeExperiment, **how: Any) -> pd.DataFrame:
    assert experiment.width == 3, "the other setting is in the file"
    return run(experiment, **how)
