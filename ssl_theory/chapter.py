"""One object for a chapter: its profile, seed and device, what it draws, checks and hands to its text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from ssl_theory.checks import Check
from ssl_theory.training.devices import resolve_device
from ssl_theory.validation import require_integer

__all__ = ["Chapter", "start"]

GLUED = "application/papermill.record/"  # under which outputs are filed that are not displayed
Profile = Literal["quick", "paper"]
T = TypeVar("T")


@dataclass(frozen=True)
class Chapter:
    """What every chapter needs; made by `start`.

    Attributes:
        name: The chapter's name, its file's stem.
        profile: "quick" or "paper".
        seed: The seed of the generator.
        device: Where it computes.
        generator: The source of everything random, on the CPU, so that all devices see the same numbers.
    """

    name: str
    profile: Profile
    seed: int
    device: torch.device
    generator: torch.Generator = field(repr=False)

    def choose(self, quick: T, paper: T) -> T:
        """Return one of two settings, by the profile."""
        return paper if self.profile == "paper" else quick

    def check(self, claim: str) -> Check:
        """Return the check of a claim of this chapter, to be used in a `with` block."""
        return Check(claim, self.name, profile=self.profile, seed=self.seed, device=str(self.device))

    def glue(self, named: dict[str, Any] | None = None, /, **values: Any) -> None:
        """Hand values or figures to the text.

        Args:
            named: Values by their full names, for what another page shows.
            **values: Values by their names in this chapter: `gain_left` becomes "simple-gain-left".
        """
        own = {f"{self.name}-{key.replace('_', '-')}": value for key, value in values.items()}
        for key, value in {**(named or {}), **own}.items():
            _glue(key, value)

    def normal(self, *shape: int) -> Tensor:
        """Return independent standard normal numbers of a shape, float64 on the chapter's device."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.device)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return independent uniform numbers from [low, high), float64 on the chapter's device."""
        drawn = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * drawn).to(self.device)

    def integer(self, low: int, high: int) -> int:
        """Return a uniform integer with low ≤ k ≤ high."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Return independent uniform integers with low ≤ k ≤ high, int64 on the chapter's device."""
        return torch.randint(low, high + 1, shape, generator=self.generator).to(self.device)


def _glue(name: str, value: Any) -> None:
    """Leave a value in the notebook, where myst-nb finds it; its own `glue` would import all of Sphinx."""
    from IPython.core.formatters import format_display_data  # only where a chapter runs
    from IPython.display import display

    shown, metadata = format_display_data(value)
    metadata["scrapbook"] = {"name": name, "mime_prefix": GLUED}
    display({GLUED + kind: data for kind, data in shown.items()}, raw=True, metadata=metadata)


def start(name: str, profile: str = "quick", seed: int = 0, device: str = "cpu") -> Chapter:
    """Return a chapter's object, with the book's look and one thread, which is what small matrices want.

    Args:
        name: The chapter's name, its file's stem.
        profile: "quick" or "paper".
        seed: The seed of everything random, 0 ≤ seed < 2^63.
        device: "cpu", "cuda", "cuda:1", ….

    Returns:
        The chapter.

    Raises:
        TypeError: If the seed is no integer.
        ValueError: If the profile is unknown, the seed out of range, or the device is not there.
    """
    from ssl_theory.display.figures import use_theme  # draws; what is computed without figures needs none

    if profile not in ("quick", "paper"):
        raise ValueError(f"profile must be 'quick' or 'paper', got {profile!r}")
    seed = require_integer("seed", seed, 0, 2**63 - 1)
    place = resolve_device(device)
    use_theme()
    torch.set_num_threads(1)
    return Chapter(name, profile, seed, place, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
