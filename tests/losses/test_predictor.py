from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.losses.predictor import predictor_loss
from tests.cases import World, worlds


def by_loops(outputs: torch.Tensor, predictor: torch.Tensor, targets: torch.Tensor) -> float:
    total, (objects, count, _) = 0.0, outputs.shape
    for i in range(objects):
        for a in range(count):
            for b in range(count):
                for row, target in zip(predictor.tolist(), targets[i, b].tolist(), strict=True):
                    predicted = sum(w * f for w, f in zip(row, outputs[i, a].tolist(), strict=True))
                    total += 0.5 * (predicted - target) ** 2
    return total / (objects * count**2)


@given(world=worlds(), slower=st.booleans(), centred=st.booleans())
@settings(max_examples=20)
def test_it_is_the_mean_over_all_pairs_of_views(world: World, slower: bool, centred: bool) -> None:
    outputs = world.net(world.views)
    g = torch.Generator().manual_seed(1)
    predictor = torch.randn(*[outputs.shape[-1]] * 2, generator=g, dtype=torch.float64)
    targets = torch.randn(outputs.shape, generator=g, dtype=torch.float64) if slower else None
    seen = [outputs, outputs if targets is None else targets]
    left, right = (z - z.flatten(0, 1).mean(0) for z in seen) if centred else seen
    found = predictor_loss(outputs, predictor, targets, centred=centred)
    expected = torch.tensor(by_loops(left, predictor, right), dtype=torch.float64)
    assert relative_error(found, expected) < 1e-12


def test_no_gradient_flows_through_the_targets() -> None:
    f = torch.tensor([[[1.0], [3.0]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(predictor_loss(f, torch.eye(1)), f)
    assert gradient.flatten().tolist() == [-0.5, 0.5]  # (f − f̄) / (N A)


def test_bad_arguments_are_named() -> None:
    f = torch.zeros(2, 2, 3)
    with pytest.raises(ValueError, match=r"predictor must have shape \(3, 3\), got \(2, 2\)"):
        predictor_loss(f, torch.eye(2))
    with pytest.raises(ValueError, match=r"targets must have shape \(2, 2, 3\), got \(2, 1, 3\)"):
        predictor_loss(f, torch.eye(3), f[:, :1])
    with pytest.raises(TypeError, match="predictor must have the dtype of outputs"):
        predictor_loss(f, torch.eye(3).double())
