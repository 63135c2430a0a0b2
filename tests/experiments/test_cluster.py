"""A sweep on the workers of a cluster: two processes of Dask on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from ssl_theory.experiments.store import folder_of
from ssl_theory.experiments.sweep import sweep
from ssl_theory.experiments.trees import TreeExperiment, tabulate
from tests.experiments.test_sweep import is_killed_once, setting
from tests.publishing.test_experiment import TINY as ARGUMENTS
from tests.publishing.test_experiment import call, in_order

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")

TINY = TreeExperiment(seeds=2, epochs=2, depth=2, width=2, steps=2, batch=8, evaluation=64)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Yield the address of a scheduler with two workers."""
    method = {"distributed.worker.multiprocessing-method": "forkserver"}  # they import once for all
    with (
        dask.config.set(method),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        yield cluster.scheduler_address


def test_a_cluster_gives_what_this_process_gives(address: str, tmp_path: Path) -> None:
    pair = {
        "one": TINY,
        "two": TreeExperiment(seeds=1, epochs=1, depth=2, width=3, steps=2, batch=8, evaluation=64),
    }
    with distributed.Client(address) as client, client.get_executor(pure=False) as executor:
        table = tabulate(pair, tmp_path / "there.csv", executor=executor)
    pd.testing.assert_frame_equal(table, tabulate(pair, tmp_path / "here.csv"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here.csv", "there.csv"]


def test_the_command_gives_the_same_table(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = [*ARGUMENTS, "--width", "2", "3"]
    call([*grid, "-o", str(tmp_path / "whole.csv")])
    call([*grid, "--dask", address, "-o", str(tmp_path / "dask.csv")])
    assert "2 workers at tcp://" in capsys.readouterr().out
    pd.testing.assert_frame_equal(in_order(tmp_path / "dask.csv"), in_order(tmp_path / "whole.csv"))


def test_a_killed_worker_loses_nothing_but_its_setting(address: str, tmp_path: Path) -> None:
    """Another worker takes the setting up; the others are not run again."""
    path, mark = tmp_path / "table.csv", tmp_path / "mark"
    settings = [setting(0.1), setting(0.2, partial(is_killed_once, mark)), *map(setting, (0.3, 0.4))]
    with distributed.Client(address) as client, client.get_executor(pure=False) as executor:
        table = sweep(settings, path, executor=executor)
    assert mark.exists()
    assert table["rate"].unique().tolist() == [0.1, 0.2, 0.3, 0.4]
    assert not folder_of(path).exists()
