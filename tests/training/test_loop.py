from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import Tensor, nn

from ssl_theory.checks import relative_error
from ssl_theory.losses import SimpleContrastive
from ssl_theory.networks import ReLUNetwork
from ssl_theory.training import CheckpointError, NonFiniteError, fit, resolve_device
from tests.training.cases import STEPS, Case, same

SGD = partial(torch.optim.SGD, lr=0.1)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def stop() -> None:
    raise RuntimeError("pulled the plug")


def one_weight(value: float = 1.0) -> nn.ParameterDict:
    return nn.ParameterDict({"w": torch.tensor([value, 1.0], dtype=torch.float64)})


# what a run does


def test_is_the_plain_loop() -> None:
    case, plain = Case(), Case()
    torch.manual_seed(11)
    history = case.fit(measure=None)
    torch.manual_seed(11)
    optimizer = torch.optim.Adam(plain.model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 9])
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        value = plain.loss(step)
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    assert same(case, plain)
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 5), (5, 10), (10, 12))]
    assert history["loss"].tolist()[1:] == pytest.approx(means, rel=1e-12)


def test_history_is_tidy() -> None:
    case = Case()
    history = case.fit()
    assert list(history) == ["step", "loss", "noise", "layer", "norm"]
    assert history["step"].tolist() == [0, 0, 5, 5, 10, 10, 12, 12]
    assert history["layer"].tolist() == [1, 2] * 4
    assert history["loss"].isna().tolist() == [True] * 2 + [False] * 6
    assert history["norm"].iloc[-1] == case.model[4].weight.norm().item()
    assert (history.groupby("step")["noise"].nunique() == 1).all()


@pytest.mark.parametrize(
    ("metrics", "rows"),
    [
        ({}, [{}]),
        ({"a": torch.tensor(2.0), "b": "x"}, [{"a": 2.0, "b": "x"}]),
        ({"a": range(2), "b": torch.tensor([3.0, 4.0]), "c": None}, [
            {"a": 0, "b": 3.0, "c": None}, {"a": 1, "b": 4.0, "c": None},
        ]),
        ({"a": []}, []),
    ],
)  # fmt: skip
def test_columns_of_a_measurement(metrics: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    history = fit(one_weight(), lambda _: stop(), steps=0, optimizer=SGD, measure=lambda _: metrics)
    expected = pd.DataFrame([{"step": 0, "loss": float("nan"), **row} for row in rows])
    assert_frame_equal(history, expected)


def test_trains_a_network_of_the_book(generator: torch.Generator) -> None:
    net = ReLUNetwork.random([3, 4, 2], generator=generator)
    x1, x2 = (torch.randn(20, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    weights = nn.ParameterList(w.clone() for w in net.weights)

    def loss(_: int) -> Tensor:
        f = ReLUNetwork(list(weights))
        r_pos, r_neg = (0.5 * (f(x1) - f(y)).square().sum(-1) for y in (x2, x2.flip(0)))
        return SimpleContrastive()(r_pos, r_neg[:, None]).mean()

    gradient = torch.autograd.grad(loss(0), list(weights))
    fit(weights, loss, steps=1, optimizer=SGD)
    for after, before, g in zip(weights, net.weights, gradient, strict=True):
        assert relative_error(after, before - 0.1 * g) < 1e-15


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    case = Case()
    frozen = case.model[0].weight.requires_grad_(False)
    before = frozen.clone()
    case.fit(tmp_path / "run")
    assert torch.equal(frozen, before)


def test_progress_shows_the_last_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    history = Case().fit(progress=True)
    shown = capsys.readouterr().err
    assert f"{STEPS}/{STEPS}" in shown
    assert f"norm={history['norm'].iloc[-2:].mean():.3g}" in shown
    assert "layer=" not in shown


# resuming


@pytest.mark.parametrize("stopped_at", [0, 1, 3, 5, 7, 10, STEPS - 1])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, stopped_at: int) -> None:
    whole = Case()
    expected = whole.fit()
    path = tmp_path / "run.ckpt"
    with pytest.raises(RuntimeError, match="pulled the plug"):
        Case({stopped_at: stop}).fit(path)
    torch.manual_seed(99)
    resumed = Case()
    resumed.generator.manual_seed(5)
    assert_frame_equal(resumed.fit(path), expected, check_exact=True)
    assert same(resumed, whole)
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_run_is_only_read(tmp_path: Path) -> None:
    first, second = Case(), Case(dict.fromkeys(range(STEPS), stop))
    expected = first.fit(tmp_path / "run")
    assert_frame_equal(second.fit(tmp_path / "run"), expected, check_exact=True)
    assert same(first, second)


def test_a_finished_run_can_be_prolonged(tmp_path: Path) -> None:
    whole, prolonged = Case(), Case()
    whole.fit(steps=20, measure=None)
    Case().fit(tmp_path / "run", measure=None)
    history = prolonged.fit(tmp_path / "run", measure=None, steps=20)
    assert same(prolonged, whole)
    assert history["step"].tolist() == [0, 5, 10, 12, 15, 20]


@pytest.mark.alone
def test_interrupt_finishes_the_step_and_saves(tmp_path: Path) -> None:
    whole = Case()
    expected = whole.fit()
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        Case({4: interrupt}).fit(path, checkpoint_every=1000)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = Case(dict.fromkeys(range(5), stop))  # none of the first five is done again
    assert_frame_equal(resumed.fit(path), expected, check_exact=True)
    assert same(resumed, whole)


@pytest.mark.alone
def test_a_second_interrupt_acts_at_once(tmp_path: Path) -> None:
    whole, resumed = Case(), Case()
    whole.fit()

    def twice() -> None:
        interrupt()
        interrupt()
        stop()

    with pytest.raises(KeyboardInterrupt):
        Case({4: twice}).fit(tmp_path / "run")
    resumed.fit(tmp_path / "run")
    assert same(resumed, whole)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.cases import Case

real, calls = os.fsync, []

def fsync(file):  # the new state is in the partial file, the old one under the final name
    calls.append(file)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    real(file)

os.fsync = fsync
Case().fit(Path(sys.argv[1]))
"""


@pytest.mark.alone
def test_killed_while_saving(tmp_path: Path) -> None:
    path = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "run.partial"]
    whole, resumed = Case(), Case(dict.fromkeys(range(3), stop))  # saved at 0 and 3, killed at 6
    expected = whole.fit()
    assert_frame_equal(resumed.fit(path), expected, check_exact=True)
    assert same(resumed, whole)
    assert list(tmp_path.iterdir()) == [path]


def test_disc_full_while_saving(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits on file sizes are POSIX's")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))

    path = tmp_path / "run"
    try:
        with pytest.raises(OSError, match="could not be written .*a previous one is intact"):
            Case({4: fill}).fit(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
    whole, resumed = Case(), Case(dict.fromkeys(range(3), stop))
    whole.fit()
    resumed.fit(path)
    assert same(resumed, whole)


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["absent/run", "."])
def test_a_path_that_cannot_be_written_is_found_out_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="absent|directory"):
        Case({0: stop}).fit(tmp_path / name)


# numbers that are not finite


def test_stops_at_a_gradient_that_is_not_finite(tmp_path: Path) -> None:
    model = one_weight()
    path = tmp_path / "run"

    def loss(step: int) -> Tensor:
        w = model["w"]
        return (w - w.detach() if step == 3 else w).pow(0.5).sum()  # finite, with an infinite slope at 0

    message = r"stopped at step 3: the loss is 0, the gradient of w is not finite"
    for _ in range(2):  # the second time from the checkpoint
        with pytest.raises(NonFiniteError, match=message) as caught:
            fit(model, loss, steps=9, optimizer=SGD, checkpoint=path, checkpoint_every=2)
        assert (caught.value.step, caught.value.loss, caught.value.parameters) == (3, 0.0, ("w",))
        saved = torch.load(path, weights_only=True)
        assert saved["step"] == 2
        assert torch.isfinite(saved["model"]["w"]).all()
        assert torch.isfinite(model["w"]).all()  # the update was not made


@pytest.mark.parametrize("check_every", [1, 4, 1000])
def test_rare_looks_name_the_same_step(tmp_path: Path, check_every: int) -> None:
    model = nn.ParameterDict({name: torch.ones(2, dtype=torch.float64) for name in ("a", "b", "c")})

    def loss(step: int) -> Tensor:
        b = (model["b"] * 0).sqrt().sum() if step == 5 else model["b"].sum()
        return model["a"].square().sum() + b + (model["c"] * model["b"]).sum()

    with pytest.raises(NonFiniteError) as caught:
        fit(model, loss, steps=50, optimizer=SGD, checkpoint=tmp_path / "run", checkpoint_every=4,
            check_every=check_every, measure_every=9)  # fmt: skip
    assert (caught.value.step, caught.value.parameters) == (5, ("b",))
    saved = torch.load(tmp_path / "run", weights_only=True)
    assert saved["step"] == 4


def test_stops_at_a_loss_that_is_not_finite() -> None:
    model = one_weight()
    with pytest.raises(NonFiniteError, match="step 2: the loss is nan, the gradient is finite"):
        fit(
            model,
            lambda step: model["w"].sum() + (float("nan") if step == 2 else 0.0),
            steps=9,
            optimizer=SGD,
        )


def test_stops_at_weights_that_overflow(tmp_path: Path) -> None:
    for checkpoint in (None, tmp_path / "run"):
        model = one_weight()
        optimizer = partial(torch.optim.SGD, lr=1e10)
        with pytest.raises(NonFiniteError, match="step 1: .*the value of w is not finite"):
            fit(
                model,
                lambda _, w=model["w"]: -1e300 * w.sum(),
                steps=1,
                optimizer=optimizer,
                checkpoint=checkpoint,
            )
    assert torch.load(tmp_path / "run", weights_only=True)["step"] == 0


# speed


def test_bfloat16_is_used_and_trains() -> None:
    case = Case()
    dtypes = []
    case.model[0].register_forward_hook(lambda _, __, out: dtypes.append(out.dtype))
    history = case.fit(precision="bfloat16", steps=60)
    assert set(dtypes) == {torch.bfloat16}
    assert case.model[0].weight.dtype == torch.float32
    assert history["loss"].iloc[-1] < history["loss"].iloc[2]


def test_channels_last() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 1))
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 1))
    plain.load_state_dict(model.state_dict())
    x = torch.randn(5, 3, 3, 3)
    fit(model, lambda _: model(x).square().mean(), steps=3, optimizer=SGD, channels_last=True)
    fit(plain, lambda _: plain(x).square().mean(), steps=3, optimizer=SGD)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model.state_dict(), plain.state_dict())


def test_compiles_the_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    modes, graphs = [], []
    compiler = torch.compile

    def backend(graph: Any, _: Any) -> Any:  # one that needs no compiler on this machine
        graphs.append(graph)
        return graph.forward

    def noted(function: Any, *, mode: str) -> Any:
        modes.append(mode)
        return compiler(function, backend=backend)

    monkeypatch.setattr(torch, "compile", noted)
    case, plain = Case(), Case()
    torch.manual_seed(1)
    case.fit(compile="reduce-overhead")
    torch.manual_seed(1)
    plain.fit()
    assert (modes, len(graphs)) == (["reduce-overhead"], 1)
    assert same(case, plain)
    assert "forward" not in vars(case.model)


def test_out_of_memory_says_what_to_lower() -> None:
    def loss(_: int) -> Tensor:
        raise torch.OutOfMemoryError("no")

    with pytest.raises(torch.OutOfMemoryError) as caught:
        fit(one_weight(), loss, steps=1, optimizer=SGD)
    assert caught.value.__notes__ == [
        "At step 0: lower the batch or ensemble size, or try precision='bfloat16'."
    ]


# devices and bad input


def test_resolve_device() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["cuda:999", "tpu", "", "cpu:1"])
def test_absent_device(name: str) -> None:
    with pytest.raises(ValueError, match=f"device must be auto or one of cpu.*got '{name}'"):
        resolve_device(name)


def test_no_gpu_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="got 'cuda'"):
        resolve_device("cuda")


def test_two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(resolve_device(n)) for n in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(ValueError, match="one of cpu, cuda, cuda:0, cuda:1, .*got 'cuda:2'"):
        resolve_device("cuda:2")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps must be at least 0, got -1"),
        ({"steps": 1.5}, TypeError, "steps must be an integer, got 1.5"),
        ({"measure_every": 0}, ValueError, "measure_every must be at least 1, got 0"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be at least 1, got 0"),
        ({"check_every": 0}, ValueError, "check_every must be at least 1, got 0"),
        ({"precision": "float16"}, ValueError, "precision must be 'full' or 'bfloat16', got 'float16'"),
        ({"configuration": {"path": Path()}}, TypeError, "configuration must hold JSON's types only: .*Path"),
        ({"generators": [7]}, TypeError, r"generators\[0\] must be a torch.Generator, got int"),
        ({"measure": lambda _: None}, TypeError, "measure must return a mapping of columns, got NoneType"),
        ({"measure": 3}, TypeError, "measure must be callable, got int"),
        ({"measure": lambda _: {"step": 1}}, ValueError, r"measure must not return .*got \['step'\]"),
        ({"measure": lambda _: {"a": [1], "b": [1, 2]}}, ValueError, r"of one length, got {'a': 1, 'b': 2}"),
        ({"measure": lambda _: {"a": torch.ones(2, 2)}}, TypeError, r"got \[1.0, 1.0\] in 'a'"),
        ({"measure": lambda _: {"a": 1j}}, TypeError, "scalars and sequences of scalars, got 1j in 'a'"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Case({0: stop}).fit(**changes)


@pytest.mark.bad_input
def test_bad_models() -> None:
    sgd = partial(torch.optim.SGD, lr=0.1)
    with pytest.raises(TypeError, match="model must be a torch module, got NoneType"):
        fit(None, lambda _: torch.ones(()), steps=1, optimizer=sgd)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="loss must be callable, got Tensor"):
        fit(one_weight(), torch.ones(()), steps=1, optimizer=sgd)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="optimizer must be callable, got NoneType"):
        fit(one_weight(), lambda _: torch.ones(()), steps=1, optimizer=None)  # type: ignore[arg-type]


@pytest.mark.bad_input
def test_bad_losses() -> None:
    model = one_weight()
    for value, error, message in (
        (1.0, TypeError, "loss must return a scalar tensor, got float"),
        (model["w"], ValueError, r"got shape \(2,\), requires_grad=True"),
        (model["w"].sum().detach(), ValueError, r"got shape \(\), requires_grad=False"),
    ):
        with pytest.raises(error, match=message):
            fit(model, lambda _, v=value: v, steps=1, optimizer=SGD)  # type: ignore[misc]
    with pytest.raises(ValueError, match="model must have at least one parameter that requires a gradient"):
        fit(nn.ReLU(), lambda _: model["w"].sum(), steps=1, optimizer=SGD)


@pytest.mark.bad_input
def test_fewer_steps_than_were_made(tmp_path: Path) -> None:
    Case().fit(tmp_path / "run")
    with pytest.raises(ValueError, match="steps must be at least 12, which .*run has reached, got 5"):
        Case().fit(tmp_path / "run", steps=5)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"configuration": {"data": "signal", "sizes": [4, 6, 2]}}, r'data: "noise" there, "signal" here'),
        ({"configuration": None}, r"configuration.sizes: \[4, 6, 2\] there, absent here"),
        ({"optimizer": partial(torch.optim.Adam, lr=0.01)}, r"groups.0.lr: 0.05 there, 0.01 here"),
        ({"optimizer": SGD}, r'optimizer.name: "Adam" there, "SGD" here; .*and \d+ more'),
        ({"schedule": None}, "schedule"),
        (
            {"schedule": partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[4, 8])},
            r"milestones.9: 1 there, absent here",
        ),
        ({"generators": []}, r'generators: \["cpu"\] there, \[\] here'),
        ({"precision": "bfloat16"}, 'precision: "full" there, "bfloat16" here'),
    ],
)
def test_checkpoint_of_another_run(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    Case().fit(tmp_path / "run", steps=2)
    before = (tmp_path / "run").read_bytes()
    with pytest.raises(CheckpointError, match=f"run belongs to another run .*{message}"):
        Case({2: stop}).fit(tmp_path / "run", **changes)
    assert (tmp_path / "run").read_bytes() == before


@pytest.mark.bad_input
def test_checkpoint_of_another_model(tmp_path: Path) -> None:
    Case().fit(tmp_path / "run", steps=2)
    other = Case()
    other.model[4] = nn.Linear(6, 3)
    with pytest.raises(CheckpointError, match=r"model.4.weight: .*2, 6\] there, .*3, 6\] here"):
        other.fit(tmp_path / "run")
