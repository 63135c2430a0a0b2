"""The experiment on latent trees as one would first write it: a node at a time, a sample at a time.

It is the yardstick of `benchmarks.hltm`, not part of the library. Two samplers: one draws each latent by
numpy's `choice` from its row of the transition matrix, the other by a bare comparison with Python's `random`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ssl_theory.hltm import LatentTree


class PlainTree:
    """A latent tree with one transition matrix per node, sampled node by node."""

    def __init__(self, tree: LatentTree) -> None:
        self.parents = list(tree.parents)
        self.leaves = list(tree.leaves)
        self.transitions = [matrix.tolist() for matrix in tree.transitions]
        self.root_law = tree.root_law.tolist()

    def sample(self, draw: Callable[[list[float]], int], root: int | None = None) -> list[int]:
        states = [draw(self.root_law) if root is None else root]
        for node in range(1, len(self.parents)):
            states.append(draw(self.transitions[node][states[self.parents[node]]]))
        return states

    def triples(self, batch: int, draw: Callable[[list[float]], int]) -> tuple[Tensor, Tensor, Tensor]:
        anchors, positives, negatives = [], [], []
        for _ in range(batch):
            one = self.sample(draw)
            two = self.sample(draw, one[0])
            other = self.sample(draw)
            anchors.append([float(one[v]) for v in self.leaves])
            positives.append([float(two[v]) for v in self.leaves])
            negatives.append([float(other[v]) for v in self.leaves])
        return torch.tensor(anchors), torch.tensor(positives), torch.tensor(negatives)


def by_choice(law: list[float]) -> int:
    return int(np.random.choice(2, p=law))  # noqa: NPY002  as one would first write it


def by_comparison(law: list[float]) -> int:
    return int(random.random() < law[1])


class PlainNetwork(nn.Module):
    """One Linear per inner node, called one after the other."""

    def __init__(self, tree: LatentTree, width: int) -> None:
        super().__init__()
        self.children_of = tree.topology.children
        self.leaves = list(tree.leaves)
        self.layers = nn.ModuleDict()
        for node in tree.topology.inner:
            fan = sum(width if self.children_of[child] else 1 for child in self.children_of[node])
            self.layers[str(node)] = nn.Linear(fan, width)

    def forward(self, pixels: Tensor) -> dict[int, Tensor]:
        values = {leaf: pixels[:, [place]] for place, leaf in enumerate(self.leaves)}
        for node in reversed(range(len(self.children_of))):
            if self.children_of[node]:
                inputs = torch.cat([values[child] for child in self.children_of[node]], 1)
                output = self.layers[str(node)](inputs)
                values[node] = torch.relu(output) if node else nn.functional.normalize(output, dim=1)
        return values


def train_step(
    network: PlainNetwork, optimizer: torch.optim.Optimizer, triple: tuple[Tensor, ...], temperature: float
) -> None:
    anchor, positive, negative = (network(x)[0] for x in triple)
    r_pos = 0.5 * (anchor - positive).square().sum(1)
    r_neg = 0.5 * (anchor - negative).square().sum(1)
    logits = torch.stack([-r_pos, -r_neg], 1) / temperature
    loss = nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def correlations(
    network: PlainNetwork, tree: PlainTree, draws: int, draw: Callable[[list[float]], int]
) -> list[float]:
    states = [tree.sample(draw) for _ in range(draws)]
    pixels = torch.tensor([[float(row[v]) for v in tree.leaves] for row in states])
    with torch.no_grad():
        values = network(pixels)
    result = []
    for name in network.layers:
        node = int(name)
        latent = np.array([row[node] for row in states])
        neurons = values[node].numpy()
        with np.errstate(invalid="ignore"):
            found = [abs(np.corrcoef(neurons[:, j], latent)[0, 1]) for j in range(neurons.shape[1])]
        result.append(float(np.nan_to_num(found).max()))
    return result
