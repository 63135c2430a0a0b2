"""Two processes on the CPU compute what one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_theory.checks import relative_error
from ssl_theory.training import CheckpointError, distributed
from tests.training.two_processes import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.training.two_processes", str(folder)],
            env={
                **os.environ,  # and what torchrun sets:
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(120) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


def test_loss_and_gradient_are_those_of_the_whole_batch(results: list[dict[str, Any]]) -> None:
    expected = Run().gradient()
    for result in results:
        assert relative_error(result["gradient"]["loss"], expected["loss"]) < 1e-10
        for gradient, one in zip(result["gradient"]["gradients"], expected["gradients"], strict=True):
            assert relative_error(gradient, one) < 1e-10


def test_without_gradients_through_the_gathered_negatives_it_is_another(
    results: list[dict[str, Any]],
) -> None:
    expected, cut = Run().gradient(), results[0]["cut off"]
    assert relative_error(cut["loss"], expected["loss"]) < 1e-10
    assert relative_error(cut["gradients"][0], expected["gradients"][0]) > 1e-3


def test_training_follows_one_process(results: list[dict[str, Any]]) -> None:
    expected = Run().fit(None, 6)
    for result in results:
        assert relative_error(result["training"]["losses"], expected["losses"]) < 1e-10
        for weight, one in zip(result["training"]["weights"], expected["weights"], strict=True):
            assert relative_error(weight, one) < 1e-10


def test_a_resumed_run_equals_the_uninterrupted_one(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert torch.equal(result["resumed"]["losses"], result["whole"]["losses"])
        for weight, whole in zip(result["resumed"]["weights"], result["whole"]["weights"], strict=True):
            assert torch.equal(weight, whole)


def test_gather_keeps_the_order_of_the_ranks(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["embeddings"].flatten().tolist() == [0.0, 0.0, 1.0, 1.0]


def test_another_number_of_processes_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="processes: 2 there, 1 here"):
        Run().fit(folder / "run.ckpt", 6)


def test_alone() -> None:
    z = torch.ones(3, 2)
    assert distributed.gather(z) is z
    assert torch.equal(distributed.share(z), z)
    assert distributed.share(z[:0]).shape == (0, 2)
    with distributed.process_group("cpu") as device:
        assert device == torch.device("cpu")
        assert (distributed.world_size(), distributed.rank()) == (1, 0)
    assert distributed.all_gather_object("a") == ["a"]


@pytest.mark.bad_input
def test_uneven_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(ValueError, match="batch must have a multiple of 2 rows, .*, got 3"):
        distributed.share(torch.ones(3, 2))


@pytest.mark.bad_input
def test_absent_device() -> None:
    with (
        pytest.raises(ValueError, match="device must be auto or one of"),
        distributed.process_group("cuda:99"),
    ):
        pass
