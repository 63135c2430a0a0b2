"""One training loop for the networks of the book, ensembles of tree networks and image encoders.

The loop knows nothing of data: `loss(step)` draws its own batch. Everything else is torch's: optimisers,
schedules, autocast, compilation. What it adds is a tidy history, a stop at the first number that is not
finite, and checkpoints from which a run goes on as if it had never stopped.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from ssl_theory.checkpoints import (
    describe,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from ssl_theory.validation import require_integer

Precision = Literal["full", "bfloat16"]
Row = dict[str, Any]


class NonFiniteError(ArithmeticError):
    """Training met a loss, a gradient or a weight that is NaN or infinite.

    Attributes:
        step: How many updates had been made before the one that failed.
        loss: The loss of that step.
        parameters: Names of the parameters whose gradient (or value) is not finite.
    """

    def __init__(self, step: int, loss: float, parameters: Sequence[str], what: str = "gradient") -> None:
        self.step, self.loss, self.parameters = step, loss, tuple(parameters)
        where = (
            f"the {what} is not finite in {', '.join(parameters)}" if parameters else "the gradient is finite"
        )
        super().__init__(
            f"training stopped at step {step}: the loss is {loss:g}, {where}; "
            "check the inputs and try a smaller step size"
        )


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of that name.

    Args:
        name: "auto" (a GPU if there is one, else the CPU), "cpu", "cuda" or "cuda:<index>".

    Returns:
        The device.

    Raises:
        ValueError: If the name is none of these, or the device is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    present = ["cpu", *(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    if name not in present:
        raise ValueError(
            f"device must be auto or one of {', '.join(present)}, as torch {torch.__version__} finds here, "
            f"got {name!r}"
        )
    return torch.device(name)


def fit(
    model: nn.Module,
    loss: Callable[[int], Tensor],
    *,
    steps: int,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    schedule: Callable[[torch.optim.Optimizer], LRScheduler] | None = None,
    measure: Callable[[int], Mapping[str, Any]] | None = None,
    measure_every: int = 1,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    generators: Sequence[torch.Generator] = (),
    configuration: Mapping[str, Any] | None = None,
    precision: Precision = "full",
    compile: bool | str = False,  # noqa: A002
    channels_last: bool = False,
    check_every: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Train a model in place and return its history.

    A step calls `loss(step)`, differentiates it and lets the optimiser update the parameters. If the file
    `checkpoint` exists, the run goes on from there: on the CPU it ends bit for bit where the uninterrupted
    one does, if all randomness comes from `generators` or torch's global state. Ctrl-C lets the step finish
    and saves; a killed process loses what came after its last checkpoint.

    Args:
        model: Holds the parameters, on their device. For a `ReLUNetwork`, a ParameterList of clones of its
            weights (without clone() the list shares their memory), from which the loss builds the network.
        loss: Maps the step, 0 … steps − 1, to a scalar tensor.
        steps: How many updates in all, those of a resumed run included.
        optimizer: Makes the optimiser from the parameters, such as `partial(torch.optim.SGD, lr=0.1)`.
        schedule: Makes a schedule from the optimiser; it advances once a step.
        measure: Maps the number of updates made so far to columns of the history: a scalar each, or for
            several rows sequences of one length, beside which scalars are repeated. Must not alter the model.
        measure_every: Measure before the first update, after every so many, and after the last.
        checkpoint: File to resume from and to save to.
        checkpoint_every: Updates between saves; None for twenty saves a run. The last state is saved too.
        generators: All generators that `loss` and `measure` draw from; their states are saved.
        configuration: Whatever else makes this run what it is, in JSON's types; a checkpoint of another
            configuration is refused.
        precision: "full" for the dtype of the parameters, "bfloat16" for autocast.
        compile: True, or a mode of torch.compile, compiles the model's forward pass when it is first called.
        channels_last: Store images and convolution weights with the channels last.
        check_every: How often losses and gradients are checked to be finite; None for every step on the CPU
            and every 50 steps on a GPU, which would have to wait at each look. Always before a save.
        progress: Show a progress bar with the last measurements.

    Returns:
        One or more rows per measurement: `step`, the updates made so far; `loss`, the mean loss of the
        steps since the measurement before (NaN at step 0); and the columns of `measure`.

    Raises:
        TypeError: If an argument, or what `loss` or `measure` returns, is of the wrong type.
        ValueError: If an argument is out of range or no parameter is to be trained.
        NonFiniteError: If a loss, gradient or weight is not finite; the last checkpoint is kept.
        CheckpointError: If the checkpoint is damaged or belongs to another run.
        OSError: If the checkpoint cannot be written; found out before the first step.
    """
    steps = require_integer("steps", steps, 0)
    measure_every = require_integer("measure_every", measure_every, 1)
    checkpoint_every = require_integer(
        "checkpoint_every", max(1, steps // 20) if checkpoint_every is None else checkpoint_every, 1
    )
    if precision not in ("full", "bfloat16"):
        raise ValueError(f"precision must be 'full' or 'bfloat16', got {precision!r}")
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        model.compile(mode=compile if isinstance(compile, str) else None)
    run = _Run(model, loss, optimizer, schedule, generators, precision, check_every, configuration)
    path = None if checkpoint is None else Path(checkpoint)
    start = 0 if path is None else run.resume(path, steps)

    with (
        _deferred_interrupt(path is not None) as interrupted,
        tqdm(total=steps, initial=start, disable=not progress) as bar,
    ):
        for step in range(start, steps + 1):
            if step % measure_every == 0 or step == steps:
                run.measure(step, measure)
                bar.set_postfix(run.latest())
            if path and (
                step == steps or (step > start and step % checkpoint_every == 0) or interrupted.is_set()
            ):
                run.save(path, step)
            if interrupted.is_set():
                raise KeyboardInterrupt
            if step < steps:
                run.update(step)
                bar.update()
    run.require_finite_weights(steps)
    return pd.DataFrame(run.rows)


class _Run:
    """What changes during training, with the pieces that change it."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[int], Tensor],
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], LRScheduler] | None,
        generators: Sequence[torch.Generator],
        precision: Precision,
        check_every: int | None,
        configuration: Mapping[str, Any] | None,
    ) -> None:
        self.model, self.loss, self.generators, self.precision = model, loss, tuple(generators), precision
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ValueError("model must have at least one parameter that requires a gradient, got none")
        self.device = next(iter(self.parameters.values())).device
        self.optimizer = optimizer(list(self.parameters.values()))
        self.schedule = None if schedule is None else schedule(self.optimizer)
        self.check_every = require_integer(
            "check_every", (1 if self.device.type == "cpu" else 50) if check_every is None else check_every, 1
        )
        self.description = self._describe(configuration)
        self.rows: list[Row] = []
        self.measured = -1
        self.losses: list[float] = []  # since the last measurement
        self.unchecked: list[tuple[int, list[str], Tensor]] = []

    def update(self, step: int) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        try:
            with self._autocast():
                loss = self.loss(step)
            _require_scalar(loss)
            loss.backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError as error:
            error.add_note(f"at step {step}: lower the batch or ensemble size, or try precision='bfloat16'")
            raise
        self._watch(step, loss.detach())
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()

    def measure(self, step: int, measure: Callable[[int], Mapping[str, Any]] | None) -> None:
        if self.measured == step:  # by the run that was interrupted here
            return
        self._check()
        mean = math.fsum(self.losses) / len(self.losses) if self.losses else math.nan
        self.rows += _rows({"step": step, "loss": mean}, {} if measure is None else measure(step))
        self.measured = step
        self.losses.clear()

    def latest(self) -> dict[str, float]:
        # Means over the rows of the last measurement, for the progress bar.
        rows = [row for row in self.rows if row["step"] == self.measured]
        numbers = (
            {k: [row[k] for row in rows] for k, v in rows[0].items() if isinstance(v, float)} if rows else {}
        )
        return {name: math.fsum(values) / len(values) for name, values in numbers.items()}

    def save(self, path: Path, step: int) -> None:
        self._check()
        self.require_finite_weights(step)
        state = {
            "description": self.description,
            "step": step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "random": random_state(self.generators),
            "rows": self.rows,
            "measured": self.measured,
            "losses": self.losses,
        }
        save_checkpoint(path, state)

    def resume(self, path: Path, steps: int) -> int:
        # Without a file, save first: a path that cannot be written, or read back, is found out at once.
        if not path.exists():
            self.save(path, 0)
        state = load_checkpoint(path, self.description)
        if state["step"] > steps:
            raise ValueError(f"steps must be at least {state['step']}, which {path} has reached, got {steps}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        restore_random_state(state["random"], self.generators)
        self.rows, self.measured, self.losses = state["rows"], state["measured"], state["losses"]
        return int(state["step"])

    def require_finite_weights(self, step: int) -> None:
        bad = [name for name, p in self.parameters.items() if not bool(torch.isfinite(p).all())]
        if bad:
            raise NonFiniteError(step, self.losses[-1] if self.losses else math.nan, bad, "value")

    def _watch(self, step: int, loss: Tensor) -> None:
        # Keep the loss and the largest entry of each gradient where they are; look at them when it is time.
        gradients = {n: p.grad for n, p in self.parameters.items() if p.grad is not None and p.numel()}
        sizes = [torch.linalg.vector_norm(g, math.inf).double() for g in gradients.values()]
        self.unchecked.append((step, list(gradients), torch.stack([loss.double(), *sizes])))
        if len(self.unchecked) >= self.check_every:
            self._check()

    def _check(self) -> None:
        if not self.unchecked:
            return
        values = iter(torch.cat([numbers for *_, numbers in self.unchecked]).tolist())
        for step, names, _ in self.unchecked:
            loss = next(values)
            bad = [name for name, size in zip(names, values, strict=False) if not math.isfinite(size)]
            if bad or not math.isfinite(loss):
                raise NonFiniteError(step, loss, bad)
            self.losses.append(loss)
        self.unchecked.clear()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "full":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _describe(self, configuration: Mapping[str, Any] | None) -> dict[str, str]:
        groups = self.optimizer.state_dict()["param_groups"]
        return describe(
            model={name: [str(t.dtype), *t.shape] for name, t in self.model.state_dict().items()},
            optimizer={"name": type(self.optimizer).__name__, "groups": groups},
            schedule=None
            if self.schedule is None
            else {"name": type(self.schedule).__name__, **self.schedule.state_dict()},
            generators=[str(g.device) for g in self.generators],
            precision=self.precision,
            configuration=dict(configuration or {}),
        )


def _rows(first: Row, metrics: Mapping[str, Any]) -> list[Row]:
    """Return the rows of one measurement: sequences become rows, scalars are repeated in each."""
    if taken := first.keys() & metrics.keys():
        raise ValueError(f"measure must not return columns named {sorted(first)}, got {sorted(taken)}")
    columns = {n: v.tolist() if hasattr(v, "tolist") else v for n, v in metrics.items()}
    columns = {
        n: list(v) if isinstance(v, Sequence) and not isinstance(v, str) else v for n, v in columns.items()
    }
    lengths = {n: len(v) for n, v in columns.items() if isinstance(v, list)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"measure must return sequences of one length, got {lengths}")
    count = next(iter(lengths.values()), 1)
    return [{**first, **{n: v[i] if n in lengths else v for n, v in columns.items()}} for i in range(count)]


def _require_scalar(loss: object) -> None:
    if not isinstance(loss, Tensor):
        raise TypeError(f"loss must return a scalar tensor, got {type(loss).__name__}")
    if loss.ndim or not loss.requires_grad:
        raise ValueError(
            "loss must return a scalar tensor that depends on the parameters, "
            f"got shape {tuple(loss.shape)}, requires_grad={loss.requires_grad}"
        )


@contextmanager
def _deferred_interrupt(active: bool) -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets, so that the step at hand can finish; a second Ctrl-C acts at once."""
    pressed = threading.Event()

    def note(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    here = threading.current_thread() is threading.main_thread()
    if not (active and here and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        yield pressed
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
