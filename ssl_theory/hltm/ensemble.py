"""Many latent trees of one shape, worked on together with a leading seed dimension."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.hltm.model import LatentModel
from ssl_theory.hltm.tree import CategoricalTree, LatentTree
from ssl_theory.validation import require_integer

__all__ = [
    "TreeEnsemble",
]


class TreeEnsemble(LatentModel):
    """S trees of one shape; every result of a tree gains a leading dimension S.

    Args:
        trees: At least one tree; all with the same parents and numbers of states.

    Raises:
        TypeError: If an entry is no tree.
        ValueError: If there is no tree, or the trees differ in shape or in numbers of states.
    """

    trees: tuple[CategoricalTree, ...]

    def __init__(self, trees: Sequence[CategoricalTree]) -> None:
        self.trees = tuple(trees)
        if not self.trees:
            raise ValueError("trees must hold at least one tree, got none")
        for index, tree in enumerate(self.trees):
            if not isinstance(tree, CategoricalTree):
                raise TypeError(f"trees[{index}] must be a tree, got {type(tree).__name__}")
            if (tree.parents, tree.state_counts) != (self.trees[0].parents, self.trees[0].state_counts):
                raise ValueError(
                    f"trees[{index}] must have the parents and the numbers of states of trees[0], "
                    f"{self.trees[0].parents} and {self.trees[0].state_counts}, "
                    f"got {tree.parents} and {tree.state_counts}"
                )
        first = self.trees[0]
        binary = set(first.state_counts) == {2}
        super().__init__(
            first.topology,
            torch.stack([tree.root_law for tree in self.trees]),
            torch.stack([tree.transitions for tree in self.trees]),
            first.state_counts,
            torch.stack([tree.polarities for tree in self.trees]) if binary else None,
        )

    @classmethod
    def regular(
        cls,
        seeds: int,
        depth: int,
        branching: int = 2,
        *,
        polarity: tuple[float, float],
        root_polarity: float = 0.0,
        generator: torch.Generator,
    ) -> TreeEnsemble:
        """Return `seeds` ≥ 1 independent trees, drawn as by `LatentTree.regular`; other arguments as there.

        Raises:
            TypeError: If an integer argument is not an integer, or a polarity is not a real number.
            ValueError: If an argument is out of range.
        """
        seeds = require_integer("seeds", seeds, 1)
        return cls(
            [
                LatentTree.regular(
                    depth, branching, polarity=polarity, root_polarity=root_polarity, generator=generator
                )
                for _ in range(seeds)
            ]
        )

    def __len__(self) -> int:
        return len(self.trees)

    @property
    def root_polarity(self) -> Float[Tensor, " S"]:
        """ρ_0 of each tree; ValueError unless all nodes have two states."""
        return torch.stack([tree.root_polarity for tree in self.trees]).to(self.device)
