"""The experiment on latent trees from the shell."""

from __future__ import annotations

import argparse
import os
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
from ssl_theory.publishing import cli
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.experiment import add_experiment

TINY = [
    *("--seeds", "2", "--epochs", "3", "--depth", "2", "--steps", "3", "--batch", "8"),
    *("--temperature", "0.5", "--evaluation", "64", "--device", "cpu"),
]


def call(arguments: list[str], kind: str = "hltm") -> None:
    parser = argparse.ArgumentParser()
    add_experiment(parser.add_subparsers(required=True))
    options = parser.parse_args(["experiment", kind, *arguments])
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


def test_any_option_takes_several_values(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    call(
        [
            *TINY,
            "--epochs",
            "1",
            "--polarity",
            "0.7",
            "0.70000001",
            "--loss",
            "simple",
            "infonce",
            "-o",
            str(path),
        ]
    )
    assert pd.read_csv(path)["setting"].unique().tolist() == [
        "δ = 0.7, 10 neurons, loss = simple",
        "δ = 0.70000001, 10 neurons, loss = simple",
        "δ = 0.7, 10 neurons, loss = infonce",
        "δ = 0.70000001, 10 neurons, loss = infonce",
    ]


def test_finished_settings_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    arguments = [*TINY, "--rate", "0.033333333", "-o", str(path)]  # more digits than the table's measurements
    call([*arguments, "--width", "2"])
    first = pd.read_csv(path)
    ran: list[int] = []

    def run(experiment: TreeExperiment, **how: Any) -> pd.DataFrame:
        ran.append(experiment.width)
        return trees.run(experiment, **how)

    monkeypatch.setattr(tables, "run", run)
    call([*arguments, "--width", "2", "3"])
    assert ran == [3]
    both = pd.read_csv(path)
    pd.testing.assert_frame_equal(both[both["width"] == 2], first)
    with pytest.raises(UsageError, match=r"path holds 'δ = 0.8, 2 neurons' with rate = 0.0333.*, got 0.2"):
        call([*TINY, "--width", "2", "--rate", "0.2", "-o", str(path)])
    assert pd.read_csv(path).equals(both)


def test_a_killed_command_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed at some step of a setting, it takes up the last epoch and ends with the same table."""
    slow = [*TINY, "--width", "2", "--steps", "30", "--epochs", "6"]
    call([*slow, "-o", str(tmp_path / "whole.csv")])
    path = tmp_path / "part.csv"
    program = [sys.executable, "-m", "ssl_theory.publishing.cli", "experiment", "hltm"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*program, *slow, "-o", str(path)], **quiet)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".part.csv.sweep/*/*.pt")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (-signal.SIGKILL, 0)
    call([*slow, "-o", str(path)])
    pd.testing.assert_frame_equal(pd.read_csv(path), pd.read_csv(tmp_path / "whole.csv"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part.csv", "whole.csv"]


def test_shards_give_the_same_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = [*TINY, "--width", "2", "3", "4"]
    call([*grid, "-o", str(tmp_path / "whole.csv")])
    path = tmp_path / "shards.csv"
    for index in (1, 2):
        call([*grid, "--shard", f"{index}/2", "-o", str(path)])
        assert "beside" in capsys.readouterr().out
    assert not path.exists()
    call([*grid, "-o", str(path)])
    assert "3 of 3 are there already" in capsys.readouterr().out
    pd.testing.assert_frame_equal(in_order(path), in_order(tmp_path / "whole.csv"))


def in_order(path: Path) -> pd.DataFrame:
    return pd.read_csv(path).sort_values(["width", "level", "epoch"], ignore_index=True)


@pytest.mark.parametrize("options", [["--seeds", "1000000000"], ["--depth", "13", "--epochs", "100"]])
def test_it_says_at_once_what_will_run(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _: 2**36)
    monkeypatch.setattr(tables, "run", lambda *_, **__: pytest.fail("ran", pytrace=False))
    with pytest.raises(pytest.fail.Exception, match="ran"):
        call(["--width", "2", "5", "--device", "cpu", *options, "-o", str(tmp_path / "table.csv")])
    said = capsys.readouterr().out
    assert "2 settings: δ = 0.8, 2 neurons; δ = 0.8, 5 neurons" in said
    assert "seeds each, " in said
    assert "MiB" in said
    assert "this is large" in said


def test_drawing_many_trees_shows_its_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call([*TINY, "-o", str(tmp_path / "table.csv")])
    shown = capsys.readouterr()
    for stage in ("trees:", "networks:", "beliefs:"):
        assert stage in shown.err
    assert "1/1 δ = 0.8, 10 neurons" in shown.out
    assert "this is large" not in shown.out


def test_ctrl_c_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(experiment: TreeExperiment, **how: Any) -> pd.DataFrame:
        if experiment.width == 3:
            raise KeyboardInterrupt
        return trees.run(experiment, **how)

    monkeypatch.setattr(tables, "run", run)
    arguments = ["experiment", "hltm", *TINY, "--width", "2", "3", "-o", str(tmp_path / "table.csv")]
    assert cli.main(arguments) == 130
    assert "stopped with 1 of 2 done; the same call goes on from here" in capsys.readouterr().out
    assert set(pd.read_csv(tmp_path / "table.csv")["width"]) == {2}


@pytest.mark.parametrize("kind", ["hltm", "images"])
def test_help_names_choices_and_defaults(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stop:
        cli.main(["experiment", kind, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "do hidden neurons learn" in shown or "what does a covariance explain" in shown
    choices = ("--loss [{infonce,", "--schedule [{constant,cosine}")
    for text in (*choices, "(default: infonce)", "-o PATH, --output PATH", "--shard", "(default: auto)"):
        assert text in shown


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "0"], "width must be at least 1, got 0"),
        (["--seeds", "-1"], "seeds must be at least 1, got -1"),
        (["--seed", "99999999999999999999999"], "seed must be from 0 to 8796093022207, got 9999"),
        (["--epochs", "9999999999"], "epochs must be at most 2147483647, got 9999999999"),
        (["--loss", "nce"], r"invalid choice 'nce' for argument '--loss'.*did you mean infonce\?"),
        (["--init", "zero"], r"invalid choice 'zero' for argument '--init'.*\('uniform', 'standard'\)"),
        (["--compile", "nosuch"], "invalid choice 'nosuch' for argument '--compile'.*'max-autotune'"),
        (["--polarty", "0.7"], r"Unrecognized options: --polarty, 0.7; did you mean --polarity\?"),
        (["--width"], "--width takes one or more values, got none"),
        (["--width", "1.5"], "Error parsing --width.*1.5"),
        (["--together", "0"], "together must be at least 1, got 0"),
        (["--shard", "2"], "shard must be index/count, such as 2/8 for the second of eight, got '2'"),
        (["--shard", "3/2"], "index of the shard must be from 1 to 2, got 3"),
        (["--dask", "nonsense"], "dask must be the address of a scheduler, got 'nonsense'"),
        (["--device", "abacus"], "device must be auto or one of"),
        (["--polarity", "1.5"], r"polarity must satisfy 0 ≤ low ≤ high ≤ 1, got \(1.5, 1.0\)"),
        (["--polarity", "nan"], "polarity must satisfy"),
        (["--root-polarity", "-2"], r"root_polarity must lie in \[−1, 1\], got -2"),
        (["--depth", "60"], r"depth and branching must give at most 16777216 nodes, got 2\^60 leaves"),
    ],
)
def test_one_line_names_what_is_wrong(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        call([*TINY, "-o", str(tmp_path / "table.csv"), *arguments])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_mistakes_end_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["experiment", "hltm", *TINY]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("ssl-theory: Missing from ssl-theory experiment hltm: -o PATH, --output PATH")
    assert shown.count("\n") == 1


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_errors_in_one_line_whatever_the_console(encoding: str) -> None:
    """Tyro draws its boxes of errors with the letters that the console has."""
    program = [sys.executable, "-m", "ssl_theory.publishing.cli", "experiment", "hltm"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "40"}
    done = subprocess.run(
        [*program, "-o", "x", "--polarty", "3"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "ssl-theory: Unrecognized options: --polarty, 3; did you mean --polarity?\n"


@pytest.mark.bad_input
def test_a_run_that_cannot_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*TINY, "-o", str(tmp_path / "table.csv")]
    with pytest.raises(BuildError, match="try a lower --rate or a higher --temperature Setting: δ = 0.8"):
        call([*arguments, "--rate", "1e30", "--no-normalise"])
    with pytest.raises(BuildError, match="a seed of this experiment takes about"):
        call([*arguments, "--depth", "22"])
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1000)
    with pytest.raises(BuildError, match="lower the depth, width, batch or evaluation"):
        call([*arguments, "--width", "4"])
    assert not list(tmp_path.iterdir())


@pytest.mark.bad_input
def test_a_table_that_cannot_be_written_is_found_out_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/table.csv cannot be used: No such file"):
        call([*TINY, "-o", str(tmp_path / "nowhere" / "table.csv")])
    with pytest.raises(UsageError, match="path must be a regular file, or not be there yet, got a folder"):
        call([*TINY, "-o", str(tmp_path)])
    with pytest.raises(UsageError, match="got a device, pipe or socket: /dev/null"):
        call([*TINY, "-o", "/dev/null"])
    for text in ("a,b\n1,2\n", "setting,value\nbase,1\n"):
        other = tmp_path / "other.csv"
        other.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match="path must hold a table of this experiment"):
            call([*TINY, "-o", str(other)])
        assert other.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [other]
