"""One sweep: whatever stops it, the same call goes on."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.experiments.store import Setting, folder_of, key_of
from ssl_theory.experiments.sweep import Shard, sweep
from ssl_theory.training import NonFiniteError

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53), st.booleans()
)


def rows_of(rate: float, folder: Path | None) -> pd.DataFrame:
    return pd.DataFrame({"kind": "square", "rate": rate, "epoch": [0, 1], "value": [rate**2, rate / 3]})


def setting(rate: float, work: object = rows_of) -> Setting:
    return Setting(f"rate {rate}", {"kind": "square", "rate": rate}, partial(work, rate))  # type: ignore[arg-type]


def never(rate: float, folder: Path | None) -> pd.DataFrame:
    raise AssertionError(f"{rate} was run again")


def leaves_a_checkpoint(error: BaseException, rate: float, folder: Path | None) -> pd.DataFrame:
    assert folder is not None
    (folder / "step.pt").write_bytes(b"half")
    raise error


def is_killed_once(mark: Path, rate: float, folder: Path | None) -> pd.DataFrame:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rows_of(rate, folder)


def test_settings_are_not_run_again_and_their_order_is_that_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    said: list[str] = []
    first = sweep([setting(0.1), setting(0.2)], path, report=said.append)
    assert said == ["1/2 rate 0.1", "2/2 rate 0.2"]
    again = sweep([setting(0.2, never), setting(0.3), setting(0.1, never)], path, report=said.append)
    assert said[2:] == ["2 of 3 are there already", "3/3 rate 0.3"]
    assert again["rate"].tolist() == [0.2, 0.2, 0.3, 0.3, 0.1, 0.1]
    pd.testing.assert_frame_equal(
        again[again["rate"] != 0.3].sort_values(["rate", "epoch"], ignore_index=True), first
    )
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("rate", [0.33333333, 0.1 + 0.2, 1e-17, 123456789.125])
def test_a_table_accepts_its_own_numbers(rate: float, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    first = sweep([setting(rate)], path)
    assert first["rate"].tolist() == [rate, rate]
    assert first["value"].tolist() == pytest.approx([rate**2, rate / 3], rel=1e-5)
    pd.testing.assert_frame_equal(sweep([setting(rate, never)], path), first)
    near = rate * (1 + 1e-9)
    assert sweep([setting(rate, never), setting(near)], path)["rate"].nunique() == 2


@given(NUMBERS, NUMBERS)
def test_keys_are_those_of_the_text_and_tell_numbers_apart(one: float, two: float) -> None:
    assert key_of({"a": one}) == key_of({"a": str(one)})
    assert (key_of({"a": one}) == key_of({"a": two})) == (
        one == two and isinstance(one, bool) == isinstance(two, bool)
    )
    assert key_of({"a": one, "b": two}) == key_of({"b": two, "a": one})


def test_what_is_not_asked_for_is_written_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    held = "kind,rate,epoch,value,note\nround,0.10000,0,1e-05,\nround,007,1,NA,a b\n"
    path.write_text(held, encoding="utf-8")
    sweep([setting(0.1)], path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:3] == held.splitlines()
    assert lines[3].startswith("square,0.1,0,0.01")


def test_labels_that_older_tables_lack(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    sweep([setting(0.1)], path)
    old = Setting("old", {"kind": "square", "rate": 0.1, "loss": "plain"}, partial(never, 0.1))

    def fresh(folder: Path | None) -> pd.DataFrame:
        return rows_of(0.1, folder).assign(loss="other")

    new = Setting("new", {"kind": "square", "rate": 0.1, "loss": "other"}, fresh)
    for _ in range(2):
        assert len(sweep([old, new], path, added={"loss": "plain"})) == 4
    with pytest.raises(ValueError, match="it has no column size"):
        sweep([Setting("x", {"size": 1}, fresh)], path)


def test_one_name_for_two_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"

    def named(folder: Path | None) -> pd.DataFrame:
        return rows_of(0.1, folder).assign(name="base")

    sweep([Setting("base", {"rate": 0.1}, named)], path, names="name")
    with pytest.raises(ValueError, match="path holds 'base' with rate = 0.1, got 0.2; name another file"):
        sweep([Setting("base", {"rate": 0.2}, named)], path, names="name")
    other = sweep([Setting("other", {"rate": 0.1}, partial(never, 0.1))], path, names="name")
    assert set(other["name"]) == {"other"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    full = partial(leaves_a_checkpoint, OSError(28, "No space left on device", "x"))
    diverges = partial(leaves_a_checkpoint, NonFiniteError(3, float("nan"), ["weight"]))
    settings = [setting(0.1, full), setting(0.2), setting(0.3, diverges)]
    with pytest.raises(OSError, match="No space left") as caught:
        sweep(settings, path)
    assert caught.value.__notes__ == ["Setting: rate 0.1.", "1 more failed: rate 0.3."]
    assert pd.read_csv(path)["rate"].unique().tolist() == [0.2]
    kept = folder_of(path)
    assert sorted(p.name for p in kept.rglob("*")) == sorted([settings[0].key, "step.pt"])  # it can go on
    sweep([setting(0.1)], path)
    assert not kept.exists()


def test_refused_and_failed_calls_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(AssertionError, match="was run again"):
        sweep([setting(0.1, never)], path)
    with pytest.raises(NonFiniteError, match="step 3: the loss is nan"):
        sweep([setting(0.1, partial(leaves_a_checkpoint, NonFiniteError(3, float("nan"), [])))], path)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    said: list[str] = []
    stop = partial(leaves_a_checkpoint, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        sweep([setting(0.1), setting(0.2, stop), setting(0.3)], path, report=said.append)
    assert said[-1] == "stopped with 1 of 3 done; the same call goes on from here"
    assert (folder_of(path) / setting(0.2).key / "step.pt").exists()
    assert len(sweep([setting(0.1, never), setting(0.2), setting(0.3)], path)) == 6
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_is_taken_up(tmp_path: Path) -> None:
    """Rows that had not joined the table, half of a file, and checkpoints of a setting that was done."""
    path = tmp_path / "table.csv"
    sweep([setting(0.1)], path)
    folder = folder_of(path)
    (folder / setting(0.1).key).mkdir(parents=True)
    (folder / setting(0.1).key / "seeds-0.pt").write_bytes(b"done")
    (folder / f"{setting(0.2).key}.csv.partial").write_text("kind,ra")
    rows_of(0.3, None).to_csv(folder / f"{setting(0.3).key}.csv", index=False)
    rows_of(0.1, None).round(6).to_csv(folder / f"{setting(0.1).key}.csv", index=False)
    table = sweep([setting(0.1, never), setting(0.2), setting(0.3, never)], path)
    assert table["rate"].tolist() == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]
    assert len(pd.read_csv(path)) == 6
    assert list(tmp_path.iterdir()) == [path]


def test_shards_share_the_settings_and_the_same_call_gathers_them(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    settings = [setting(rate / 8) for rate in range(7)]
    parts = [sweep(settings, path, shard=Shard(index, 3)) for index in (1, 2, 3)]
    assert [part["rate"].nunique() for part in parts] == [3, 2, 2]
    assert not path.exists()
    assert sweep(settings[:1], path, shard=Shard(2, 2)).empty
    table = sweep([setting(rate / 8, never) for rate in range(7)], path)
    assert sorted(set(table["rate"])) == [rate / 8 for rate in range(7)]
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.BaseContext:
    """Return what starts processes that share nothing with this one and have imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@pytest.mark.parametrize("make", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor(
    make: type[Executor], processes: multiprocessing.context.BaseContext, tmp_path: Path
) -> None:
    how = {} if make is ThreadPoolExecutor else {"mp_context": processes}
    settings = [setting(rate / 4) for rate in range(4)]
    with make(2, **how) as executor:  # type: ignore[call-arg]
        table = sweep(settings, tmp_path / "table.csv", executor=executor)
        pd.testing.assert_frame_equal(sweep(settings, executor=executor), sweep(settings))
    pd.testing.assert_frame_equal(table, sweep(settings, tmp_path / "other.csv"))


def test_a_broken_pool_loses_nothing_that_was_done(
    processes: multiprocessing.context.BaseContext, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    settings = [setting(0.1), setting(0.2, partial(is_killed_once, tmp_path / "mark")), setting(0.3)]
    for expected in (BrokenProcessPool, None):
        with ProcessPoolExecutor(1, mp_context=processes) as executor:
            if expected is None:
                assert len(sweep(settings, path, executor=executor)) == 6
            else:
                with pytest.raises(expected) as caught:
                    sweep(settings, path, executor=executor)
                assert caught.value.__notes__[0] == "Setting: rate 0.2."
                assert pd.read_csv(path)["rate"].unique().tolist() == [0.1]


def test_errors_travel_between_processes() -> None:
    error = NonFiniteError(3, float("inf"), ["weight"], "moment")
    error.add_note("Setting: base.")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.parameters, again.__notes__) == (str(error), ("weight",), error.__notes__)


@pytest.mark.bad_input
def test_bad_places(tmp_path: Path) -> None:
    one = [setting(0.1)]
    with pytest.raises(ValueError, match="path must be a regular file, or not be there yet, got a folder"):
        sweep(one, tmp_path)
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="got a device, pipe or socket: .*pipe.csv"):
        sweep(one, pipe)
    with pytest.raises(ValueError, match="got a device, pipe or socket: /dev/null"):
        sweep(one, Path("/dev/null"))
    circle = tmp_path / "circle.csv"
    circle.symlink_to(circle)
    with pytest.raises((ValueError, OSError), match="circle.csv"):
        sweep(one, circle)
    with pytest.raises(OSError, match="No such file or directory.*nowhere"):
        sweep(one, tmp_path / "nowhere" / "table.csv")
    with pytest.raises(OSError, match="File name too long"):
        sweep(one, tmp_path / ("x" * 300))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["circle.csv", "pipe.csv"]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"setting,value\nbase,1\n", b"\xff\xfe\x00", b'kind,rate\n"']
)
def test_foreign_files_are_refused_and_stay(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match="path must hold a table of this experiment, or nothing, got .*other.csv"
    ):
        sweep([setting(0.1)], path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "there" / "table.csv", tmp_path / "link.csv"
    real.parent.mkdir()
    link.symlink_to(real)
    sweep([setting(0.1)], link)
    assert link.is_symlink()
    assert len(sweep([setting(0.1, never)], real)) == 2
    assert list(real.parent.iterdir()) == [real]


@pytest.mark.bad_input
def test_one_call_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    folder_of(path).mkdir()
    with (
        FileLock(folder_of(path) / "lock"),
        pytest.raises(
            ValueError, match="path must be written by one call at a time, another is at .*table.csv"
        ),
    ):
        sweep([setting(0.1)], path)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("index", "count", "message"),
    [
        (0, 3, "index of the shard must be from 1 to 3, got 0"),
        (4, 3, "index of the shard must be from 1 to 3, got 4"),
        (1, 0, "count of the shards must be at least 1, got 0"),
    ],
)
def test_bad_shards(index: int, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shard(index, count)


@pytest.mark.bad_input
def test_rows_of_another_setting_are_not_kept(tmp_path: Path) -> None:
    wrong = Setting("wrong", {"rate": 0.5}, partial(rows_of, 0.1))
    with pytest.raises(
        ValueError, match="work must return rows with the labels of its setting, {'rate': 0.5}"
    ):
        sweep([wrong], tmp_path / "table.csv")
