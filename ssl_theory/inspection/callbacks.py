"""Inspections while a model trains with Lightning (T12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor, nn

from ssl_theory.inspection.actions import Loss
from ssl_theory.inspection.inspect import inspect
from ssl_theory.inspection.series import CHEAP, EVERY, scalars
from ssl_theory.validation import require_integer

if TYPE_CHECKING:
    Callback = Any
    lacking: Exception | None
else:
    try:
        from lightning.pytorch.callbacks import Callback

        lacking = None
    except (ImportError, RuntimeError) as error:  # absent or broken: said when someone asks for the callback
        Callback, lacking = object, error

__all__ = ["InspectionCallback"]


class InspectionCallback(Callback):  # type: ignore[misc]
    """Inspects a model on the same views every so many steps, for Lightning.

    Rows go to the trainer's loggers and to `table`. The first inspection is before the first step.

    Args:
        views: As for `inspect`, the same each time.
        loss: As for `inspect`.
        every: Steps between two inspections, at least 1.
        part: Returns what is inspected of the Lightning module; None for the module itself.
        **options: Further arguments of `inspect`. By default few directions, probes, nulls and splits.

    Raises:
        ModuleNotFoundError: If Lightning is not installed: pip install 'ssl-theory[lightning]'.
        ImportError: If Lightning, or what it needs, cannot be imported; or a RuntimeError.
        TypeError: If `every` is not an integer.
        ValueError: If it is less than 1.
    """

    def __init__(
        self,
        views: Tensor,
        loss: Loss,
        *,
        every: int = EVERY,
        part: Callable[[nn.Module], nn.Module] | None = None,
        **options: Any,
    ) -> None:
        if lacking is not None:
            raise lacking
        super().__init__()
        self.every = require_integer("every", every, 1)
        self.views, self.loss, self.part = views, loss, part
        self.options: Mapping[str, Any] = CHEAP | options
        self.rows: list[dict[str, float]] = []

    @property
    def table(self) -> pd.DataFrame:
        """A row for each inspection: `step` and what `scalars` gives."""
        return pd.DataFrame(self.rows)

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Inspect the model as it starts."""
        self._inspect(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: nn.Module, *_: Any) -> None:
        """Inspect the model if it is time, once for each step of the optimiser."""
        step = trainer.global_step
        if step % self.every == 0 and step != self.rows[-1]["step"]:
            self._inspect(trainer, pl_module)

    def _inspect(self, trainer: Any, pl_module: nn.Module) -> None:
        if not trainer.is_global_zero:
            return
        model = pl_module if self.part is None else self.part(pl_module)
        numbers = scalars(inspect(model, self.views, loss=self.loss, **self.options))
        self.rows.append({"step": trainer.global_step, **numbers})
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step=trainer.global_step)
