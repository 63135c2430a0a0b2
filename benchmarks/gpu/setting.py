"""Where a part runs, how long it may take, and how it times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ssl_theory.training.cuda_graphs import record

T = TypeVar("T")
TRIALS, WINDOW = 5, 0.05  # timed windows, and their least length in seconds


@dataclass(frozen=True)
class Setting:
    """A GPU, or in a rehearsal the CPU in its place."""

    rehearsal: bool
    deadline: float  # on time.monotonic's clock

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.rehearsal else "cuda")

    @property
    def name(self) -> str:
        return str(self.device)

    def pick(self, real: T, small: T) -> T:
        """Return the first on a GPU, the second in a rehearsal."""
        return small if self.rehearsal else real

    def left(self) -> float:
        """Return the seconds that this part still has."""
        return self.deadline - time.monotonic()

    def wait(self) -> None:
        """Wait for the GPU's queue."""
        if not self.rehearsal:
            torch.cuda.synchronize()

    def once(self, work: Callable[[], T]) -> tuple[T, float]:
        """Return a result and the seconds it took."""
        self.wait()
        start = time.perf_counter()
        result = work()
        self.wait()
        return result, time.perf_counter() - start

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the median time of some work: warmed up, many calls in a queue where it is short."""
        for _ in range(self.pick(3, 1)):
            _, single = self.once(work)
        count = self.pick(max(1, min(200, int(WINDOW / max(single, 1e-6)))), 1)

        def window() -> None:
            for _ in range(count):
                work()

        return statistics.median(self.once(window)[1] for _ in range(self.pick(TRIALS, 1))) / count

    def recorded(
        self, work: Callable[[], Tensor], generators: Sequence[torch.Generator] = ()
    ) -> Callable[[], Tensor]:
        """Return the work as one CUDA graph; in a rehearsal the work itself."""
        return work if self.rehearsal else record(work, generators, self.device)

    def peak(self, work: Callable[[], object]) -> int:
        """Return the bytes that some work takes at most beyond what is held already; 0 in a rehearsal."""
        if self.rehearsal:
            work()
            return 0
        self.wait()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        self.wait()
        return torch.cuda.max_memory_allocated() - before
