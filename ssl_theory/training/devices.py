"""Names of devices."""

from __future__ import annotations

import torch

__all__ = [
    "resolve_device",
]


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of that name.

    Args:
        name: "auto" (a GPU if there is one, else the CPU), "cpu", "cuda" or "cuda:<index>".

    Returns:
        The device.

    Raises:
        ValueError: If the name is none of these, or the device is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    present = ["cpu", *(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    if name not in present:
        raise ValueError(
            f"device must be auto or one of {', '.join(present)}, as torch {torch.__version__} finds here, "
            f"got {name!r}"
        )
    return torch.device(name)
