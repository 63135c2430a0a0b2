"""The experiment on latent trees, at a size that takes seconds."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_theory.checks import relative_error
from ssl_theory.experiments.trees import (
    TreeExperiment,
    bytes_per_seed,
    ensemble_loss,
    explained,
    level_table,
    memory,
    run,
    seeds_at_once,
    train,
)
from ssl_theory.experiments.trees.losses import LOSSES
from ssl_theory.experiments.trees.train import _Group, distances
from ssl_theory.losses import InfoNCE
from ssl_theory.training import CheckpointError

TINY = TreeExperiment(
    seeds=3, epochs=2, depth=2, width=3, steps=4, batch=16, evaluation=64, polarity=(0.7, 1.0)
)


@pytest.fixture(scope="module")
def learned() -> pd.DataFrame:
    """Return a run that is long enough to learn something: depth 3, four seeds."""
    return run(replace(TINY, seeds=4, depth=3, width=6, steps=100, batch=64, evaluation=1024), device="cpu")


def test_rows(learned: pd.DataFrame) -> None:
    assert set(learned["epoch"]) == {0, 1, 2}
    assert len(learned) == 3 * 4 * 7
    assert sorted(set(zip(learned["node"], learned["level"], strict=True))) == [
        (0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 2), (6, 2),
    ]  # fmt: skip
    assert not learned.drop(columns="loss").isna().any().any()
    for column in ("correlation", "ceiling", "belief_correlation"):
        assert learned[column].between(0.0, 1.0).all()


def test_correlations_rise_towards_the_ceiling_and_stay_below(learned: pd.DataFrame) -> None:
    table = level_table(learned, epochs=(0, 2))["mean"].unstack()
    assert table.loc[0, 2] > table.loc[0, 0] + 0.02
    ceiling = learned.groupby("level")["ceiling"].mean()
    assert (table[2] <= ceiling + 6.0 / 1024**0.5).all()


def test_without_augmentation_noise_the_leading_operator_explains_everything() -> None:
    rows = run(replace(TINY, polarity=(1.0, 1.0), bias=False, normalise=False, evaluation=4096), device="cpu")
    table = explained(rows)
    assert table["cosine"].sub(1.0).abs().max() < 1e-3
    assert table["ratio"].sub(1.0).abs().max() < 0.1  # the two are estimated from different samples


def test_same_seed_same_rows_and_other_seed_others() -> None:
    one, two = run(TINY, device="cpu"), run(TINY, device="cpu")
    pd.testing.assert_frame_equal(one, two)
    assert not run(replace(TINY, seed=1), device="cpu")["correlation"].equals(one["correlation"])


def test_a_cosine_ends_with_small_steps() -> None:
    """The step before the last has 2 % of the first one's size; the weights hardly move there."""
    constant, cosine = (
        run(replace(TINY, epochs=8, schedule=s), device="cpu") for s in ("constant", "cosine")
    )
    last = [
        table[table["epoch"] >= 7].groupby("epoch")["operator_norm"].sum() for table in (constant, cosine)
    ]
    moved = [abs(norms[8] / norms[7] - 1.0) for norms in last]
    assert moved[1] < moved[0]


def test_seeds_are_split_into_groups() -> None:
    rows = run(TINY, device="cpu", together=2)
    assert sorted(set(rows["seed"])) == [0, 1, 2]
    first = run(replace(TINY, seeds=2), device="cpu", together=2)
    pd.testing.assert_frame_equal(rows[rows["seed"] < 2].reset_index(drop=True), first)


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(TINY, device="cpu", together=2)
    name = tmp_path / "tree"
    calls = 0
    batch_loss = train._Group.batch_loss

    def stops(self: Any, count: int) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 20:  # in the second group
            raise RuntimeError("power cut")
        return batch_loss(self, count)

    monkeypatch.setattr(train._Group, "batch_loss", stops)
    with pytest.raises(RuntimeError, match="power cut"):
        run(TINY, device="cpu", together=2, checkpoint=name)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tree-0.pt", "tree-2.pt"]
    pd.testing.assert_frame_equal(run(TINY, device="cpu", together=2, checkpoint=name), whole)
    with pytest.raises(CheckpointError):
        run(replace(TINY, rate=0.2), device="cpu", together=2, checkpoint=name)


def test_the_progress_bar_shows_the_correlation_of_each_level(capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(TINY, device="cpu", progress=True)
    last = rows[rows["epoch"] == 2].groupby("level")["correlation"].mean()
    shown = capsys.readouterr().err.splitlines()[-1].rsplit("\r", 1)[-1]
    assert shown.endswith(f"L0={last[0]:.3g}, L1={last[1]:.3g}]")


def test_summary_of_levels() -> None:
    rows = pd.DataFrame(
        {
            "level": [0, 1, 1, 0, 1, 1],
            "epoch": 0,
            "seed": [0, 0, 0, 1, 1, 1],
            "correlation": [0.2, 0.3, 0.5, 0.6, 0.7, 0.7],
            "update_dot": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
            "update_square": [4.0] * 6,
            "leading_square": [1.0] * 6,
        }
    )
    table = level_table(rows, epochs=(0,))
    assert table.loc[(0, 0), "mean"] == pytest.approx(0.4)
    assert table.loc[(1, 0), "mean"] == pytest.approx(0.55)
    assert table.loc[(1, 0), "std"] == pytest.approx((2 * 0.15**2) ** 0.5)
    assert explained(rows).loc[(1, 0)].tolist() == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match=r"epochs must be among \[0\], got \[3\]"):
        level_table(rows, epochs=(3,))


@given(st.sampled_from(sorted(LOSSES)), st.integers(0, 2**31), st.sampled_from([0, 1, 3]))
def test_losses_by_their_formulas(name: Any, seed: int, negatives: int) -> None:
    """0 negatives stand for one without a dimension of its own."""
    g = torch.Generator().manual_seed(seed)
    r_pos = torch.rand(3, 5, generator=g, dtype=torch.float64)
    r_neg = torch.rand(3, *[negatives][: negatives > 0], 5, generator=g, dtype=torch.float64)
    tau = 0.3
    loss = ensemble_loss(name, tau)(r_pos, r_neg)
    for s in range(3):
        others = r_neg[s].view(-1, 5).mT
        mean_pos, means = r_pos[s].mean(), others.mean(0)
        expected = {
            "infonce": InfoNCE(tau)(r_pos[s], others).mean(),
            "simple": mean_pos - others.mean(),
            "positives": mean_pos,
            "shared-weight": -torch.exp(-mean_pos / tau)
            / (torch.exp(-mean_pos / tau) + torch.exp(-means / tau).sum()),
            "spectral": -2 * (1 - mean_pos) + ((1 - others) ** 2).mean(),
        }[name]
        assert relative_error(loss[s], expected) < 1e-12


def test_several_negatives_are_trained_on_and_measured() -> None:
    """Without noise InfoNCE of any number of negatives is its leading part."""
    clean = replace(
        TINY, polarity=(1.0, 1.0), bias=False, normalise=False, negatives=4, temperature=1.0, evaluation=4096
    )
    table = explained(run(clean, device="cpu"))
    assert table["cosine"].sub(1.0).abs().max() < 1e-3
    assert table["ratio"].sub(1.0).abs().max() < 0.1
    group = _Group(clean, range(2), torch.device("cpu"))
    r_pos, r_neg = distances(group.outputs(8, group.generator))
    assert (tuple(r_pos.shape), tuple(r_neg.shape)) == ((2, 8), (2, 4, 8))
    assert float(r_pos.detach().abs().max()) < 1e-5  # views of one object do not differ here


def test_distances_by_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 3, 4, 5, generator=g, dtype=torch.float64)
    r_pos, r_neg = distances(outputs)
    for s, b in product(range(2), range(5)):
        anchor, *others = outputs[s, :, :, b].unbind(1)
        expected = [0.5 * sum(float(v) ** 2 for v in other - anchor) for other in others]
        assert [float(r_pos[s, b]), *r_neg[s, :, b].tolist()] == pytest.approx(expected)


def test_the_spectral_loss_is_one_of_inner_products() -> None:
    g = torch.Generator().manual_seed(0)
    anchor, positive, negative = torch.nn.functional.normalize(torch.randn(3, 2, 7, 4, generator=g), dim=-1)
    r_pos, r_neg = ((anchor - other).square().sum(-1) / 2 for other in (positive, negative))
    expected = -2 * (anchor * positive).sum(-1).mean(1) + (anchor * negative).sum(-1).square().mean(1)
    assert relative_error(ensemble_loss("spectral", 1.0)(r_pos, r_neg), expected) < 1e-6


def test_shared_weight_gives_every_pair_of_a_batch_the_same_weight() -> None:
    g = torch.Generator().manual_seed(0)
    r_pos, r_neg = (r.requires_grad_() for r in torch.rand(2, 3, 5, generator=g, dtype=torch.float64))
    loss = ensemble_loss("shared-weight", 0.3)(r_pos, r_neg).sum()
    for gradient in torch.autograd.grad(loss, (r_pos, r_neg)):
        assert float((gradient - gradient[:, :1]).abs().max()) < 1e-15


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"width": 0}, ValueError, "width must be at least 1, got 0"),
        ({"loss": "spectral", "normalise": False}, ValueError, "normalise must be True for the loss"),
        ({"negatives": 0}, ValueError, "negatives must be at least 1, got 0"),
        ({"seeds": 0}, ValueError, "seeds must be at least 1"),
        ({"epochs": -1}, ValueError, "epochs must be at least 0"),
        ({"batch": 1.5}, TypeError, "batch must be an integer"),
        ({"rate": 0.0}, ValueError, "rate must be finite and greater than 0"),
        ({"temperature": float("nan")}, ValueError, "temperature must be finite"),
        ({"loss": "nce"}, ValueError, "loss must be one of infonce, simple, positives, shared-weight"),
        ({"optimizer": "lion"}, ValueError, "optimizer must be one of sgd, adam, got 'lion'"),
        ({"schedule": "step"}, ValueError, "schedule must be one of constant, cosine, got 'step'"),
        ({"init": "zero"}, ValueError, "init must be one of uniform, standard, got 'zero'"),
        ({"root_polarity": 1.5}, ValueError, r"root_polarity must lie in \[−1, 1\], got 1.5"),
        ({"root_polarity": float("nan")}, ValueError, "root_polarity must be finite"),
        ({"polarity": (0.5,)}, ValueError, r"polarity must be a pair \(low, high\), got \(0.5,\)"),
        ({"polarity": (float("nan"), 1.0)}, ValueError, "polarity must satisfy 0 ≤ low ≤ high ≤ 1"),
        ({"polarity": "ab"}, ValueError, r"polarity must be a pair \(low, high\), got 'ab'"),
        ({"polarity": (0.5, True)}, TypeError, r"polarity must hold two real numbers, got \(0.5, True\)"),
        ({"bias": "no"}, TypeError, "bias must be True or False, got 'no'"),
        ({"normalise": 1}, TypeError, "normalise must be True or False, got 1"),
        ({"epochs": 10**30}, ValueError, "epochs must be at most 2147483647, got 1000"),
        ({"seed": 10**22}, ValueError, "seed must be from 0 to 8796093022207, got 1000"),
        ({"width": True}, TypeError, "width must be an integer, got True"),
        ({"depth": 60}, ValueError, "depth and branching must give at most 16777216 nodes"),
        ({"evaluation": 3}, ValueError, "evaluation must be at least 64"),
    ],
)
def test_bad_experiments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(TINY, **options)


@pytest.mark.bad_input
def test_bad_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="together must be at least 1, got -1"):
        run(TINY, device="cpu", together=-1)
    with pytest.raises(ValueError, match="device must be auto or one of"):
        run(TINY, device="abacus")
    with pytest.raises(ValueError, match="polarity must satisfy"):
        replace(TINY, polarity=(0.9, 0.2))
    with pytest.raises(OSError, match="nowhere"):
        run(TINY, device="cpu", checkpoint=tmp_path / "nowhere" / "tree")


class Operations(TorchDispatchMode):
    """Notes the names of the operations that are run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_a_step_waits_for_nothing_on_the_device() -> None:
    """What reads a number back, or indexes by a list, would make a GPU wait and could not be recorded."""
    group = _Group(TINY, range(2), torch.device("cpu"))
    with Operations() as operations:
        group.batch_loss(16).sum().backward()
    waiting = ("_local_scalar_dense", "nonzero", "is_nonzero", "index.", "masked_select", "equal.", "unique")
    assert not [name for name in operations.names if any(word in name for word in waiting)]
    assert len(operations.names) < 400


def test_a_seed_has_its_tree_and_first_weights_whatever_it_is_trained_with() -> None:
    cpu = torch.device("cpu")
    together, alone = _Group(TINY, range(3), cpu), _Group(TINY, range(2, 3), cpu)
    assert torch.equal(together.trees.polarities[2:], alone.trees.polarities)
    for ours, theirs in zip(together.net.parameters(), alone.net.parameters(), strict=True):
        assert torch.equal(ours.view(3, -1)[2], theirs.flatten())
    wider = _Group(replace(TINY, width=5), range(3), cpu)
    assert torch.equal(together.trees.polarities, wider.trees.polarities)


def test_seeds_that_do_not_fit_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    many = replace(TINY, seeds=1000)
    need = bytes_per_seed(many, gpu)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 20 * need)
    assert seeds_at_once(many, gpu) == 10
    assert seeds_at_once(replace(many, seeds=4), gpu) == 4
    monkeypatch.setattr(memory, "free_bytes", lambda _: bytes_per_seed(many, cpu) * 5 // 2)
    assert seeds_at_once(many, cpu) == 1
    assert run(replace(TINY, epochs=0), device="cpu")["group"].unique().tolist() == [0, 1, 2]
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1000)
    with pytest.raises(MemoryError, match="lower the depth, width, batch or evaluation"):
        run(TINY, device="cpu")
