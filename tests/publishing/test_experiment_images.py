"""The experiment on images from the shell."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from ssl_theory.experiments.images import ImageExperiment, ImageRun, run
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.experiment import add_experiment

TINY = [
    *("--channels", "4", "8", "--strides", "2", "2", "--hidden", "8", "--outputs", "4", "--batch", "512"),
    *("--epochs", "1", "--measure-every", "1", "--copies", "2", "--device", "cpu"),
]


def call(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_experiment(parser.add_subparsers(required=True))
    options = parser.parse_args(["experiment", "images", *arguments])
    options.command(options)


def test_a_table_of_two_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out"
    arguments = [*TINY, "--loss", "infonce", "covariance", "--seeds", "2", "-o", str(out)]
    call(arguments)
    table = pd.read_csv(out / "table.csv")
    assert len(table) == 2 + 2 * 2 * 2
    assert table["loss_name"].unique().tolist() == ["pixels", "infonce", "covariance"]
    assert set(table["torch"]) == {torch.__version__}
    assert len(list(out.glob("*.pt"))) == 4
    experiment = ImageExperiment(
        channels=(4, 8), strides=(2, 2), hidden=8, outputs=4, batch=512, epochs=1, measure_every=1, copies=2
    )
    again = run(experiment, device="cpu")
    own = table[(table["loss_name"] == "infonce") & (table["seed"] == 0)]
    for column in ("linear", "knn", "rank", "balance"):
        assert own[column].to_numpy() == pytest.approx(again[column].to_numpy(), rel=1e-5)
    shown = capsys.readouterr().out
    assert "10 rows in" in shown
    assert "covariance" in shown


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Without random views or BatchNorm, negatives being those of the whole batch, only rounding differs."""
    arguments = [*TINY, "--strength", "0", "--no-batch-norm", "--epochs", "2"]
    call([*arguments, "-o", str(tmp_path / "one")])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "ssl_theory.publishing.cli", "experiment", "images", *arguments]
    started = [
        subprocess.Popen(
            [*command, "-o", str(tmp_path / "two")],
            env={
                **os.environ,  # and what torchrun sets:
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(150) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    one, two = (pd.read_csv(tmp_path / name / "table.csv") for name in ("one", "two"))
    assert two["loss"][2:].to_numpy() == pytest.approx(one["loss"][2:].to_numpy(), rel=1e-4)
    assert two["linear"].to_numpy() == pytest.approx(one["linear"].to_numpy(), abs=0.01)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "0"], "temperature must be finite and greater than 0, got 0.0"),
        (["--loss", "nce"], "loss must be one of infonce"),
        (["--data", "mnist"], "data must be one of digits, cifar10, stl10"),
        (["--batch", "2000"], "batch must be at most 1437, the number of images, got 2000"),
        (["--device", "abacus"], "device must be auto or one of"),
        (["--precision", "half"], "precision must be full or bfloat16, got 'half'"),
    ],
)
def test_one_line_names_what_is_wrong(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        call([*TINY, "-o", str(tmp_path), *arguments])
    assert not list(tmp_path.glob("*.csv"))


@pytest.mark.bad_input
def test_memory_folder_and_divergence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the folder .*file cannot be made: File exists"):
        call([*TINY, "-o", str(tmp_path / "file")])

    def full(self: ImageRun, step: int) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ImageRun, "loss", full)
    with pytest.raises(BuildError, match="out of memory on cpu. At step 0: lower the batch"):
        call([*TINY, "-o", str(tmp_path / "out")])

    def diverges(self: ImageRun, step: int) -> torch.Tensor:
        return next(self.model.parameters()).sum() * float("nan")

    monkeypatch.setattr(ImageRun, "loss", diverges)
    with pytest.raises(BuildError, match="step 0.*try a lower --rate"):
        call([*TINY, "-o", str(tmp_path / "out")])
