"""The experiment on images from the shell."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from ssl_theory import experiments
from ssl_theory.experiments.images import ImageExperiment, ImageRun, run, tables, train
from ssl_theory.images import ImageSet
from ssl_theory.publishing.errors import BuildError, UsageError
from tests.publishing.test_experiment import call as call_experiment

TINY = [
    *("--channels", "4", "8", "--strides", "2", "2", "--hidden", "8", "--outputs", "4", "--batch", "512"),
    *("--epochs", "1", "--measure-every", "1", "--copies", "2", "--device", "cpu"),
]


def call(arguments: list[str]) -> None:
    call_experiment(arguments, "images")


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
        (["--loss", "nce"], r"invalid choice 'nce' for argument '--loss'.*did you mean infonce\?"),
        (["--data", "cifar1"], r"unknown data: 'cifar1'; .*did you mean 'cifar10'\?"),
        (["--channels", "0", "--strides", "2"], r"channels\[0\] must be at least 1, got 0"),
        (["--channels", "2"], r"strides must be as many as channels, got \(2, 2\) for channels \(2,\)"),
        (["--channels"], r"channels must list a number for each layer, got \(\)"),
        (["--strides", "0", "2"], r"strides\[0\] must be at least 1, got 0"),
        (["--beta", "-2", "--beta-convention", "released"], "beta must be greater than -1 with"),
        (["--device", "abacus"], "device must be auto or one of"),
        (["--precision", "half"], "invalid choice 'half' for argument '--precision'"),
        (["--seed", "99999999999999999999999"], "seed must be from 0 to 8796093022207"),
    ],
)
def test_one_line_names_what_is_wrong_before_data_is_read(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "load_images", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(UsageError, match=message):
        call([*TINY, "-o", str(tmp_path / "out"), *arguments])
    assert not list(tmp_path.iterdir())


STAND_IN = ["--encoder", "conv", *TINY, "--hidden", "4", "--outputs", "2", "--batch", "8"]


@pytest.fixture
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put 24 random colour pictures in the place of CIFAR-10."""

    def load(name: str, split: str, **_: object) -> ImageSet:
        g = torch.Generator().manual_seed(len(split))
        count = 24 if split == "train" else 12
        pictures = torch.rand(count, 3, 8, 8, generator=g)
        return ImageSet(
            pictures, torch.arange(count) % 3, name, mean=torch.full((3,), 0.5), std=torch.full((3,), 0.3)
        )

    monkeypatch.setattr(train, "load_images", load)
    train._splits.cache_clear()


@pytest.mark.usefixtures("few_pictures")
def test_the_papers_study_in_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a stand-in for the data, two jobs and the gathering; what is done is not run again."""
    arguments = ["--data", "cifar10", "--study", "paper", *STAND_IN, "-o", str(tmp_path)]
    for index in (1, 2):
        call([*arguments, "--shard", f"{index}/2"])
    monkeypatch.setattr(tables, "run", lambda *_, **__: pytest.fail("was run again"))
    call(arguments)
    assert "18 settings of cifar10: every loss with every beta; 1 seeds, 1 epochs" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "table.csv").query("epoch == 1")
    asked = found[["loss_name", "beta", "beta_convention"]].drop_duplicates()
    assert len(found) == len(asked) == 18
    plain, extended = asked[asked.beta == 0], asked[asked.beta != 0]
    assert set(plain.loss_name) == {"infonce", "covariance", "released-views", "released-originals"}
    assert extended.groupby("loss_name").beta.min().to_dict() == {"infonce": -0.5, "released-originals": -0.5}
    assert set(extended.beta_convention) == {"released"}
    assert found.linear.between(0, 1).all()


@pytest.mark.usefixtures("few_pictures")
def test_the_papers_study_as_the_paper_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(experiments.images, "table", lambda given, **_: pytest.fail(repr(given[0])))
    with pytest.raises(pytest.fail.Exception) as stopped:
        call(["--data", "cifar10", "--study", "paper", "--device", "cpu", "-o", str(tmp_path)])
    first = repr(
        ImageExperiment(
            data="cifar10", encoder="resnet18", hidden=512, outputs=128, temperature=0.5, epochs=500,
            batch=128, rate=1e-3, schedule="constant", measure_every=50,
        )
    )  # fmt: skip
    assert stopped.value.msg == first
    assert "this is large: ResNet-18 wants a GPU" in capsys.readouterr().out


@pytest.mark.bad_input
@pytest.mark.parametrize("option", [["--loss", "infonce"], ["--beta=1"], ["--beta-convention", "book"]])
def test_what_a_study_sets_is_not_given_as_well(option: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{option[0].partition('=')[0]} is set by --study; leave one"):
        call(["--data", "cifar10", "--study", "paper", *option, "-o", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())


@pytest.mark.bad_input
def test_a_batch_that_is_too_large_is_found_out_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "pixels", lambda *_, **__: pytest.fail("was measured"))
    with pytest.raises(UsageError, match="batch must be at most 1437, the number of images, got 2000"):
        call([*TINY, "-o", str(tmp_path), "--batch", "512", "2000"])
    assert not list(tmp_path.iterdir())


def test_the_next_call_keeps_the_rows_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call([*TINY, "--loss", "infonce", "-o", str(tmp_path)])
    monkeypatch.setattr(tables, "pixels", lambda *_, **__: pytest.fail("was measured again"))
    call([*TINY, "--loss", "simple", "--beta", "-0.25", "-o", str(tmp_path)])
    assert "1 of 2 are there already" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["loss_name"].unique().tolist() == ["pixels", "infonce", "simple"]
    assert table["beta"].unique().tolist() == [0.0, -0.25]


@pytest.mark.bad_input
def test_a_foreign_table_stays(tmp_path: Path) -> None:
    other = tmp_path / "table.csv"
    other.write_text("loss_name,seed\npixels,0\n", encoding="utf-8")
    with pytest.raises(UsageError, match="path must hold a table of this experiment.*it has no column"):
        call([*TINY, "-o", str(tmp_path)])
    assert other.read_text(encoding="utf-8") == "loss_name,seed\npixels,0\n"
    assert list(tmp_path.iterdir()) == [other]


@pytest.mark.bad_input
def test_memory_folder_and_divergence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the folder .*file cannot be made: File exists"):
        call([*TINY, "-o", str(tmp_path / "file")])

    def full(self: ImageRun, step: int) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ImageRun, "loss", full)
    with pytest.raises(BuildError, match="out of memory. CUDA out of memory At step 0: lower the batch"):
        call([*TINY, "-o", str(tmp_path / "out")])

    def diverges(self: ImageRun, step: int) -> torch.Tensor:
        return next(self.model.parameters()).sum() * float("nan")

    monkeypatch.setattr(ImageRun, "loss", diverges)
    with pytest.raises(BuildError, match="step 0.*try a lower --rate"):
        call([*TINY, "-o", str(tmp_path / "out")])
