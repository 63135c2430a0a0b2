"""Reading the wild: all parameters are measured or refused with a reason, numbers are those of autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_theory.checks import relative_error
from ssl_theory.inspection import inspect
from ssl_theory.losses import InfoNCE
from ssl_theory.networks import vec
from ssl_theory.operators import linearise, operator_layers, refused_layers
from tests.inspection.cases import in_batch_mode
from tests.inspection.wild import REAL, SMALL, EdgeModel, Maker, Recurrent, graph

LOSS = InfoNCE(0.5)
FEW: dict[str, Any] = {"directions": 2, "probes": 2, "nulls": 1, "splits": 2}


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    build, shape, _ = SMALL[name]
    torch.manual_seed(0)
    model = build().to(dtype).eval()
    centre = torch.randn(3, 1, *shape, dtype=torch.float64)
    return model, (centre + 0.4 * torch.randn(3, 2, *shape, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("name", REAL)
def test_every_parameter_of_real_architectures_is_accounted_for(name: str) -> None:
    with torch.device("meta"):
        model = REAL[name]()
    measured, refused = operator_layers(model), refused_layers(model)
    assert len(measured) > 10
    owners = {weight.rpartition(".")[0] for weight in measured.values()}
    for parameter, _ in model.named_parameters():
        owner = parameter.rpartition(".")[0]
        assert owner in owners or owner in refused or parameter in refused, parameter
    assert all(reason.endswith(("gradient only", "is not supported")) for reason in refused.values())
    norms = {"convnext_tiny": ("features.0.1", "LayerNorm2d"), "resnet18": ("bn1", "BatchNorm2d")}
    for layer, kind in [norms[name]] if name in norms else []:
        assert refused[layer] == f"the affine weight of {kind} is not an operator: gradient only"


def rows_of(model: nn.Module, views: Tensor, weight: str) -> Tensor:
    """Return Kᵀ of all views, (N·A·n_L, D), vec column-major, from one backward pass for each output."""
    parameter = dict(model.named_parameters())[weight]
    outputs = model(views.flatten(0, 1))
    rows = [torch.autograd.grad(f, parameter, retain_graph=True)[0].flatten(1) for f in outputs.flatten()]
    return torch.stack([row.mT.flatten() for row in rows])


@pytest.mark.parametrize("name", SMALL)
def test_products_are_those_of_dense_jacobians(name: str) -> None:
    """In float64 and, within its digits, in float32."""
    model, views = made(name)
    in_batch_mode(model)
    for layer in SMALL[name][2]:
        weight = operator_layers(model)[layer]
        rows = rows_of(model, views, weight)
        for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-3)):
            model.to(dtype)
            found = linearise(model, views.to(dtype), layer, mode="batch")
            change = torch.randn(found.weight.shape, dtype=torch.float64)
            expected = (rows @ vec(change)).view(found.outputs.shape)
            assert relative_error(found.push(change.to(dtype)).double(), expected) < tolerance
            target = torch.randn(found.outputs.shape, dtype=torch.float64)
            pulled = vec(found.pull(target.to(dtype))).double()
            assert relative_error(pulled, target.flatten() @ rows) < tolerance
        model.double()


@pytest.mark.parametrize("name", ["resnet18", "signal", "vit_b_16"])
def test_spectra_are_those_of_dense_jacobians(name: str) -> None:
    model, views = made(name)
    layer = SMALL[name][2][-1]
    found = inspect(model, views, loss=LOSS, layers=[layer], **FEW).layers[layer]
    in_batch_mode(model)
    rows = rows_of(model, views, operator_layers(model)[layer]).view(3, 2, -1, found.weight.numel())
    means = rows.mean(1)
    between = (means - means.mean(0)).flatten(0, 1)
    within = (rows - means.unsqueeze(1)).flatten(0, 2)
    for pairs, centred, count in ((found.between, between, 3), (found.within, within, 6)):
        expected = torch.linalg.svdvals(centred)[:2].square() / count
        assert relative_error(pairs.values, expected) < 1e-10


@pytest.mark.parametrize("name", ["swin_t", "timm vit"])
def test_weights_in_bfloat16_are_computed_in_float32(name: str) -> None:
    model, views = made(name, torch.bfloat16)
    layer = SMALL[name][2][-1]
    half = inspect(model, views, loss=LOSS, layers=[layer], **FEW)
    single = inspect(model.float(), views.float(), loss=LOSS, layers=[layer], **FEW)
    assert half.table().equals(single.table())
    assert "Weights in bfloat16 were computed in float32." in half.notes


@pytest.mark.parametrize("name", ["convnext_tiny", "efficientnet_b0", "lstm"])
def test_inspection_of_chosen_layers(name: str) -> None:
    model, views = made(name, torch.float32)
    layer = SMALL[name][2][-1]
    found = inspect(model, views, loss=LOSS, layers=[layer], **FEW)
    assert list(found.layers) == [layer]
    assert found.layers[layer].against["mixed"].cosine.value > 0


def test_a_head_that_starts_at_zero_leaves_the_layers_below_nothing() -> None:
    """As torchvision's vision transformers do."""
    model, views = made("vit_b_16")
    nn.init.zeros_(model.heads.head.weight)  # type: ignore[union-attr,arg-type]
    layer = "encoder.layers.encoder_layer_0.mlp.0"
    found = inspect(model, views, loss=LOSS, layers=[layer, "heads.head"], **FEW)
    assert not found.refused
    assert found.layers[layer].between.values.tolist() == [0.0, 0.0]
    assert found.layers["heads.head"].between.values[0] > 0


def test_recurrent_and_graph_layers_are_refused_and_the_rest_goes_on() -> None:
    cases: list[tuple[Maker, tuple[int, ...], dict[str, str], list[str]]] = [
        (Recurrent, (5, 3), {"memory": "LSTM is not supported"}, ["below", "head"]),
        (
            graph,
            (5, 3),
            {"0.weight": "a parameter of GraphConvolution itself is not an operator: gradient only"},
            ["3"],
        ),
    ]
    for build, shape, refused, measured in cases:
        torch.manual_seed(0)
        found = inspect(build(), torch.randn(4, 2, *shape), loss=LOSS, **FEW)
        assert dict(found.refused) == refused
        assert list(found.layers) == measured


@pytest.mark.bad_input
def test_modules_that_need_more_than_views() -> None:
    with pytest.raises(ValueError, match="views must go through the module.*missing 1 required .*edge_index"):
        inspect(EdgeModel(), torch.randn(4, 2, 5, 3), loss=LOSS)
