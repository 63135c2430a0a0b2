"""What an experiment on latent trees is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from numbers import Real
from typing import Literal, get_args

from ssl_theory.experiments.store import Label
from ssl_theory.hltm.network import Init
from ssl_theory.hltm.topology import regular_size
from ssl_theory.validation import require_count, require_flag, require_one_of, require_real, require_seed

LossName = Literal["infonce", "simple", "positives", "shared-weight", "spectral"]
Optimizer = Literal["sgd", "adam"]
Schedule = Literal["constant", "cosine"]
ADDED: dict[str, Label] = {"negatives": 1}  # labels that older tables lack, with what they then are


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
        root_polarity: ρ_0, of the root's law.
        negatives: H, for every anchor.
        batch: Triples in an update.
        steps: Updates in an epoch; 500 of 128 triples are 64,000.
        loss: "infonce"; "simple"; "positives" for r+ alone; "shared-weight" for −p with p
            the softmax of the batch's mean distances, which gives all pairs of a batch one weight;
            "spectral", which needs normalised outputs.
        temperature: τ, of the loss.
        optimizer: "sgd" or "adam".
        rate: Step size at the start.
        schedule: "constant", or "cosine" for a step size that falls to 0 along half a cosine.
        init: How weights are drawn: "standard" as torch does, or "uniform"; see `TreeNetwork.random`.
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
    negatives: int = 1
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
        for name in ("width", "seeds", "depth", "branching", "negatives", "batch", "steps"):
            require_count(name, getattr(self, name))
        regular_size(self.depth, self.branching)
        require_count("epochs", self.epochs, 0)
        require_count("evaluation", self.evaluation, 64)
        require_seed("seed", self.seed)
        require_real("rate", self.rate, above=0.0)
        require_real("temperature", self.temperature, above=0.0)
        require_real("root_polarity", self.root_polarity)
        if abs(self.root_polarity) > 1.0:
            raise ValueError(f"root_polarity must lie in [−1, 1], got {self.root_polarity}")
        self._require_polarity()
        require_flag("bias", self.bias)
        require_flag("normalise", self.normalise)
        for name, kind in (
            ("init", Init),
            ("loss", LossName),
            ("optimizer", Optimizer),
            ("schedule", Schedule),
        ):
            require_one_of(name, getattr(self, name), get_args(kind))
        if self.loss == "spectral" and not self.normalise:
            raise ValueError("normalise must be True for the loss 'spectral', got False")

    def _require_polarity(self) -> None:
        if not isinstance(self.polarity, tuple) or len(self.polarity) != 2:
            raise ValueError(f"polarity must be a pair (low, high), got {self.polarity!r}")
        values: tuple[object, ...] = self.polarity
        if any(isinstance(value, bool) or not isinstance(value, Real) for value in values):
            raise TypeError(f"polarity must hold two real numbers, got {self.polarity!r}")
        low, high = self.polarity
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"polarity must satisfy 0 ≤ low ≤ high ≤ 1, got ({low}, {high})")

    @property
    def labels(self) -> dict[str, Label]:
        """The setting as columns of a table, which tell it from all others."""
        low, high = self.polarity
        fields = asdict(self)
        del fields["polarity"]
        return {"polarity_low": float(low), "polarity_high": float(high), **fields}
