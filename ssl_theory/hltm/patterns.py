"""Nodes above few binary pixels see few patterns: which level to work out pattern by pattern, and how."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_theory.hltm.wiring import Level

__all__: list[str] = []

_MOST = 8  # pixels whose pattern fits a byte
# Below these, looking patterns up costs what it saves.
_SHARED_BY = 8  # columns to a pattern
VALUES = 2**18  # of neurons of a level


def pattern_level(levels: Sequence[Level], seeds: int, leaves: int, batch: int) -> tuple[int, int]:
    """Return the highest level whose nodes' children have few patterns for a batch, and a child's leaves.

    Args:
        levels: Of a network, the root's first.
        seeds: Number of networks.
        leaves: Number of pixels.
        batch: Number of columns.

    Returns:
        The level and the number of leaves below each child of its nodes. That number is 0 if there is no such
        level, if it would not pay, or if nodes of a level differ, so that their patterns do, too.
    """
    alike = all(level.gather is None for level in levels)
    if alike and all(level.leaf_rows == slice(0, 0) for level in levels[:-1]):
        for index, level in enumerate(levels[1:]):
            below = leaves // len(level.nodes)
            if below <= _MOST and _SHARED_BY * 2**below <= batch:
                values = seeds * len(level.nodes) * level.width * batch
                return (index, below) if values >= VALUES else (0, 0)
    return 0, 0


@cache
def all_patterns(
    leaves: int, nodes: int, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "pixels patterns"]:
    """Return all patterns of so many binary pixels, the same for every node, one node below the other.

    Column k holds the binary digits of k, the lowest first.
    """
    digits = torch.arange(2**leaves, device=device) >> torch.arange(leaves, device=device).unsqueeze(1)
    return (digits & 1).to(dtype).repeat(nodes, 1)


def pattern_codes(leaves: Bool[Tensor, "S all batch"], count: int) -> Int[Tensor, "S nodes batch"]:
    """Return which pattern each run of `count` leaves shows, as a column of `all_patterns`."""
    bits = leaves.view(torch.uint8).reshape(len(leaves), -1, count, leaves.shape[-1])
    places = torch.arange(count, dtype=torch.uint8, device=leaves.device).unsqueeze(1)
    return (bits << places).sum(2, dtype=torch.uint8).to(torch.int64)
