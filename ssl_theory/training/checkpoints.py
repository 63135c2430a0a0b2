"""Checkpoints: written whole or not at all, and refused when they are damaged or belong to another run."""

from __future__ import annotations

import io
import json
import os
import platform
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

import ssl_theory

__all__ = [
    "CheckpointError",
]

KIND = "ssl-theory checkpoint 1"

State = dict[str, Any]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, of another kind, or of another run."""


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only when it is complete and on the disc.

    Whatever happens before, the end of the process included, a file that was there before stays as it was.

    Args:
        path: The final name; its folder must exist.

    Yields:
        A binary file to write to.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state atomically, with the versions it was computed by.

    Args:
        path: Where to; replaced as a whole.
        state: Tensors, numbers, strings, and lists and dictionaries of them.

    Raises:
        OSError: If it cannot be written; the previous checkpoint is then intact.
    """
    payload = io.BytesIO()  # serialised first: a full disc then shows as what it is
    torch.save({**state, "kind": KIND, "versions": _versions()}, payload)
    try:
        with atomic_write(path) as file:
            file.write(payload.getbuffer())
    except OSError as error:
        reason = f"the checkpoint could not be written (a previous one is intact): {error.strerror}"
        raise OSError(error.errno, reason, str(path)) from error


def load_checkpoint(path: Path, description: Mapping[str, str]) -> State:
    """Read a state that `save_checkpoint` wrote, on the CPU, running no code that the file might hold.

    Args:
        path: The file.
        description: What the present run is, compared with the state's own "description".

    Returns:
        The state.

    Raises:
        CheckpointError: If the file is damaged, no checkpoint, or describes another run; the message
            names what differs.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        try:
            damaged = zipfile.ZipFile(file).testzip()  # torch itself does not compare the check sums
            file.seek(0)
            state = None if damaged else torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            reason = f"{path} is damaged, or no checkpoint: delete it to start anew ({error})"
            raise CheckpointError(reason) from error
    if damaged:
        raise CheckpointError(f"{path} is damaged: delete it to start anew (its part {damaged} has changed)")
    if not isinstance(state, dict) or state.get("kind") != KIND:
        raise CheckpointError(f"{path} is no checkpoint of this library: choose another path")
    missing = [key for key in ("description", "versions") if not isinstance(state.get(key), Mapping)]
    if missing:
        raise CheckpointError(f"{path} is damaged: delete it to start anew (it has no {missing[0]})")
    _compare(path, state["description"], description)
    if state["versions"] != _versions():
        warnings.warn(
            f"{path} was written by {state['versions']}, this is {_versions()}: "
            "the resumed run may differ from an uninterrupted one",
            stacklevel=2,
        )
    return state


def describe(**parts: Any) -> dict[str, str]:
    """Return nested settings as one flat dictionary of JSON texts, `optimizer.0.lr: 0.1`, to be compared.

    What JSON cannot hold, such as a function, counts by its type alone.
    """
    return dict(_leaves("", parts))


def random_state(generators: Sequence[torch.Generator]) -> State:
    """Return the states of the given generators and of torch's global ones."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"generators": [g.get_state() for g in generators], "cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: State, generators: Sequence[torch.Generator]) -> None:
    """Set the given generators and torch's global ones to the states of `random_state`."""
    for generator, saved in zip(generators, state["generators"], strict=True):
        generator.set_state(saved)
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        entries = [(str(key), entry) for key, entry in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping | list | tuple) for v in value):
        entries = [(str(index), entry) for index, entry in enumerate(value)]
    else:
        plain = value.tolist() if isinstance(value, torch.Tensor) else value
        yield name, json.dumps(plain, default=lambda v: type(v).__name__)
        return
    for key, entry in entries:
        yield from _leaves(f"{name}.{key}" if name else key, entry)


def _compare(path: Path, saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    names = [name for name in {**saved, **now} if saved.get(name) != now.get(name)]
    if names:
        shown = [f"{n}: {saved.get(n, 'absent')} there, {now.get(n, 'absent')} here" for n in names[:8]]
        shown += [f"and {len(names) - 8} more"] if len(names) > 8 else []
        raise CheckpointError(
            f"{path} belongs to another run ({'; '.join(shown)}): "
            "choose another path, or delete it to start anew"
        )


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "ssl-theory": ssl_theory.__version__,
    }
