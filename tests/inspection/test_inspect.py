from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_theory.checks import relative_error
from ssl_theory.inspection import (
    Against,
    Estimate,
    effective_rank,
    inspect,
    measure_outputs,
    over_pairs,
    unbiased_variances,
)
from ssl_theory.inspection.actions import act
from ssl_theory.inspection.advice import advise
from ssl_theory.inspection.estimates import groups_of, jackknife, over_objects
from ssl_theory.losses import InfoNCE, SimpleContrastive, augmentation_temperature, mean_loss, nt_xent
from ssl_theory.losses.weights import leading_weights
from ssl_theory.networks import vec
from ssl_theory.operators import OutputLoss, operator_layers
from tests.inspection.cases import MODELS, dense, in_batch_mode, made

LOSS = InfoNCE(0.5)
FEW: dict[str, Any] = {"directions": 3, "nulls": 2}


def relu(*widths: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b, bias=False), nn.ReLU()]
    return nn.Sequential(*parts[:-1]).double()


def views_of(*shape: int, noise: float = 0.4) -> Tensor:
    g = torch.Generator().manual_seed(1)
    centre = torch.randn(shape[0], 1, *shape[2:], generator=g, dtype=torch.float64)
    return centre + noise * torch.randn(*shape, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("kind", MODELS)
def test_every_layer_agrees_with_its_dense_jacobian(kind: str) -> None:
    model, views = made(kind)
    found = inspect(model, views, loss=LOSS, probes=10**6, **FEW)
    assert list(found.layers) == list(operator_layers(model))
    in_batch_mode(model)
    for name, layer in found.layers.items():
        outputs, rows = dense(model, views, operator_layers(model)[name])
        n, a = outputs.shape[:2]
        means = rows.mean(1)
        between = torch.einsum("nod,noe->de", means - means.mean(0), means - means.mean(0)) / n
        inner = rows - means.unsqueeze(1)
        within = torch.einsum("naod,naoe->de", inner, inner) / (n * a)
        assert relative_error(layer.between.values, torch.linalg.eigvalsh(between).flip(0)[:3]) < 1e-10
        assert relative_error(layer.within.values, torch.linalg.eigvalsh(within).flip(0)[:3]) < 1e-10
        direction = vec(layer.between.vectors)
        assert relative_error(between @ direction.mT, direction.mT * layer.between.values) < 1e-9
        live = outputs.clone().requires_grad_()
        (slope,) = torch.autograd.grad(mean_loss(live, LOSS), live)
        step = -torch.einsum("naod,nao->d", rows, slope)
        assert layer.step == pytest.approx(float(step.norm()), rel=1e-10)
        weights = leading_weights(outputs, LOSS)
        gaps = means.unsqueeze(1) - means
        f_bar = outputs.mean(1)
        mixed = torch.einsum("ij,ijod,ijo->d", weights, gaps, f_bar.unsqueeze(1) - f_bar)
        lead = torch.einsum("ij,ijod,ijo->d", weights, gaps, gaps @ vec(layer.weight))
        for key, asked in (("mixed", mixed), ("leading", lead)):
            against = layer.against[key]
            assert against.cosine.value == pytest.approx(angle(step, asked), abs=1e-9)
            assert against.length.value == pytest.approx(float(asked.norm() / step.norm()), rel=1e-9)
        rest = float((step - mixed).norm() ** 2)
        assert layer.residue.value == pytest.approx(rest / (rest + float(mixed.norm() ** 2)), abs=1e-10)
        variance = float(inner.square().sum() / (n * (a - 1)))
        assert layer.within_trace.value == pytest.approx(variance, rel=1e-9)
        unbiased = float(between.trace()) * n / (n - 1) - variance / a
        assert layer.between_trace.value == pytest.approx(unbiased, rel=1e-8)
        corrected = between * n / (n - 1) - within / (a - 1)
        forms = torch.einsum("kd,de,ke->k", direction, corrected, direction)
        assert relative_error(layer.between_corrected, forms) < 1e-10
        participation = float(between.trace() ** 2 / between.square().sum())
        assert layer.shares["gradient"] == pytest.approx(
            float((direction @ step).square().sum() / step.square().sum())
        )
        assert layer.participation == pytest.approx(participation, rel=1e-8)


def angle(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def test_in_relu_networks_without_biases_the_operator_is_the_step() -> None:
    torch.manual_seed(0)
    model, views = relu(6, 8, 5, 3), views_of(8, 3, 6)
    for loss in (SimpleContrastive(), LOSS, over_pairs(lambda a, b: nt_xent(a, b, 0.5))):
        for layer in inspect(model, views, loss=loss, **FEW).layers.values():
            assert layer.against["exact"].cosine.value == pytest.approx(1, abs=1e-9)
            assert layer.against["exact"].length.value == pytest.approx(1, abs=1e-9)
            assert layer.against["exact"].cosine.error < 1e-9
            assert layer.against["exact"].null_object < 0.9


def test_the_simple_loss_has_no_residue() -> None:
    torch.manual_seed(0)
    for layer in inspect(relu(6, 8, 3), views_of(8, 3, 6), loss=SimpleContrastive(), **FEW).layers.values():
        assert layer.residue.value < 1e-20
        assert layer.against["leading"].cosine.value == pytest.approx(1, abs=1e-9)
        assert layer.against["mixed"].length.value == pytest.approx(1, abs=1e-9)
    noisy = inspect(relu(6, 8, 3), views_of(30, 3, 6, noise=1.5), loss=InfoNCE(0.05), **FEW)
    assert all(layer.residue.value > 0.05 for layer in noisy.layers.values())
    assert any("the residue is expected to pass the leading part" in line for line in noisy.advice)


@pytest.mark.parametrize("negatives", [1, 2])
def test_a_function_of_the_outputs_has_the_operator_of_the_loss_that_it_is(negatives: int) -> None:
    outputs = views_of(5, 3, 4)
    own = act(LOSS, outputs, negatives)
    other = act(lambda f: mean_loss(f, LOSS, negatives), outputs)
    assert own.value == pytest.approx(other.value)
    assert own.exact is not None and own.leading is not None  # noqa: PT018
    assert other.exact is not None and other.leading is not None  # noqa: PT018
    t = torch.randn(5, 3, 2, 4, dtype=torch.float64)
    assert relative_error(other.exact(t), own.exact(t)) < 1e-10
    assert relative_error(other.leading(t), own.leading(t)) < 1e-10
    weights, expected = other.weights(), own.weights()
    assert weights is not None and expected is not None  # noqa: PT018
    assert relative_error(weights, expected) < 1e-10


def test_losses_of_the_covariance_have_an_operator_if_they_are_given_as_such() -> None:
    torch.manual_seed(0)
    loss = OutputLoss(features=lambda c: -c.diagonal().sqrt().sum())
    for layer in inspect(relu(6, 8, 3), views_of(8, 3, 6), loss=loss, **FEW).layers.values():
        assert layer.against["exact"].cosine.value == pytest.approx(1, abs=1e-9)
        assert layer.against["exact"].length.value == pytest.approx(1, abs=1e-9)


def test_a_loss_without_an_operator_leaves_the_rest() -> None:
    torch.manual_seed(0)
    head = torch.randn(3, 4, dtype=torch.float64)
    for loss in (lambda f: (f @ head).exp().sum(), lambda f: f[..., 0].pow(4).sum()):
        found = inspect(relu(6, 8, 3), views_of(8, 3, 6), loss=loss, **FEW)
        layer = found.layers["0"]
        assert not layer.against
        assert layer.exact is None
        assert math.isnan(layer.residue.value)
        assert layer.between.values[0] > 0
        assert any("No operator" in note for note in found.notes)
        assert math.isnan(found.outputs["negatives_in_use"].value)


def test_below_a_normalisation_the_operator_vanishes_and_the_mixed_covariance_stays() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5, eps=1e-30)).double()
    found = inspect(model, views_of(8, 3, 6), loss=LOSS, **FEW)
    against = found.layers["0"].against
    assert against["exact"].length.value < 1e-12
    assert math.isnan(against["exact"].cosine.value)
    assert against["mixed"].cosine.value > 0.5
    assert any("OP·vec W vanishes" in line for line in found.advice)
    gone = "undefined (it vanishes beside the step)"
    assert f"0: cosine with the step: exact {gone}, leading {gone}, mixed 0." in str(found)
    assert "nan" not in str(found)
    assert found.refused == {"1": "the affine weight of BatchNorm1d is not an operator: gradient only"}


def test_layers_that_are_no_operator_are_refused_and_the_rest_goes_on() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.norm = nn.LayerNorm(4)
            self.memory = nn.GRU(4, 3, batch_first=True)
            self.head = nn.Linear(3, 2)
            self.unused = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.memory(self.norm(self.first(x)))[0].mean(1))
            return out

    torch.manual_seed(0)
    found = inspect(Model().double(), views_of(4, 2, 3, 4), loss=LOSS, **FEW)
    assert {"first", "head"} >= set(found.layers)
    assert "head" in found.layers
    assert found.refused["memory"] == "GRU is not supported"
    assert "do not depend on unused.weight" in found.refused["unused"]
    assert "LayerNorm" in found.refused["norm"]
    assert "GRU is not supported" in str(found)


def test_standard_errors_are_those_of_repeated_draws() -> None:
    """The jackknife against the spread over independent view sets."""
    g = torch.Generator().manual_seed(0)
    draws = torch.randn(120, 30, 3, 2, generator=g) + 2 * torch.randn(120, 30, 1, 2, generator=g)
    draws = draws * torch.tensor([3.0, 1.0])
    kept = groups_of(30, 10)
    for measure in (
        lambda f: unbiased_variances(f)[0],
        lambda f: unbiased_variances(f)[1],
        lambda f: effective_rank(f.flatten(0, 1)),
    ):
        found = torch.tensor([over_objects(measure, draw, kept) for draw in draws])
        ratio = float(found[:, 1].square().mean().sqrt() / found[:, 0].std())
        assert 0.75 < ratio < 1.35


def test_the_jackknife_of_a_mean_is_the_textbook_error() -> None:
    values = torch.randn(30, dtype=torch.float64)
    kept = groups_of(30, 30)
    found = jackknife(float(values.mean()), [float(values[some].mean()) for some in kept])
    assert found.error == pytest.approx(float(values.std() / 30**0.5))
    assert math.isnan(jackknife(1.0, []).error)
    assert not groups_of(2, 8)
    assert Estimate(1.0).value == 1.0


def test_rows_whose_gradient_is_lost_in_float32() -> None:
    naive = over_pairs(
        lambda a, b: nn.functional.cross_entropy(a @ b.mT, torch.arange(len(a)), reduction="sum")
    )
    confident = 5 * torch.eye(6, dtype=torch.float64).unsqueeze(1).repeat(1, 2, 1)
    assert measure_outputs(confident, naive)["below_rounding"].value == 1
    assert measure_outputs(confident / 5, naive)["below_rounding"].value == 0
    assert measure_outputs(confident + 0.01, InfoNCE(1.0))["below_rounding"].value == 0
    unseen = torch.cat([confident / 5, confident], 1)
    assert measure_outputs(unseen, lambda f: naive(f[:, :2]))["below_rounding"].value == 0


def test_what_the_loss_does_not_see_is_not_measured() -> None:
    outputs = views_of(6, 2, 4)
    stretched = outputs * torch.rand(6, 2, 1, dtype=torch.float64).add(0.5)
    loss = over_pairs(lambda a, b: nt_xent(a, b, 0.2))
    first, second = (measure_outputs(f, loss, temperature=0.2) for f in (outputs, stretched))
    for name in ("V_a_over_tau", "r_positive", "r_negative", "overlap"):
        assert first[name].value == pytest.approx(second[name].value), name
    unit = nn.functional.normalize(outputs, dim=-1)
    cosines = (unit[:, 0] * unit[:, 1]).sum(-1)
    assert first["r_positive"].value == pytest.approx(float((1 - cosines).mean() / 0.2))


def test_half_precision_is_computed_in_float32_and_batches_are_put_together() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).bfloat16()
    views = views_of(8, 3, 6).bfloat16()
    found = inspect(model, [views[:5], views[5:]], loss=LOSS, **FEW)
    assert found.layers["0"].weight.dtype == torch.float32
    assert "Weights in bfloat16 were computed in float32." in found.notes
    whole = inspect(model.float(), views.float(), loss=LOSS, **FEW)
    assert found.outputs["V_x"].value == pytest.approx(whole.outputs["V_x"].value)
    assert found.table().equals(whole.table())


def test_ctrl_c_keeps_what_is_done() -> None:
    torch.manual_seed(0)

    def stop(name: str, index: int, count: int) -> None:
        assert count == 2
        if index == 1:
            raise KeyboardInterrupt

    found = inspect(relu(6, 8, 3), views_of(8, 3, 6), loss=LOSS, progress=stop, **FEW)
    assert not found.complete
    assert list(found.layers) == ["0"]


def test_collapse_is_told() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 3)).double()
    with torch.no_grad():
        model[0].weight.zero_()
    found = inspect(model, views_of(8, 3, 6), loss=LOSS, **FEW)
    assert found.outputs["effective_rank"].value == 0
    assert found.advice[0].startswith("All outputs agree: the encoder has collapsed")


def test_the_outputs_own_temperature() -> None:
    outputs = views_of(40, 4, 5)
    found = measure_outputs(outputs, InfoNCE(0.2), temperature=0.2)["own_over_tau"]
    assert found.value == pytest.approx(augmentation_temperature(outputs, sample=True) / 0.2)
    assert 0 < found.error < found.value
    assert math.isnan(measure_outputs(outputs[:2], InfoNCE(0.2))["own_over_tau"].value)


@pytest.mark.parametrize(
    ("own", "cosine", "said"),
    [
        (3.0, 0.6, ("own temperature is 3 τ: the augmentation is strong", "random targets 0.20.")),
        (0.5, 0.3, ("expected to be comparable", "0.20, which is no more than random targets")),
        (0.1, -0.6, ("is weak, and the leading part is expected to rule", "it points the other way")),
        (math.inf, math.nan, ("The mixed covariance vanishes beside the step",)),
    ],
)
def test_advice(own: float, cosine: float, said: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    found = inspect(relu(6, 8, 3), views_of(8, 3, 6), loss=LOSS, **FEW)
    outputs = {**found.outputs, "own_over_tau": Estimate(own)}
    mixed = Against(Estimate(cosine), Estimate(1.0), 0.2, 0.2)
    layers = {
        name: replace(layer, against={**layer.against, "mixed": mixed})
        for name, layer in found.layers.items()
    }
    advice = advise(outputs, layers, found.setting)
    assert all(any(words in line for line in advice) for words in said)
    assert math.isfinite(own) == any("own temperature" in line for line in advice)


def test_threads_are_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    found = inspect(relu(6, 3), views_of(8, 3, 6), loss=LOSS, **FEW)
    assert "4 threads cost more than one gains on layers this small: torch.set_num_threads(1)." in found.notes
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert not any(
        "threads" in note for note in inspect(relu(6, 3), views_of(8, 3, 6), loss=LOSS, **FEW).notes
    )


@pytest.mark.bad_input
def test_bad_input() -> None:
    model, views = relu(6, 8, 3), views_of(8, 3, 6)
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"model": 3}, TypeError, "model must be a torch module, got int"),
        ({"views": "x"}, TypeError, "views must be a tensor or batches of views, got str"),
        ({"views": [1]}, TypeError, "each batch of views must be a tensor .*, got int"),
        ({"views": [views, views[:, :2]]}, ValueError, "batches of views must share a shape"),
        ({"views": []}, ValueError, "batches of views must share a shape"),
        ({"views": views[:, :1]}, ValueError, r"at least two views of each of two objects.*\(8, 1, 6\)"),
        ({"views": views[..., :5]}, ValueError, "views must go through the module"),
        ({"views": views * math.nan}, ValueError, "views must be finite"),
        ({"views": views.float()}, TypeError, "views must have the dtype of the weights"),
        ({"layers": ["1"]}, ValueError, r"layers must be a list of \['0', '2'\], got \['1'\]"),
        ({"layers": "0"}, ValueError, "layers must be a list of"),
        ({"mode": "train"}, ValueError, "mode must be one of batch, eval, got 'train'"),
        ({"directions": 0}, ValueError, "directions must be at least 1, got 0"),
        ({"splits": 1}, ValueError, "splits must be at least 2, got 1"),
        ({"temperature": 0.0}, ValueError, "temperature must be finite and greater than 0"),
        ({"loss": 3}, TypeError, "loss must be a loss or a function of the outputs, got int"),
        ({"loss": lambda f: f}, ValueError, "loss must return a differentiable scalar, got shape"),
        ({"loss": lambda f: 1.0}, TypeError, "loss must return a tensor, got float"),
        ({"loss": lambda f: f.sum() * math.inf}, ValueError, "loss must be finite with a finite gradient"),
        ({"model": nn.Sequential(nn.ReLU())}, ValueError, "model must have a layer with an operator"),
    ]
    for change, error, message in wrong:
        with pytest.raises(error, match=message):
            inspect(**{"model": model, "views": views, "loss": LOSS} | change)
    with pytest.raises(TypeError, match="loss must be a function of two views, got int"):
        over_pairs(3)  # type: ignore[arg-type]
