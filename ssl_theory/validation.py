"""Argument checks whose messages say what was given and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64)


def require_float_tensor(name: str, value: object) -> Tensor:
    """Return `value` if it is a float32 or float64 tensor.

    Args:
        name: The argument's name, used in the message.
        value: What was given.

    Returns:
        The same tensor.

    Raises:
        TypeError: If it is no tensor, or of another dtype.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {type(value).__name__}")
    if value.dtype not in FLOATS:
        raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")
    return value


def require_finite(name: str, value: Tensor) -> None:
    """Raise ValueError naming `name` unless `value` is dense and no entry of it is NaN or infinite."""
    if value.layout != torch.strided or value.is_meta:
        kind = "meta" if value.is_meta else "sparse"
        raise ValueError(f"{name} must be a dense tensor that holds numbers, got a {kind} tensor")
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name} must be finite, got NaN or infinite entries")


def require_generator(name: str, value: object) -> torch.Generator:
    """Return `value` if it is a torch.Generator, else raise TypeError naming `name`."""
    if not isinstance(value, torch.Generator):
        raise TypeError(f"{name} must be a torch.Generator, got {type(value).__name__}")
    return value


def require_dtype(name: str, value: object) -> torch.dtype:
    """Return `value` if it is float32 or float64, else raise TypeError naming `name`."""
    if not isinstance(value, torch.dtype) or value not in FLOATS:
        raise TypeError(f"{name} must be torch.float32 or torch.float64, got {value!r}")
    return value


def require_device(name: str, value: object) -> torch.device:
    """Return the device that `value` names.

    Args:
        name: The argument's name, used in the message.
        value: A device, or the name of one.

    Returns:
        The device.

    Raises:
        ValueError: If there is no such device here.
    """
    try:
        device = torch.device(value)  # type: ignore[call-overload]
        torch.empty(0, device=device)
    except (TypeError, RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"{name} must name a device that is there, got {value!r}") from error
    return torch.device(device)


def require_rank(name: str, value: Tensor, rank: int, meaning: str) -> None:
    """Raise ValueError unless `value` has `rank` dimensions, described by `meaning`."""
    if value.ndim != rank:
        raise ValueError(f"{name} must have {rank} dimensions {meaning}, got shape {tuple(value.shape)}")


def require_same_kind(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise TypeError or ValueError unless both tensors share dtype and device.

    Args:
        name: Name of the argument under test.
        value: The tensor under test.
        other_name: Name of what it has to agree with.
        other: The tensor it has to agree with.

    Raises:
        TypeError: If the dtypes differ.
        ValueError: If the devices differ.
    """
    if value.dtype != other.dtype:
        raise TypeError(f"{name} must have the dtype of {other_name}, {other.dtype}, got {value.dtype}")
    require_same_device(name, value, other_name, other)


def require_same_device(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise ValueError unless both tensors are on one device; arguments as in `require_same_kind`."""
    if value.device != other.device:
        raise ValueError(f"{name} must be on the device of {other_name}, {other.device}, got {value.device}")


def require_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int if it is an integer in [low, high].

    Args:
        name: The argument's name, used in the message.
        value: What was given.
        low: Smallest value allowed.
        high: Largest value allowed; None for no bound.

    Returns:
        The integer.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    number = int(value)
    if number < low or (high is not None and number > high):
        allowed = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {allowed}, got {number}")
    return number


def require_real(name: str, value: object, *, above: float = -math.inf) -> float:
    """Return `value` as a float if it is a finite real number greater than `above`.

    Args:
        name: The argument's name, used in the message.
        value: What was given.
        above: Exclusive lower bound.

    Returns:
        The number.

    Raises:
        TypeError: If it is not a real number.
        ValueError: If it is NaN, infinite or not above the bound.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if not math.isfinite(value) or value <= above:
        allowed = "finite" if above == -math.inf else f"finite and greater than {above:g}"
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return float(value)


def require_count(name: str, value: object, low: int = 1) -> int:
    """Return `value` as an int if it counts something that a machine can hold: from `low` to 2³¹ − 1.

    Args:
        name: The argument's name, used in the message.
        value: What was given.
        low: Smallest value allowed.

    Returns:
        The integer.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is out of range.
    """
    number = require_integer(name, value, low)
    if number >= 2**31:
        raise ValueError(f"{name} must be at most {2**31 - 1}, got {number}")
    return number


def require_seed(name: str, value: object) -> int:
    """Return `value` if it is an integer from 0 to 2⁴³ − 1: times 1,000,003 it fits into 64 bits."""
    return require_integer(name, value, 0, 2**43 - 1)


def require_flag(name: str, value: object) -> bool:
    """Return `value` if it is True or False, else raise TypeError naming `name`."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def require_one_of(name: str, value: object, allowed: Collection[str]) -> str:
    """Return `value` if it is one of the names allowed, else raise ValueError naming `name`."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def require_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return `widths` as a tuple if it lists at least two positive integers.

    Raises:
        ValueError: If there are fewer than two entries, or one is not positive.
    """
    if len(widths) < 2:
        raise ValueError(f"widths must list at least n_0 and n_1, got {list(widths)}")
    return tuple(require_integer(f"widths[{i}]", n, 1) for i, n in enumerate(widths))


def require_outputs(name: str, outputs: object) -> Tensor:
    """Return outputs of a view set, shape (N, A, n_L), if they are that and not empty.

    Args:
        name: How a message calls them.
        outputs: f_L, or another function of every view.

    Raises:
        TypeError: If they are no float tensor.
        ValueError: If they have not three dimensions, or one of them is 0.
    """
    require_float_tensor(name, outputs)
    assert isinstance(outputs, Tensor)
    require_rank(name, outputs, 3, "(N objects, A augmentations, n_L)")
    if 0 in outputs.shape:
        raise ValueError(f"{name} must have no dimension of size 0, got shape {tuple(outputs.shape)}")
    return outputs


def require_two_views(first: object, second: object) -> int:
    """Return B if these are the outputs of two views of a batch of objects, both of shape (B ≥ 2, n_L ≥ 1).

    Args:
        first: Outputs of one view.
        second: Outputs of another view of the same objects.

    Raises:
        TypeError: If one is no float tensor, or their dtypes differ.
        ValueError: If shapes or devices differ, B < 2 or n_L < 1.
    """
    require_float_tensor("first", first)
    require_float_tensor("second", second)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    require_same_kind("second", second, "first", first)
    if first.ndim != 2 or first.shape[0] < 2 or first.shape[1] < 1 or second.shape != first.shape:
        raise ValueError(
            f"first and second must share a shape (B ≥ 2, n_L ≥ 1), got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    return int(first.shape[0])
