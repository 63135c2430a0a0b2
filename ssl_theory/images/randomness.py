"""Code that draws from torch's global state, under an explicit generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["drawing_from"]


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Let draws from torch's global CPU state depend on `generator` alone, and restore that state afterwards.

    kornia's parameters and torch's initial weights come from the global state; both are drawn on the CPU,
    so that they are the same whatever the device of the images.

    Args:
        generator: Source of randomness; one number is drawn from it.

    Yields:
        Nothing.
    """
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))
        yield
