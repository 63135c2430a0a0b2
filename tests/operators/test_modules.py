from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ssl_theory.checks import relative_error
from ssl_theory.losses import InfoNCE
from ssl_theory.networks import ReLUNetwork
from ssl_theory.operators import operator, operator_layers
from ssl_theory.operators.pairs import Part, form_of
from tests.cases import make_world
from tests.operators.test_networks import LOSS, PARTS, TOL, dense


class Book(nn.Module):
    """The book's network as a torch module."""

    def __init__(self, net: ReLUNetwork) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for weight in net.weights:
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
            layer.weight = nn.Parameter(weight)
            layers += [layer, nn.ReLU()]
        self.stack = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x)


class Attention(nn.Module):
    """Attention of a sequence to itself, or with keys and values of another width."""

    def __init__(self, width: int, other: int | None = None) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True, kdim=other, vdim=other)
        self.other = nn.Identity() if other is None else nn.Linear(width, other)

    def forward(self, x: Tensor) -> Tensor:
        y = self.other(x)
        return self.attention(x, y, y, need_weights=False)[0].mean(1)


class Tied(nn.Module):
    """One weight at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.Linear(3, 3), nn.Linear(3, 3)
        self.above.weight = self.below.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.above(torch.tanh(self.below(x)))


def transformer() -> nn.Module:
    block = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(block, 2, enable_nested_tensor=False), nn.Flatten())


def vision_transformer() -> nn.Module:
    """Return a small one: patches by a convolution, a transformer, the mean over patches."""
    block = nn.TransformerEncoderLayer(6, 3, 8, activation="gelu", batch_first=True, norm_first=True)
    return nn.Sequential(
        nn.Conv2d(1, 6, 2, 2),
        nn.Flatten(2),
        Transpose(),
        nn.TransformerEncoder(block, 1, enable_nested_tensor=False),
        Mean(),
        nn.Linear(6, 3),
    )


class Transpose(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mT


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def flat(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten())


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: flat(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)), (3,)),
    "conv1d": (lambda: flat(nn.Conv1d(2, 3, 2), nn.Tanh(), nn.Conv1d(3, 1, 2, padding=1)), (2, 4)),
    "conv2d": (lambda: flat(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Conv2d(3, 2, 2)), (2, 3, 3)),
    "conv3d": (lambda: flat(nn.Conv3d(1, 2, 2), nn.ReLU()), (1, 2, 3, 2)),
    "grouped": (
        lambda: flat(nn.Conv2d(4, 4, 2, groups=2, stride=2), nn.SiLU(), nn.Conv2d(4, 2, 1)),
        (4, 4, 4),
    ),
    "transposed": (
        lambda: flat(nn.ConvTranspose2d(2, 4, 2, groups=2), nn.Tanh(), nn.ConvTranspose2d(4, 1, 2)),
        (2, 2, 2),
    ),
    "pooling": (lambda: flat(nn.Conv2d(1, 3, 2), nn.MaxPool2d(2), nn.GroupNorm(1, 3)), (1, 5, 5)),
    "attention": (lambda: Attention(4), (3, 4)),
    "cross": (lambda: Attention(4, 2), (3, 4)),
    "tied": (Tied, (3,)),
    "transformer": (transformer, (3, 4)),
    "vision transformer": (vision_transformer, (1, 4, 4)),
}


def slow(module: nn.Module, name: str, views: Tensor, part: Part) -> Tensor:
    """Return K Λ Kᵀ from one backward pass for each output of each view."""
    weight = dict(module.named_parameters(remove_duplicate=False))[name]
    flat = views.flatten(0, 1)
    outputs = module(flat).flatten(1)
    rows = torch.stack(
        [
            torch.autograd.grad(value, weight, retain_graph=True)[0].flatten(1).mT.flatten()
            for value in outputs.flatten()
        ]
    ).detach()
    grid = outputs.detach().unflatten(0, views.shape[:2])
    image = form_of(part, grid, LOSS)(rows.reshape(*views.shape[:2], -1)).reshape(rows.shape)
    return rows.mT @ image


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("limit", [2**30, 2000])
def test_modules_give_the_operators_of_networks(part: Part, limit: int) -> None:
    world = make_world([4, 5, 3, 2], 3, 3, seed=5, layer=2)
    op = operator(Book(world.net).eval(), world.views, "stack.2", part=part, loss=LOSS, memory_limit=limit)
    assert relative_error(op.dense(), dense(world, part)) < TOL


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("part", ["exact", "between"])
def test_every_layer_against_its_jacobian(kind: str, part: Part) -> None:
    make, shape = MODULES[kind]
    torch.manual_seed(0)
    module, views = make().double().eval(), torch.randn(3, 2, *shape, dtype=torch.float64)
    layers = operator_layers(module)
    assert layers
    for layer, name in layers.items():
        op = operator(module, views, layer, part=part, loss=LOSS)
        expected = slow(module, name, views, part)
        unit = expected.abs().max()
        assert relative_error(op.dense() / unit, expected / unit) < 1e-12, layer


def test_embeddings_take_tokens() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)).double().eval()
    tokens = torch.randint(0, 5, (4, 2, 2))
    for layer, name in operator_layers(module).items():
        op = operator(module, tokens, layer, part="between")
        assert relative_error(op.dense(), slow(module, name, tokens, "between")) < TOL


def test_names_of_layers() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), Attention(4), nn.LSTM(4, 4), nn.LazyLinear(2))
    assert operator_layers(module) == {
        "0": "0.weight",
        "2.attention.in_proj_weight": "2.attention.in_proj_weight",
        "2.attention.out_proj": "2.attention.out_proj.weight",
    }
    assert list(operator_layers(Attention(4, 2))) == [
        "attention.q_proj_weight",
        "attention.k_proj_weight",
        "attention.v_proj_weight",
        "attention.out_proj",
        "other",
    ]
    linear = nn.Linear(2, 2).eval()
    assert operator_layers(linear) == {"weight": "weight"}
    assert operator(linear, torch.randn(3, 1, 2), "weight", part="between").shape == (4, 4)


def test_half_precision_is_computed_in_single() -> None:
    torch.manual_seed(0)
    half = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).bfloat16().eval()
    single = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    single.load_state_dict(half.state_dict())
    views = torch.randn(3, 2, 3).bfloat16()
    op = operator(half, views, "0", part="between")
    assert op.dtype == torch.float32
    assert torch.equal(op.dense(), operator(single, views.float(), "0", part="between").dense())
    assert next(half.parameters()).dtype == torch.bfloat16


def test_the_operator_is_that_of_the_weights_when_it_was_made() -> None:
    torch.manual_seed(0)
    module, views = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval(), torch.randn(3, 2, 3)
    for limit in (2**30, 1000):
        op = operator(module, views, "0", part="between", memory_limit=limit)
        before = op.dense()
        with torch.no_grad():
            module[2].weight.mul_(2)
        assert torch.equal(op.dense(), before)


def test_grad_modes_and_flags_do_not_matter() -> None:
    torch.manual_seed(0)
    module, views = transformer().eval(), torch.randn(2, 2, 3, 4)
    module.requires_grad_(False)
    expected = operator(module, views, "0.layers.0.linear1", part="between").dense()
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        assert torch.equal(operator(module, views, "0.layers.0.linear1", part="between").dense(), expected)
    with torch.inference_mode():
        again = operator(module, views * 1.0, "0.layers.0.linear1", part="between").dense()
    assert torch.equal(again, expected)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not any(p.requires_grad or p.grad is not None for p in module.parameters())


def normalised() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2), nn.BatchNorm1d(2)
    ).double()


@pytest.mark.parametrize("part", PARTS)
def test_batch_mode_differentiates_the_statistics(part: Part) -> None:
    module, views = normalised(), torch.randn(3, 2, 3, dtype=torch.float64)
    module[3].p = 0.0  # the reference below trains everything
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.eval()
    found = {n: operator(module, views, n, part=part, loss=LOSS, mode="batch").dense() for n in ("0", "4")}
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(m.training for m in module.modules())
    module.train()
    for layer, matrix in found.items():
        # through the statistics the derivative of one view's output in the weights is that of the batch
        assert relative_error(matrix, slow(module, f"{layer}.weight", views, part)) < TOL


def test_evaluation_mode_uses_the_running_statistics() -> None:
    module, views = normalised(), torch.randn(3, 2, 3, dtype=torch.float64)
    module.train()(torch.randn(50, 3, dtype=torch.float64))
    module.eval()
    for layer in ("0", "4"):
        op = operator(module, views, layer, loss=LOSS)
        assert relative_error(op.dense(), slow(module, f"{layer}.weight", views, "exact")) < TOL


class Two(nn.Module):
    def __init__(self, output: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.used, self.idle, self.output = nn.Linear(4, 2), nn.Linear(4, 2), output

    def forward(self, x: Tensor) -> object:
        return self.output(self.used(x))


@pytest.mark.bad_input
def test_bad_modules() -> None:
    world = make_world([4, 5, 2], 3, 2, seed=0)
    module, views = Book(world.net), world.views
    with pytest.raises(ValueError, match=r"module must be in evaluation mode: call module.eval\(\) first"):
        operator(module.train(), views, "stack.0")
    module.eval()
    with pytest.raises(ValueError, match=r"layer must be one of .*\['stack.0', 'stack.2'\], got 'stack.1'"):
        operator(module, views, "stack.1")
    with pytest.raises(ValueError, match=r"layer must be one of .*, got 1"):
        operator(module, views, 1)
    with pytest.raises(ValueError, match=r"views must have shape \(N, A, ...\) without zeros"):
        operator(module, views[:0], "stack.0")
    with pytest.raises(TypeError, match="views must have the dtype of the weights"):
        operator(module, views.float(), "stack.0")
    with pytest.raises(TypeError, match="views must be a torch tensor, got list"):
        operator(module, views.tolist(), "stack.0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="views must be finite"):
        operator(module, views / 0, "stack.0")
    with pytest.raises(ValueError, match="views must be on the device of the weights, cpu, got meta"):
        operator(module, torch.empty(3, 2, 4, dtype=torch.float64, device="meta"), "stack.0")
    with pytest.raises(ValueError, match=r"views must go through the module, got shape \(1, 3\): mat1"):
        operator(module, views[..., :3], "stack.0")
    with pytest.raises(ValueError, match="mode must be 'eval' or 'batch', got 'train'"):
        operator(module, views, "stack.0", mode="train")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory_limit must hold one view, at least .* bytes, got 100"):
        operator(module, views, "stack.0", part="between", memory_limit=100)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (lambda y: (y, y), TypeError, "module must return a tensor, got tuple"),
        (lambda y: y.sum(), ValueError, r"module must return a row for each of 1 views, got shape \(\)"),
        (lambda y: y / 0, ValueError, "the module's outputs must be finite"),
        (lambda y: y.detach(), ValueError, "the module's outputs do not depend on used.weight"),
    ],
)
def test_bad_outputs(output: Callable[[Tensor], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        operator(Two(output).eval(), torch.randn(2, 2, 4), "used")


@pytest.mark.bad_input
def test_layers_without_an_operator() -> None:
    views = torch.randn(3, 2, 4)
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.LSTM(4, 4), Attention(4)).eval()
    for layer in ("1", "1.weight"):
        with pytest.raises(ValueError, match="affine weight of LayerNorm is not an operator: gradient only"):
            operator(module, views, layer)
    with pytest.raises(ValueError, match="got '2.weight_ih_l0': LSTM is not supported"):
        operator(module, views, "2.weight_ih_l0")
    with pytest.raises(ValueError, match="got '3.attention': name one of its projections"):
        operator(module, views, "3.attention")
    with pytest.raises(ValueError, match="got '0.bias': its bias is not an operator: gradient only"):
        operator(module, views, "0.bias")
    with pytest.raises(ValueError, match="the module's outputs do not depend on idle.weight"):
        operator(Two(lambda y: y).eval(), views, "idle")
    nn.utils.parametrizations.weight_norm(module[0])
    with pytest.raises(ValueError, match="got '0': its weight is computed by a parametrisation"):
        operator(module, views, "0")


@pytest.mark.bad_input
def test_batch_norm_without_statistics() -> None:
    module, views = normalised().eval(), torch.randn(3, 2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="'1' has running statistics that no batch has touched"):
        operator(module, views, "0", loss=InfoNCE(1.0))
    bare = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False)).double().eval()
    with pytest.raises(ValueError, match="'1' keeps no running statistics: its views need mode='batch'"):
        operator(bare, views, "0")
