"""The watch over losses and gradients that stops a training run at the first number that is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_theory.validation import require_integer

__all__ = [
    "NonFiniteError",
]


class NonFiniteError(ArithmeticError):
    """Training met a loss, a gradient or a weight that is NaN or infinite.

    Attributes:
        step: How many updates had been made when it showed.
        loss: The loss of that step.
        parameters: Names of the parameters concerned.
    """

    def __init__(self, step: int, loss: float, parameters: Sequence[str], what: str = "gradient") -> None:
        self.step, self.loss, self.parameters, self._what = step, loss, tuple(parameters), what
        where = (
            f"the {what} of {', '.join(parameters)} is not finite" if parameters else "the gradient is finite"
        )
        super().__init__(
            f"training stopped at step {step}: the loss is {loss:g}, {where}; "
            "check the inputs, or try a smaller step size"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self.step, self.loss, self.parameters, self._what)
        return type(self), arguments, self.__dict__  # raised in another process, it has to travel


class Watch:
    """Keeps the losses of a run, and looks at them and the gradients every so many steps.

    Args:
        parameters: What is trained, by name.
        every: Steps between two looks. A look makes a GPU wait, so there it should be rare; the step and
            the parameter reported are exact all the same.

    Attributes:
        losses: The losses that were looked at and not yet taken by `mean_loss`.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], every: int) -> None:
        self.parameters = parameters
        self.every = require_integer("check_every", every, 1)
        self.losses: list[float] = []
        self._unseen: list[tuple[int, list[str], Tensor]] = []

    def numbers(self, loss: Tensor) -> Tensor:
        """Return a loss and the sizes of the gradients that backward has left, without waiting for them.

        Args:
            loss: Scalar.

        Returns:
            float64: the loss, then the largest |entry| of the gradient of each parameter that has one.
        """
        sizes = [g.abs().max().double() for g in self._gradients().values()]  # vector_norm is slower
        return torch.stack([loss.detach().double(), *sizes])

    def note(self, step: int, numbers: Tensor) -> None:
        """Note a step before its update.

        Args:
            step: The updates made so far.
            numbers: What `numbers` returned.
        """
        self._unseen.append((step, list(self._gradients()), numbers))
        if len(self._unseen) >= self.every:
            self.look()

    def _gradients(self) -> dict[str, Tensor]:
        return {n: p.grad for n, p in self.parameters.items() if p.grad is not None and p.numel()}

    def look(self) -> None:
        """Look at all that was noted.

        Raises:
            NonFiniteError: If a loss or gradient is not finite.
        """
        if not self._unseen:
            return
        numbers = iter(torch.cat([numbers for *_, numbers in self._unseen]).tolist())
        for step, names, _ in self._unseen:
            loss = next(numbers)
            bad = [name for name, size in zip(names, numbers, strict=False) if not math.isfinite(size)]
            if bad or not math.isfinite(loss):
                raise NonFiniteError(step, loss, bad)
            self.losses.append(loss)
        self._unseen.clear()

    def look_at_weights(self, step: int) -> None:
        """Look at the parameters themselves, which a last update may have made overflow.

        Raises:
            NonFiniteError: If one is not finite.
        """
        bad = [name for name, p in self.parameters.items() if not bool(torch.isfinite(p).all())]
        if bad:
            raise NonFiniteError(step, self.losses[-1] if self.losses else math.nan, bad, "value")

    def mean_loss(self) -> float:
        """Return the mean of the losses since the last call; NaN if there was no step."""
        self.look()
        mean = math.fsum(self.losses) / len(self.losses) if self.losses else math.nan
        self.losses.clear()
        return mean
