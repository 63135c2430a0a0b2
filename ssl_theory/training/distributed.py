"""Training by several processes, started by torchrun: one per GPU, on one machine or many.

Wrap the model in DistributedDataParallel, let `loss` embed its `share` of the batch and compare it with what
`gather` returns, and negatives are those of the whole batch. Each function is harmless in a single process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor

from ssl_theory.training.devices import resolve_device

__all__ = [
    "all_gather_object",
    "gather",
    "process_group",
    "rank",
    "share",
    "world_size",
]

T = TypeVar("T")


@contextmanager
def process_group(device: str = "auto") -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did.

    Args:
        device: As in `resolve_device`; where GPUs are meant, each process takes the one of its local rank.

    Yields:
        The device of this process.

    Raises:
        ValueError: If the device is not there.
    """
    own = resolve_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield own
        return
    if own.type == "cuda":
        own = resolve_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield own
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if _joined() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if _joined() else 0


def share(batch: Shaped[Tensor, "N *rest"]) -> Shaped[Tensor, "n *rest"]:
    """Return this process's part of a batch that all have drawn alike, from generators of one seed.

    Args:
        batch: The whole batch, shape (N, ...).

    Returns:
        A view of n = N / world size consecutive rows, in the order of the ranks.

    Raises:
        ValueError: If the rows cannot be shared evenly.
    """
    if len(batch) % world_size():
        raise ValueError(
            f"batch must have a multiple of {world_size()} rows, one part per process, got {len(batch)}"
        )
    return batch.chunk(world_size())[rank()] if len(batch) else batch


def gather(embeddings: Float[Tensor, "n *rest"]) -> Float[Tensor, "N *rest"]:
    """Return the embeddings of all processes in the order of their ranks, differentiably.

    DistributedDataParallel averages the gradients of the processes. With a loss that is the mean over this
    process's anchors, the result is the gradient of the mean over all anchors, exactly.

    Args:
        embeddings: Of this process, shape (n, ...), the same in each.

    Returns:
        Shape (n · world size, ...).
    """
    return cast(Tensor, _Gather.apply(embeddings)) if _joined() else embeddings  # type: ignore[no-untyped-call]


def all_gather_object(value: T) -> list[T]:
    """Return the values that all processes gave, in the order of their ranks; waits for all of them."""
    values: list[Any] = [value] * world_size()
    if _joined():
        dist.all_gather_object(values, value)
    return values


class _Gather(torch.autograd.Function):
    """What the others do with our rows comes back to us: backward adds up and takes our part."""

    @staticmethod
    def forward(_: Any, embeddings: Tensor) -> Tensor:
        parts = [
            torch.empty_like(embeddings, memory_format=torch.contiguous_format) for _ in range(world_size())
        ]
        dist.all_gather(parts, embeddings.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()
