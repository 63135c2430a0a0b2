"""CUDA graphs without a GPU: the order of things, with a stand-in that repeats the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_theory.training import cuda_graphs, fit, loop


class Recorder:
    """Stands in for torch.cuda: what is called while it records is not done again, only `repeat` is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, repeat: Callable[[], None]) -> None:
        self.repeat, self.calls = repeat, list[str]()
        for name in ("Stream", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, self.stream)
        for name in ("stream", "device"):
            monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(torch.cuda, "graph", self.recording)

    def stream(self) -> Any:
        return self

    def wait_stream(self, _: object) -> None:
        self.calls.append("wait")

    @contextmanager
    def recording(self, _: object) -> Iterator[None]:
        self.calls.append("record")
        yield

    def replay(self) -> None:
        self.calls.append("replay")
        self.repeat()


def test_warms_up_then_records_then_replays_into_the_same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(3))
    memory = torch.zeros(())
    drawn: list[float] = []

    def work() -> Tensor:
        drawn.append(float(torch.rand((), generator=generator)))
        return memory

    recorder = Recorder(monkeypatch, lambda: memory.add_(1.0).nan_to_num_())
    replay = cuda_graphs.record(work, [generator], torch.device("cuda"))
    assert recorder.calls == ["wait", "wait", "record"]
    first, second = replay(), replay()
    assert (float(first), float(second)) == (1.0, 2.0)  # a copy each, not the graph's own memory
    # the numbers drawn to warm up are drawn again
    assert drawn == pytest.approx([*expected.tolist(), float(expected[0])])


def case(graph: bool) -> tuple[nn.Module, Any]:
    generator = torch.Generator().manual_seed(1)
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(0.5)
        model.bias.fill_(0.1)

    def loss(_: int) -> Tensor:
        return (model(torch.randn(5, 3, generator=generator)) - 1.0).square().mean()

    rows = fit(
        model,
        loss,
        steps=7,
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        measure_every=3,
        generators=[generator],
        graph=graph,
    )
    return model, rows


def test_a_recorded_run_equals_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, rows = case(graph=False)

    def record(work: Callable[[], Tensor], *_: object) -> Callable[[], Tensor]:
        return lambda: work().clone()

    monkeypatch.setattr(loop, "record", record)
    monkeypatch.setattr(loop._Run, "use_graph", lambda run, _: setattr(run, "work", run.recorded))
    recorded, again = case(graph=True)
    assert rows.equals(again)
    for one, two in zip(plain.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.bad_input
def test_where_no_graph_can_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="graph needs the model on one GPU and one process, got cpu, 1"):
        case(graph=True)

    class Run:
        device = torch.device("cuda")

    with pytest.raises(ValueError, match="graph cannot record what compile='reduce-overhead' makes"):
        loop._Run.use_graph(Run(), "reduce-overhead")  # type: ignore[arg-type]
