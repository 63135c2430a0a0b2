"""The experiment from the shell."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import pytest
import torch

from ssl_theory.experiments.hltm import TreeExperiment, run, summary
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.experiment import add_experiment

TINY = [
    *("--seeds", "2", "--epochs", "2", "--depth", "2", "--steps", "3", "--batch", "8"),
    *("--temperature", "0.5", "--device", "cpu"),
]


def call(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_experiment(parser.add_subparsers(required=True))
    options = parser.parse_args(["experiment", "hltm", *arguments])
    options.command(options)


def test_a_table_of_two_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.csv"
    call([*TINY, "--polarity", "0.7", "--width", "2", "3", "--no-bias", "-o", str(path)])
    table = pd.read_csv(path)
    assert len(table) == 2 * 2 * 3
    assert set(table["width"]) == {2, 3}
    assert set(table["epoch"]) == {0, 1, 2}
    assert not table["bias"].any()
    assert table["normalise"].all()
    assert set(table["torch"]) == {torch.__version__}
    assert "12 rows in" in capsys.readouterr().out
    experiment = TreeExperiment(
        polarity=(0.7, 1.0),
        width=3,
        seeds=2,
        epochs=2,
        depth=2,
        steps=3,
        batch=8,
        temperature=0.5,
        bias=False,
    )
    again = summary(experiment, run(experiment, device="cpu"), "cpu")
    own = table[table["width"] == 3].reset_index(drop=True)
    for column in ("mean", "std", "ceiling", "share", "cosine"):
        assert own[column].to_numpy() == pytest.approx(again[column].to_numpy(), rel=1e-5)
    assert (own["share"] * own["ceiling"]).to_numpy() == pytest.approx(own["mean"].to_numpy(), abs=0.02)


def test_a_checkpoint_of_another_configuration(tmp_path: Path) -> None:
    arguments = [*TINY, "--checkpoint", str(tmp_path / "run"), "-o", str(tmp_path / "table.csv")]
    call([*arguments, "--rate", "0.1"])
    with pytest.raises(BuildError, match="rate"):
        call([*arguments, "--rate", "0.2"])


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "0"], "width must be at least 1, got 0"),
        (["--loss", "nce"], "loss must be one of infonce"),
        (["--device", "abacus"], "device must be auto or one of"),
        (["--polarity", "1.5"], r"polarity must satisfy 0 ≤ low ≤ high ≤ 1, got \(1.5, 1.0\)"),
    ],
)
def test_one_line_names_what_is_wrong(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        call([*TINY, "-o", str(tmp_path / "table.csv"), *arguments])
    assert not list(tmp_path.iterdir())


@pytest.mark.bad_input
def test_a_table_that_cannot_be_written_is_found_out_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the table cannot be written to .*nowhere/table.csv: No such file"):
        call([*TINY, "-o", str(tmp_path / "nowhere" / "table.csv")])
    with pytest.raises(UsageError, match="Is a directory"):
        call([*TINY, "-o", str(tmp_path)])
