from __future__ import annotations

import torch
from torch import nn

from ssl_theory.checks import relative_error
from ssl_theory.losses import InfoNCE
from ssl_theory.networks import vec
from ssl_theory.operators import covariance_operator, expected_loss, linearise, operator, refused_layers
from ssl_theory.operators.pairs import form_of
from tests.cases import make_world
from tests.operators.test_modules import Book


def test_products_are_those_of_the_connections() -> None:
    world, loss = make_world([4, 5, 3, 2], 4, 3, seed=5, noise=1.0), InfoNCE(0.5)
    module = Book(world.net).eval()
    found = linearise(module, world.views, "stack.2")
    connections = world.net.connection(world.views, 2)  # (N, A, D, n_L)
    change = torch.randn_like(found.weight)
    pushed = torch.einsum("nadl,d->nal", connections, vec(change))
    assert relative_error(found.push(change), pushed) < 1e-13
    pulled = torch.einsum("nadl,nal->d", connections, pushed)
    assert relative_error(vec(found.pull(pushed)), pulled) < 1e-13
    form = form_of("exact", found.outputs, loss)
    exact = covariance_operator(world.net, world.views, 2, loss)
    assert relative_error(found.operator(form).dense(), exact) < 1e-13
    assert relative_error(vec(found.apply(form, change)), exact @ vec(change)) < 1e-13
    assert torch.equal(found.weight, world.net.weights[1])
    assert relative_error(found.outputs, world.net(world.views)) < 1e-13


def test_the_slope_of_a_loss_is_pulled_to_its_gradient() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv1d(2, 3, 3), nn.GELU(), nn.Flatten(), nn.Linear(12, 4)).double().eval()
    views = torch.randn(3, 2, 2, 6, dtype=torch.float64)
    found = linearise(module, views, "0")
    outputs = found.outputs.requires_grad_()
    slope = torch.autograd.grad(InfoNCE(0.5)(*_distances(outputs)).mean(), outputs)[0]
    expected = torch.autograd.grad(
        InfoNCE(0.5)(*_distances(module(views.flatten(0, 1)).view(3, 2, 4))).mean(), module[0].weight
    )[0]
    assert relative_error(found.pull(slope), expected.flatten(1)) < 1e-13


def _distances(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r_pos = (outputs[:, 0] - outputs[:, 1]).square().sum(-1)
    return r_pos, (outputs[:, 0] - outputs[:, 1].roll(1, 0)).square().sum(-1, keepdim=True)


def test_layers_without_an_operator_are_told_with_the_reason() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 1, 4))
            self.norm = nn.LayerNorm(4)
            self.memory = nn.LSTM(4, 3)
            self.head = nn.Linear(3, 2)
            self.flat = nn.BatchNorm1d(2, affine=False)
            self.scaled = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
            self.attention = nn.MultiheadAttention(4, 2)

    found = refused_layers(Model())
    assert found["token"] == "a parameter of Model itself is not an operator: gradient only"
    assert found["norm"] == "the affine weight of LayerNorm is not an operator: gradient only"
    assert found["memory"] == "LSTM is not supported"
    assert any("scaled" in name for name in found)
    assert not {"head", "flat", "attention"} & {name.split(".")[0] for name in found}


def test_operator_and_linearised_agree_where_batchnorm_couples_the_views() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).double()
    views = torch.randn(4, 3, 3, dtype=torch.float64)
    found = linearise(module, views, "0", mode="batch")
    between = operator(module, views, "0", part="between", mode="batch")
    assert (
        relative_error(
            found.operator(form_of("between", found.outputs, InfoNCE(1.0))).dense(), between.dense()
        )
        < 1e-13
    )
    assert float(expected_loss(module.eval(), views, InfoNCE(1.0)).detach()) > 0
