"""One training loop for the networks of the book, ensembles of tree networks and image encoders.

The loop knows nothing of data: `loss(step)` draws its own batch. Optimisers, schedules, autocast and
compilation are torch's. What is added here is a tidy history, a stop at the first number that is not finite,
and checkpoints from which a run goes on as if it had never stopped.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from ssl_theory.training import distributed
from ssl_theory.training.checkpoints import (
    CheckpointError,
    describe,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from ssl_theory.training.cuda_graphs import record
from ssl_theory.training.devices import resolve_device
from ssl_theory.training.history import Row, column_means, rows_of
from ssl_theory.training.nonfinite import NonFiniteError, Watch
from ssl_theory.validation import require_integer

__all__ = ["CheckpointError", "NonFiniteError", "fit", "resolve_device"]

Loss = Callable[[int], Tensor]
Measure = Callable[[int], Mapping[str, Any]]
MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]
MakeSchedule = Callable[[Optimizer], LRScheduler]
Precision = Literal["full", "bfloat16"]
GRAPH_MODES = ("reduce-overhead", "max-autotune")  # modes of torch.compile that record graphs themselves


def fit(
    model: nn.Module,
    loss: Loss,
    *,
    steps: int,
    optimizer: MakeOptimizer,
    schedule: MakeSchedule | None = None,
    measure: Measure | None = None,
    measure_every: int = 1,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    generators: Sequence[torch.Generator] = (),
    configuration: Mapping[str, Any] | None = None,
    precision: Precision = "full",
    compile: bool | str = False,  # noqa: A002
    graph: bool = False,
    channels_last: bool = False,
    check_every: int | None = None,
    progress: bool | Sequence[str] = False,
) -> pd.DataFrame:
    """Train a model in place and return its history.

    A step calls `loss(step)`, differentiates it and lets the optimiser update the parameters. If the file
    `checkpoint` exists, the run goes on from there: on the CPU it ends bit for bit where the uninterrupted
    one does, if all randomness comes from `generators` or torch's global state. Ctrl-C lets the step finish
    and saves; a killed process loses what came after its last checkpoint.

    Under torchrun every process calls this with its own share of the batch (see
    `ssl_theory.training.distributed`) and the model wrapped in DistributedDataParallel; the first one writes
    the checkpoints, all read them, and Ctrl-C acts at once.

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
        compile: True, or a mode of torch.compile: the model's forward pass is compiled for this run, when it
            is first called.
        graph: Record loss and gradients as one CUDA graph and replay it at every step, so that small kernels
            do not wait to be launched one by one. After a few calls `loss` is not called again: it must do
            the same at every step, read nothing back from the GPU, and draw from `generators` only. These
            few calls may change buffers, such as running statistics.
        channels_last: Store the model's image-shaped weights with the channels last.
        check_every: How often losses and gradients are checked to be finite; None for every step on the CPU
            and every 50 steps on a GPU, which would have to wait at each look. Always before a save.
        progress: Show a progress bar with the last measurements, or with those columns of them.

    Returns:
        One or more rows per measurement: `step`, the updates made so far; `loss`, the mean loss of the
        steps since the measurement before (NaN at step 0); and the columns of `measure`.

    Raises:
        TypeError: If an argument, or what `loss` or `measure` returns, is of the wrong type.
        ValueError: If an argument is out of range or no parameter is to be trained.
        NonFiniteError: If a loss, gradient or weight is not finite; the last checkpoint is kept.
        CheckpointError: If the checkpoint is damaged or belongs to another run.
        OSError: If the checkpoint cannot be written; found out before the first step.
        KeyboardInterrupt: On Ctrl-C, after saving.

    Example:
        >>> model = nn.ParameterList([torch.tensor([8.0])])
        >>> halve = partial(torch.optim.SGD, lr=0.5)
        >>> history = fit(model, lambda step: 0.5 * model[0].square().sum(), steps=3, optimizer=halve)
        >>> history["loss"].tolist()  # before each update, from the second row on
        [nan, 32.0, 8.0, 2.0]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch module, got {type(model).__name__}")
    for name, function in (("loss", loss), ("optimizer", optimizer), ("measure", measure or print)):
        if not callable(function):
            raise TypeError(f"{name} must be callable, got {type(function).__name__}")
    steps = require_integer("steps", steps, 0)
    measure_every = require_integer("measure_every", measure_every, 1)
    often = max(1, steps // 20) if checkpoint_every is None else checkpoint_every
    checkpoint_every = require_integer("checkpoint_every", often, 1)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = _Run(model, loss, optimizer, schedule, generators, precision, check_every, configuration)
    if graph:
        run.use_graph(compile)
    path = None if checkpoint is None else Path(checkpoint)
    start = 0 if path is None else run.resume(path, steps)

    with (
        _compiled(run.model, compile),
        _deferred_interrupt(path is not None) as interrupted,
        tqdm(total=steps, initial=start, disable=not progress or distributed.rank() > 0) as bar,
    ):
        for step in range(start, steps + 1):
            if step % measure_every == 0 or step == steps:
                rows = run.measure(step, measure)
                if not bar.disable:
                    means = column_means(rows)
                    names = means if progress is True else [n for n in progress or () if n in means]
                    bar.set_postfix({name: means[name] for name in names})
            stopping = interrupted.is_set()
            if path and (stopping or step == steps or (step > start and step % checkpoint_every == 0)):
                run.save(path, step)
            if stopping:
                raise KeyboardInterrupt
            if step < steps:
                run.update(step)
                bar.update()
    run.watch.look_at_weights(steps)
    return pd.DataFrame(run.rows)


class _Run:
    """What changes during training, and the pieces that change it."""

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: MakeOptimizer,
        schedule: MakeSchedule | None,
        generators: Sequence[torch.Generator],
        precision: Precision,
        check_every: int | None,
        configuration: Mapping[str, Any] | None,
    ) -> None:
        self.model = model.module if isinstance(model, DistributedDataParallel) else model
        self.loss, self.generators = loss, tuple(generators)
        for index, generator in enumerate(self.generators):
            if not isinstance(generator, torch.Generator):
                raise TypeError(
                    f"generators[{index}] must be a torch.Generator, got {type(generator).__name__}"
                )
        parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if not parameters:
            raise ValueError("model must have at least one parameter that requires a gradient, got none")
        self.device = next(iter(parameters.values())).device
        self.work: Callable[[int], Tensor] = self.gradients
        device = self.device.type
        if precision not in ("full", "bfloat16"):
            raise ValueError(f"precision must be 'full' or 'bfloat16', got {precision!r}")
        self.autocast = torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16")
        self.optimizer = optimizer(list(parameters.values()))
        self.schedule = None if schedule is None else schedule(self.optimizer)
        self.watch = Watch(parameters, (1 if device == "cpu" else 50) if check_every is None else check_every)
        self.rows: list[Row] = []
        self.measured = -1
        self.description = self._describe(precision, configuration or {})

    def use_graph(self, compiled: bool | str) -> None:
        if self.device.type != "cuda" or distributed.world_size() > 1:
            where = f"{self.device.type}, {distributed.world_size()} processes"
            raise ValueError(f"graph needs the model on one GPU and one process, got {where}")
        if compiled in GRAPH_MODES:
            raise ValueError(f"graph cannot record what compile={compiled!r} makes: a graph of its own")
        self.work = self.recorded

    def update(self, step: int) -> None:
        try:
            self.watch.note(step, self.work(step))
            self.optimizer.step()
        except torch.cuda.OutOfMemoryError as error:
            error.add_note(f"At step {step}: lower the batch or ensemble size, or try precision='bfloat16'.")
            raise
        if self.schedule is not None:
            self.schedule.step()

    def gradients(self, step: int) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            loss = _scalar(self.loss(step))
        loss.backward()  # type: ignore[no-untyped-call]
        return self.watch.numbers(loss)

    def recorded(self, step: int) -> Tensor:
        replay = record(partial(self.gradients, step), self.generators, self.device)
        self.work = lambda _: replay()
        return replay()

    def measure(self, step: int, measure: Measure | None) -> list[Row]:
        if self.measured == step:  # by the run that stopped here
            return []
        losses = distributed.all_gather_object(self.watch.mean_loss())
        first: Row = {"step": step, "loss": sum(losses) / len(losses)}
        rows = rows_of(first, {} if measure is None else measure(step))
        self.rows += rows
        self.measured = step
        return rows

    def save(self, path: Path, step: int) -> None:
        self.watch.look()
        self.watch.look_at_weights(step)
        own = (random_state(self.generators), self.watch.losses)
        state = {
            "description": self.description,
            "step": step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "rows": self.rows,
            "measured": self.measured,
            "own": distributed.all_gather_object(own),
        }
        if distributed.rank() == 0:
            save_checkpoint(path, state)

    def resume(self, path: Path, steps: int) -> int:
        # Without a file, save first: a path that cannot be written, or read back, is found out at once.
        if distributed.all_gather_object(not path.exists())[0]:
            self.save(path, 0)
            distributed.all_gather_object(None)
        state = load_checkpoint(path, self.description)
        if state["step"] > steps:
            raise ValueError(f"steps must be at least {state['step']}, which {path} has reached, got {steps}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.rows, self.measured = state["rows"], state["measured"]
        random, self.watch.losses = state["own"][distributed.rank()]
        restore_random_state(random, self.generators)
        return int(state["step"])

    def _describe(self, precision: str, configuration: Mapping[str, Any]) -> dict[str, str]:
        try:
            configuration = json.loads(json.dumps(configuration))
        except TypeError as error:
            raise TypeError(f"configuration must hold JSON's types only: {error}") from error
        schedule, groups = self.schedule, self.optimizer.state_dict()["param_groups"]
        return describe(
            model={name: [str(t.dtype), *t.shape] for name, t in self.model.state_dict().items()},
            optimizer={"name": type(self.optimizer).__name__, "groups": groups},
            schedule=schedule and {"name": type(schedule).__name__, **schedule.state_dict()},
            generators=[str(g.device) for g in self.generators],
            processes=distributed.world_size(),
            precision=precision,
            configuration=configuration,
        )


def _scalar(loss: object) -> Tensor:
    if not isinstance(loss, Tensor):
        raise TypeError(f"loss must return a scalar tensor, got {type(loss).__name__}")
    if loss.ndim or not loss.requires_grad:
        raise ValueError(
            "loss must return a scalar tensor that depends on the parameters, "
            f"got shape {tuple(loss.shape)}, requires_grad={loss.requires_grad}"
        )
    return loss


@contextmanager
def _compiled(model: nn.Module, mode: bool | str) -> Iterator[None]:
    """Let calls of the model run compiled. Module.compile leaves a Sequential as it is, without a word."""
    before = vars(model).get("forward")
    if mode:
        model.forward = torch.compile(model.forward, mode=mode if isinstance(mode, str) else None)
    try:
        yield
    finally:
        if mode:
            del model.forward
        if before is not None:
            model.forward = before


@contextmanager
def _deferred_interrupt(active: bool) -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets, so that the step at hand can finish; a second Ctrl-C acts at once."""
    pressed = threading.Event()

    def note(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    alone = distributed.world_size() == 1 and threading.current_thread() is threading.main_thread()
    if not (active and alone and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        yield pressed
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
