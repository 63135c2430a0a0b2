from __future__ import annotations

import os
import pickle
import warnings
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import pytest
import torch

import ssl_theory
from ssl_theory.training import checkpoints
from ssl_theory.training.checkpoints import (
    CheckpointError,
    atomic_write,
    describe,
    load_checkpoint,
    save_checkpoint,
)

STATE = {"description": {"a": "1"}, "tensor": torch.arange(300.0), "rows": [{"step": 0, "loss": 0.5}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "run", STATE)
    return tmp_path / "run"


def test_round_trip(path: Path) -> None:
    state = load_checkpoint(path, {"a": "1"})
    assert torch.equal(state["tensor"], STATE["tensor"])
    assert state["rows"] == STATE["rows"]
    assert set(state["versions"]) == {"python", "torch", "ssl-theory"}


def test_every_damage_is_noticed_or_harmless(path: Path) -> None:
    whole = path.read_bytes()
    noticed = 0
    positions = range(0, len(whole), 13)
    for position in positions:
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        try:
            state = load_checkpoint(path, {"a": "1"})
        except CheckpointError as error:
            assert str(path) in str(error)  # noqa: PT017
            noticed += 1
        else:  # a bit of the archive's own padding
            assert torch.equal(state["tensor"], STATE["tensor"])
            assert state["rows"] == STATE["rows"]
    assert noticed > len(positions) / 2


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_truncated(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="run is damaged, or no checkpoint: delete it to start anew"):
        load_checkpoint(path, {"a": "1"})


def test_something_else(path: Path) -> None:
    torch.save({"model": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="run is no checkpoint of this library"):
        load_checkpoint(path, {})


@pytest.mark.parametrize("key", ["description", "versions"])
@pytest.mark.parametrize("value", [None, "text"])
def test_a_part_is_missing(path: Path, key: str, value: object) -> None:
    state = {"kind": checkpoints.KIND, "description": {}, "versions": {}}
    torch.save({**state, key: value} if value else {k: v for k, v in state.items() if k != key}, path)
    with pytest.raises(CheckpointError, match=rf"run is damaged: delete it .* \(it has no {key}\)"):
        load_checkpoint(path, {})


class Shout:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("shouted",)


def test_runs_no_code_from_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    torch.save({"kind": checkpoints.KIND, "description": {}, "x": Shout()}, path)
    with pytest.raises(CheckpointError, match="damaged, or no checkpoint"):
        load_checkpoint(path, {})
    path.write_bytes(pickle.dumps(Shout()))
    with pytest.raises(CheckpointError, match="damaged, or no checkpoint"):
        load_checkpoint(path, {})
    assert not Path("shouted").exists()


def test_another_version_warns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_versions", lambda: {"torch": "1.0"})
    with pytest.warns(UserWarning, match="may differ from an uninterrupted one"):
        load_checkpoint(path, {"a": "1"})
    save_checkpoint(path, STATE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(path, {"a": "1"})


def test_a_checkout_that_is_not_installed_has_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(Distribution, "from_name", unknown)
    save_checkpoint(tmp_path / "run", STATE)
    assert load_checkpoint(tmp_path / "run", {"a": "1"})["versions"]["ssl-theory"] == ssl_theory.__version__


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as file:
            file.write(b"ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert path.read_text() == "old"
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_describe_is_flat_and_exact() -> None:
    parts = {
        "a": {"lr": 0.1 + 0.2, "betas": (0.9, 0.99)},
        "b": [{"x": None}, {"y": print}],
        "c": torch.tensor(2),
    }
    assert describe(**parts) == {
        "a.lr": "0.30000000000000004",
        "a.betas": "[0.9, 0.99]",
        "b.0.x": "null",
        "b.1.y": '"builtin_function_or_method"',
        "c": "2",
    }
