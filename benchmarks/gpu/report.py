"""What a part found: numbers, claims with their bounds, and what went wrong, saved after every line."""

from __future__ import annotations

import json
import math
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

_PATH = re.compile(r"(?:/[\w.+\-]+){2,}/?")


class Report:
    """Numbers and claims of one part, in a file from the first line on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers: dict[str, Any] = {}
        self.claims: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        self.save()

    def number(self, name: str, value: Any) -> None:
        """Keep a number without a claim."""
        self.numbers[name] = rounded(value)
        print(f"  {name:78} {self.numbers[name]}", file=sys.stderr, flush=True)
        self.save()

    def at_most(self, name: str, value: float, bound: float) -> None:
        """Claim that an error, a time or a size is no larger than a bound."""
        self._claim(name, value, "at most", bound, value <= bound)  # False for NaN

    def at_least(self, name: str, value: float, bound: float) -> None:
        """Claim that a ratio reaches a bound."""
        self._claim(name, value, "at least", bound, value >= bound)

    def _claim(self, name: str, value: float, kind: str, bound: float, passed: bool) -> None:
        claim = {"claim": name, "value": rounded(value), kind: bound, "passed": bool(passed)}
        self.claims[name] = claim  # the last word counts
        mark = "holds" if passed else "FAILS"
        print(f"  {name:78} {rounded(value)} ({kind} {bound:g}: {mark})", file=sys.stderr, flush=True)
        self.save()

    @contextmanager
    def guarded(self, name: str) -> Iterator[None]:
        """Let the rest go on if something fails, which is kept under its name."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.errors[name] = described(error)
            self.save()

    def save(self) -> None:
        content = {"claims": list(self.claims.values()), "numbers": self.numbers, "errors": self.errors}
        self.path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def described(error: BaseException) -> str:
    """Return an error and the lines it passed, without folders."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    text = _PATH.sub("<path>", str(error))
    return f"{type(error).__name__}: {text[:600]} [{where}]"


def rounded(value: Any) -> Any:
    """Return a number with four digits that JSON can hold; anything else as it is."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else str(value)
    return value


def distance(value: Tensor, expected: Tensor) -> float:
    """Return ‖value − expected‖ / ‖expected‖, in float64 on the CPU."""
    value, expected = (t.detach().double().cpu() for t in (value, expected))
    if value.shape != expected.shape:
        raise ValueError(f"shapes differ: {tuple(value.shape)} and {tuple(expected.shape)}")
    return float((value - expected).norm() / expected.norm())
