"""What an experiment on latent trees is made of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

from ssl_theory.hltm.network import Init
from ssl_theory.hltm.topology import regular_size
from ssl_theory.validation import require_integer, require_real

LossName = Literal["infonce", "simple", "positives", "shared-weight"]
Optimizer = Literal["sgd", "adam"]
Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class TreeExperiment:
    """One cell of the table of T11.

    Args:
        polarity: (low, high), the interval of |ρ|; the signs are random.
        width: Neurons of every inner node.
        seeds: Number of networks, each with a tree of its own.
        epochs: Passes of `steps` updates.
        depth: Edges between the root and each leaf.
        branching: Children of an inner node.
        root_polarity: ρ_0.
        batch: Triples in an update.
        steps: Updates in an epoch; 500 of 128 triples are 64,000.
        loss: "infonce" with one negative; "simple"; "positives" for r+ alone; "shared-weight" for −p with p
            the softmax of the batch's mean distances, which gives all pairs of a batch one weight.
        temperature: τ.
        optimizer: "sgd" or "adam".
        rate: Step size at the start.
        schedule: "constant", or "cosine" for a step size that falls to 0 along half a cosine.
        init: How weights are drawn, see `TreeNetwork.random`.
        bias: Whether neurons have biases.
        normalise: Whether the output is divided by its norm.
        evaluation: Draws on which networks are measured, at least 64.
        seed: Source of all randomness.

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range or a name is unknown.
    """

    polarity: tuple[float, float] = (0.8, 1.0)
    width: int = 10
    seeds: int = 30
    epochs: int = 20
    depth: int = 5
    branching: int = 2
    root_polarity: float = 0.0
    batch: int = 128
    steps: int = 500
    loss: LossName = "infonce"
    temperature: float = 0.1
    optimizer: Optimizer = "sgd"
    rate: float = 0.1
    schedule: Schedule = "constant"
    init: Init = "standard"
    bias: bool = True
    normalise: bool = True
    evaluation: int = 2048
    seed: int = 0

    @property
    def nodes(self) -> tuple[int, int]:
        """Number of nodes of a tree, and of those that are inner nodes."""
        return regular_size(self.depth, self.branching)

    def __post_init__(self) -> None:
        for name in ("width", "seeds", "depth", "branching", "batch", "steps"):
            require_integer(name, getattr(self, name), 1)
        regular_size(self.depth, self.branching)
        require_integer("epochs", self.epochs, 0)
        require_integer("evaluation", self.evaluation, 64)
        require_integer("seed", self.seed, 0)
        require_real("rate", self.rate, above=0.0)
        require_real("temperature", self.temperature, above=0.0)
        if len(self.polarity) != 2:
            raise ValueError(f"polarity must be a pair (low, high), got {self.polarity}")
        low, high = self.polarity
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"polarity must satisfy 0 ≤ low ≤ high ≤ 1, got ({low}, {high})")
        require_real("root_polarity", self.root_polarity)
        if abs(self.root_polarity) > 1.0:
            raise ValueError(f"root_polarity must lie in [−1, 1], got {self.root_polarity}")
        _require_one_of("init", self.init, get_args(Init))
        _require_one_of("loss", self.loss, get_args(LossName))
        _require_one_of("optimizer", self.optimizer, get_args(Optimizer))
        _require_one_of("schedule", self.schedule, get_args(Schedule))


def _require_one_of(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
