"""The experiment on latent trees from the shell."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ssl_theory.experiments import trees
from ssl_theory.experiments.trees import TreeExperiment, memory, tables, tabulate
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.experiment import add_experiment

TINY = [
    *("--seeds", "2", "--epochs", "3", "--depth", "2", "--steps", "3", "--batch", "8"),
    *("--temperature", "0.5", "--evaluation", "64", "--device", "cpu"),
]


def call(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_experiment(parser.add_subparsers(required=True))
    options = parser.parse_args(["experiment", "hltm", *arguments])
    options.command(options)


def test_a_table_of_two_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.csv"
    call([*TINY, "--polarity", "0.7", "--width", "2", "3", "--no-bias", "--init", "uniform", "-o", str(path)])
    table = pd.read_csv(path)
    assert len(table) == 2 * 2 * 4  # settings, levels, epochs 0 to 3
    assert set(table["width"]) == {2, 3}
    assert set(table["epoch"]) == {0, 1, 2, 3}
    assert not table["bias"].any()
    assert table["normalise"].all()
    for column, value in (("torch", torch.__version__), ("device", "cpu"), ("seeds", 2), ("init", "uniform")):
        assert set(table[column]) == {value}
    assert "16 rows in" in capsys.readouterr().out
    experiment = TreeExperiment(
        polarity=(0.7, 1.0), width=3, seeds=2, epochs=3, depth=2, steps=3, batch=8, temperature=0.5,
        evaluation=64, bias=False, init="uniform",
    )  # fmt: skip
    again = tabulate({"δ = 0.7, 3 neurons": experiment}, tmp_path / "again.csv", epochs=range(4))
    pd.testing.assert_frame_equal(table[table["width"] == 3].reset_index(drop=True), again)


def test_finished_settings_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    call([*TINY, "--width", "2", "-o", str(path)])
    first = pd.read_csv(path)
    ran: list[int] = []

    def run(experiment: TreeExperiment, **how: Any) -> pd.DataFrame:
        ran.append(experiment.width)
        return trees.run(experiment, **how)

    monkeypatch.setattr(tables, "run", run)
    call([*TINY, "--width", "2", "3", "-o", str(path)])
    assert ran == [3]
    both = pd.read_csv(path)
    pd.testing.assert_frame_equal(both[both["width"] == 2], first)
    with pytest.raises(UsageError, match=r"path holds 'δ = 0.8, 2 neurons' with rate = 0.1, got 0.2"):
        call([*TINY, "--width", "2", "--rate", "0.2", "-o", str(path)])
    assert pd.read_csv(path).equals(both)


def test_a_killed_command_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed at some step of a setting, it takes up the last epoch and ends with the same table."""
    slow = [*TINY, "--width", "2", "--steps", "30", "--epochs", "6"]
    call([*slow, "-o", str(tmp_path / "whole.csv")])
    path = tmp_path / "part.csv"
    command = [
        sys.executable,
        "-m",
        "ssl_theory.publishing.cli",
        "experiment",
        "hltm",
        *slow,
        "-o",
        str(path),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".part-cpu/*.pt")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    call([*slow, "-o", str(path)])
    pd.testing.assert_frame_equal(pd.read_csv(path), pd.read_csv(tmp_path / "whole.csv"))


def test_a_checkpoint_of_another_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*TINY, "-o", str(tmp_path / "table.csv")]
    monkeypatch.setattr(tables, "level_summary", _power_cut)
    with pytest.raises(RuntimeError, match="power cut"):
        call([*arguments, "--rate", "0.1"])
    monkeypatch.undo()
    with pytest.raises(BuildError, match="belongs to another run.*rate.*delete it to start anew"):
        call([*arguments, "--rate", "0.2"])


def _power_cut(*_: object, **__: object) -> None:
    raise RuntimeError("power cut")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "0"], "width must be at least 1, got 0"),
        (["--seeds", "-1"], "seeds must be at least 1, got -1"),
        (["--loss", "nce"], "loss must be one of infonce"),
        (["--init", "zero"], "init must be one of uniform, standard, got 'zero'"),
        (["--device", "abacus"], "device must be auto or one of"),
        (["--polarity", "1.5"], r"polarity must satisfy 0 ≤ low ≤ high ≤ 1, got \(1.5, 1.0\)"),
        (["--polarity", "nan"], "polarity must satisfy"),
        (["--root-polarity", "-2"], r"root_polarity must lie in \[−1, 1\], got -2"),
        (["--depth", "60"], r"depth and branching must give at most 16777216 nodes, got 2\^60 leaves"),
        (["--together", "0"], "together must be at least 1, got 0"),
    ],
)
def test_one_line_names_what_is_wrong(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        call([*TINY, "-o", str(tmp_path / "table.csv"), *arguments])
    assert not list(tmp_path.iterdir())


@pytest.mark.bad_input
def test_a_run_that_cannot_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*TINY, "-o", str(tmp_path / "table.csv")]
    with pytest.raises(BuildError, match="try a lower --rate or a higher --temperature"):
        call([*arguments, "--rate", "1e30", "--no-normalise"])
    with pytest.raises(BuildError, match="a seed of this experiment takes about"):
        call([*arguments, "--depth", "22"])
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1000)
    with pytest.raises(BuildError, match="lower the depth, width, batch or evaluation"):
        call([*arguments, "--width", "4"])


@pytest.mark.bad_input
def test_a_table_that_cannot_be_written_is_found_out_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/table.csv cannot be written: No such file"):
        call([*TINY, "-o", str(tmp_path / "nowhere" / "table.csv")])
    with pytest.raises(UsageError, match="Is a directory"):
        call([*TINY, "-o", str(tmp_path)])
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UsageError, match="path must hold a table of this experiment"):
        call([*TINY, "-o", str(other)])
    assert other.read_text(encoding="utf-8") == "a,b\n1,2\n"
