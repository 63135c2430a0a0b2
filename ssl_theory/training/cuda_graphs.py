"""One launch for work that consists of many small kernels: CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ssl_theory.training.checkpoints import random_state, restore_random_state

__all__: list[str] = []

_WARM_UP = 3  # calls before recording, in which libraries make their plans and workspaces


def record(
    work: Callable[[], Tensor], generators: Sequence[torch.Generator], device: torch.device
) -> Callable[[], Tensor]:
    """Record what `work` does on a GPU and return a function that does it again in one launch.

    Random numbers go on from where the generators stand, as if `work` itself had been called each time.

    Args:
        work: Called a few times, then never again. It must do the same in every call, read nothing back
            from the GPU, and draw from `generators` or torch's global generator only. What else it leaves
            behind, gradients say, is written to the same memory in every replay.
        generators: Those on the GPU are made known to the graph.
        device: The GPU.

    Returns:
        A function of no arguments that returns a copy of what `work` returned.
    """
    before = random_state(generators)
    with torch.cuda.device(device):
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(side)
        restore_random_state(before, generators)
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            if generator.device.type == "cuda":
                graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            result = work()

    def replay() -> Tensor:
        graph.replay()
        return result.clone()

    return replay
