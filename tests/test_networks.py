from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from ssl_theory import reference
from ssl_theory.checks import relative_error
from ssl_theory.networks import ReLUNetwork, unvec, vec
from tests.cases import World, lists, make_world, seeds, trainable, widths, worlds

TOL = 1e-12


def kron(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    product = left[:, None, :, None] * right[None, :, None, :]
    return product.reshape(left.shape[0] * right.shape[0], left.shape[1] * right.shape[1])


@given(worlds())
def test_outputs_jacobians_and_connections_equal_the_loops(world: World) -> None:
    weights = [lists(w) for w in world.net.weights]
    x = world.views[0, 0]
    for value, slow in [
        (world.net(x), reference.output(weights, lists(x))),
        (world.net.jacobian(x, world.layer), reference.jacobian(weights, lists(x), world.layer)),
        (world.net.connection(x, world.layer), reference.connection(weights, lists(x), world.layer)),
    ]:
        assert relative_error(value, torch.tensor(slow, dtype=torch.float64)) < TOL


@given(worlds())
def test_jacobian_is_the_derivative_of_the_layers_above(world: World) -> None:
    x = world.views[0, 0]
    net, layer = world.net, world.layer
    pre = net.pre_activations(x)[layer - 1]

    def above(value: torch.Tensor) -> torch.Tensor:
        if layer == net.depth:
            return value
        return ReLUNetwork(net.weights[layer:])(torch.relu(value))

    expected = torch.autograd.functional.jacobian(above, pre)
    assert relative_error(net.jacobian(x, layer), expected) < TOL


@given(worlds(), st.booleans())
def test_gates_stay_up_to_the_first_flip_and_not_beyond(world: World, biased: bool) -> None:
    g = torch.Generator().manual_seed(1)
    biases = [torch.randn(n, generator=g, dtype=torch.float64) for n in world.net.widths[1:]]
    net, x = ReLUNetwork(world.net.weights, biases if biased else None), world.views[0, 0]
    direction = torch.randn(x.shape, generator=g, dtype=x.dtype)
    flip = float(net.first_flip(x, direction))

    def open_at(t: float) -> list[list[float]]:
        return [net.gates(x + t * direction, layer).tolist() for layer in range(1, net.depth)]

    if flip < 1e6:
        assert open_at(0.0) == open_at(flip * (1 - 1e-7)) != open_at(flip * (1 + 1e-7))
    else:
        assert open_at(0.0) == open_at(1e6)


def test_the_first_flip_by_hand() -> None:
    net = ReLUNetwork([torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 0.0]])])
    x, direction = torch.tensor([[2.0], [2.0], [-1.0]]), torch.tensor([[-1.0], [1.0], [4.0]])
    assert net.first_flip(x, direction).tolist() == [2.0, torch.inf, 0.25]
    with pytest.raises(ValueError, match=r"direction must have shape \(\.\.\., n_0 = 1\), got \(3, 2\)"):
        net.first_flip(torch.ones(3, 2), torch.ones(3, 2))


@given(worlds())
def test_connection_times_weights_is_the_output_in_every_layer(world: World) -> None:
    for layer in range(1, world.net.depth + 1):
        product = world.net.connection(world.views, layer).mT @ vec(world.net.weights[layer - 1])
        assert relative_error(product, world.net(world.views)) < TOL


@given(worlds())
def test_gradient_of_two_different_networks(world: World) -> None:
    """T1: two towers, each with weights of its own."""
    one, two = trainable(world.net), ReLUNetwork([w + 0.1 for w in world.net.weights])
    x, other = world.views[0, 0], world.views[-1, -1]
    r = 0.5 * (one(x) - two(other)).square().sum()
    (gradient,) = torch.autograd.grad(r, one.weights[world.layer - 1])
    k1, k2 = one.connection(x, world.layer), two.connection(other, world.layer)
    towers = k1.mT @ vec(world.weight) - k2.mT @ vec(two.weights[world.layer - 1])
    assert relative_error(vec(gradient), k1 @ towers) < TOL


@given(worlds())
def test_gradient_with_shared_weights(world: World) -> None:
    net, x, other = trainable(world.net), world.views[0, 0], world.views[-1, -1]
    r = 0.5 * (net(x) - net(other)).square().sum()
    (gradient,) = torch.autograd.grad(r, net.weights[world.layer - 1])
    difference = net.connection(x, world.layer) - net.connection(other, world.layer)
    assert relative_error(vec(gradient), difference @ (difference.mT @ vec(world.weight))) < TOL


@given(widths, seeds, st.sampled_from([(), (0,), (3,), (2, 0), (2, 3)]), st.sampled_from(["32", "64"]))
def test_shapes_and_dtypes_over_batches(
    sizes: list[int], seed: int, batch: tuple[int, ...], bits: str
) -> None:
    dtype = getattr(torch, f"float{bits}")
    g = torch.Generator().manual_seed(seed)
    net = ReLUNetwork.random(sizes, generator=g, dtype=dtype)
    x = torch.randn(*batch, sizes[0], generator=g, dtype=dtype)
    assert net.widths == tuple(sizes)
    assert net(x).shape == (*batch, sizes[-1])
    for layer in range(1, net.depth + 1):
        jacobian, connection = net.jacobian(x, layer), net.connection(x, layer)
        assert jacobian.shape == (*batch, sizes[-1], sizes[layer])
        assert connection.shape == (*batch, sizes[layer] * sizes[layer - 1], sizes[-1])
        assert net.gates(x, layer).shape == net.activation(x, layer).shape == (*batch, sizes[layer])
        assert jacobian.dtype == connection.dtype == net(x).dtype == dtype


def test_activations_and_gates_of_a_network_computed_by_hand() -> None:
    first = torch.tensor([[1.0, -1.0], [2.0, 0.0]], dtype=torch.float64)
    top = torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    net = ReLUNetwork([first, top])
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert net.activation(x, 0).tolist() == [1.0, 2.0]
    assert net.activation(x, 1).tolist() == [0.0, 2.0]
    assert net.gates(x, 1).tolist() == [0.0, 1.0]
    assert net.activation(x, 2).tolist() == net(x).tolist() == [-2.0]
    assert net.gates(x, 2).tolist() == [1.0]
    assert net.jacobian(x, 1).tolist() == [[0.0, -1.0]]
    assert net.connection(x, 1).squeeze(-1).tolist() == [0.0, -1.0, 0.0, -2.0]


def test_biases_shift_pre_activations() -> None:
    world = make_world([3, 4, 2], 1, 1, seed=3)
    biases = [torch.full((4,), 0.5, dtype=torch.float64), torch.ones(2, dtype=torch.float64)]
    net = ReLUNetwork(world.net.weights, biases)
    x = world.views[0, 0]
    hidden = torch.relu(net.weights[0] @ x + 0.5)
    assert relative_error(net(x), net.weights[1] @ hidden + 1.0) < TOL


def test_random_networks_keep_the_size_of_activations() -> None:
    g = torch.Generator().manual_seed(0)
    net = ReLUNetwork.random([400, 400, 400], generator=g, scale=1.0)
    weights = net.weights
    assert weights[0].std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.01)
    assert weights[1].std().item() == pytest.approx((1 / 400) ** 0.5, rel=0.01)
    twice = ReLUNetwork.random([400, 400, 400], generator=torch.Generator().manual_seed(0), scale=2.0)
    assert relative_error(twice.weights[0], 2 * weights[0]) < TOL


def test_gradients_flow_through_the_weights() -> None:
    world = make_world([3, 3, 2], 2, 1, seed=5)
    x = world.views[:, 0]

    def function(*weights: torch.Tensor) -> torch.Tensor:
        return ReLUNetwork(weights)(x)

    assert gradcheck(function, [w.clone().requires_grad_() for w in world.net.weights])
    assert all(a is b for a, b in zip(ReLUNetwork(world.net.weights).weights, world.net.weights, strict=True))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), seeds)
def test_vec_stacks_columns(rows: int, inner: int, columns: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    a, x, b = (
        torch.randn(s, generator=g, dtype=torch.float64)
        for s in [(rows, inner), (inner, columns), (columns, 2)]
    )
    assert relative_error(vec(a @ x @ b), kron(b.mT, a) @ vec(x)) < TOL
    assert torch.equal(unvec(vec(x), inner), x)


W = torch.ones(2, 3, dtype=torch.float64)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([], ValueError, "weights must hold at least one matrix"),
        ([[1.0]], TypeError, r"weights\[0\] must be a torch tensor, got list"),
        ([W.int()], TypeError, r"weights\[0\] must be float32 or float64, got torch.int32"),
        ([W[0]], ValueError, r"weights\[0\] must have 2 dimensions"),
        ([W, W], ValueError, r"weights\[1\] must have n_1 = 2 columns"),
        ([W, W.mT.float()], TypeError, r"weights\[1\] must have the dtype of weights\[0\]"),
        ([W * float("nan")], ValueError, r"weights\[0\] must be finite"),
        ([W[:0]], ValueError, r"weights\[0\] must not be empty"),
        (
            [W, W.mT.to("meta")],
            ValueError,
            r"weights\[1\] must be on the device of weights\[0\], cpu, got meta",
        ),
    ],
)
def test_bad_weights(weights: list[torch.Tensor], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ReLUNetwork(weights)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("biases", "error", "message"),
    [
        ([], ValueError, "biases must hold one vector per layer, 1, got 0"),
        ([torch.ones(3, dtype=torch.float64)], ValueError, r"biases\[0\] must have shape \(2,\)"),
        ([torch.ones(2)], TypeError, r"biases\[0\] must have the dtype of the weights"),
    ],
)
def test_bad_biases(biases: list[torch.Tensor], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ReLUNetwork([W], biases)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("x", "layer", "error", "message"),
    [
        (torch.ones(3, dtype=torch.float64), 0, ValueError, "layer must be from 1 to 1, got 0"),
        (torch.ones(3, dtype=torch.float64), 2, ValueError, "layer must be from 1 to 1, got 2"),
        (torch.ones(3, dtype=torch.float64), 1.0, TypeError, "layer must be an integer, got 1.0"),
        (
            torch.ones(2, dtype=torch.float64),
            1,
            ValueError,
            r"x must have shape \(..., n_0 = 3\), got \(2,\)",
        ),
        (torch.tensor(1.0, dtype=torch.float64), 1, ValueError, "x must have shape"),
        (torch.ones(3), 1, TypeError, "x must have the dtype of the weights"),
        (
            torch.ones(3, dtype=torch.float64, device="meta"),
            1,
            ValueError,
            "x must be on the device of the weights",
        ),
        ([1.0, 2.0, 3.0], 1, TypeError, "x must be a torch tensor"),
    ],
)
def test_bad_inputs(x: torch.Tensor, layer: int, error: type[Exception], message: str) -> None:
    for method in (ReLUNetwork([W]).jacobian, ReLUNetwork([W]).connection):
        with pytest.raises(error, match=message):
            method(x, layer)


@pytest.mark.bad_input
def test_bad_constructions(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="widths must list at least n_0 and n_1"):
        ReLUNetwork.random([3], generator=generator)
    with pytest.raises(ValueError, match=r"widths\[1\] must be at least 1, got 0"):
        ReLUNetwork.random([3, 0], generator=generator)
    with pytest.raises(ValueError, match="scale must be finite and greater than 0, got nan"):
        ReLUNetwork.random([3, 2], generator=generator, scale=float("nan"))
    with pytest.raises(ValueError, match="rows must divide the length 4 of the vector, got 3"):
        unvec(torch.ones(4), 3)


@pytest.mark.bad_input
def test_bad_vectors() -> None:
    with pytest.raises(TypeError, match="matrix must be a torch tensor, got list"):
        vec([[1.0]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"matrix must have shape \(..., rows, columns\), got \(3,\)"):
        vec(torch.ones(3))
    with pytest.raises(TypeError, match="vector must be a torch tensor, got list"):
        unvec([1.0], 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"vector must have shape \(..., length\), got \(\)"):
        unvec(torch.ones(()), 1)


@pytest.mark.bad_input
def test_weights_without_numbers() -> None:
    for weight, kind in ((torch.ones(2, 2, device="meta"), "meta"), (torch.eye(2).to_sparse(), "sparse")):
        with pytest.raises(ValueError, match=rf"weights\[0\] must be a dense tensor .*, got a {kind} tensor"):
            ReLUNetwork([weight])


@pytest.mark.bad_input
def test_bad_sources_of_random_networks(generator: torch.Generator) -> None:
    with pytest.raises(TypeError, match="generator must be a torch.Generator, got NoneType"):
        ReLUNetwork.random([2, 2], generator=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="device must name a device that is there, got 'nosuch'"):
        ReLUNetwork.random([2, 2], generator=generator, device="nosuch")
    for dtype in (torch.int64, torch.float16, "float32"):
        with pytest.raises(TypeError, match="dtype must be torch.float32 or torch.float64, got"):
            ReLUNetwork.random([2, 2], generator=generator, dtype=dtype)  # type: ignore[arg-type]
