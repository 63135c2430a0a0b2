"""Times and fits that the benchmarks share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np


def seconds(work: Callable[[], object], repeats: int = 7) -> float:
    """Return the shortest of several times, the one least disturbed by other work on the machine."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return the slope of log time against log size."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def rounded(value: float) -> float:
    return float(f"{value:.3g}")
