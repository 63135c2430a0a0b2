"""Convolutions whose backward pass is differentiated without work that nobody asked for.

torch's rule for the second derivative of a convolution computes all of its parts, asked for or not. Products
with connections need one of them: how the gradients depend on the change of the outputs, linearly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__: list[str] = []

_PLAIN = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}
_TRANSPOSED = {torch.conv_transpose1d: 1, torch.conv_transpose2d: 2, torch.conv_transpose3d: 3}


class _Convolutions(TorchFunctionMode):
    """Replaces the convolutions of a module while it is active."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _PLAIN or function in _TRANSPOSED:
            dims = _PLAIN.get(function) or _TRANSPOSED[function]
            read = _plain if function in _PLAIN else _transposed
            x, weight, bias, how = read(dims, *args, **kwargs)
            if how is not None and x.ndim == dims + 2:
                return _Convolution.apply(x, weight, bias, how)  # type: ignore[no-untyped-call]
        return function(*args, **kwargs)


class _How(NamedTuple):
    """What aten wants to know of a convolution."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = how
        return _convolve(x, weight, bias, how)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        # only the dependence on g will be differentiated again
        x, weight = (tensor.detach() for tensor in ctx.saved_tensors)
        pulled = [
            _Pulled.apply(g, x, weight, ctx.how, index) if ctx.needs_input_grad[index] else None  # type: ignore[no-untyped-call]
            for index in (0, 1)
        ]
        to_bias = g.sum([0, *range(2, g.ndim)]) if ctx.needs_input_grad[2] else None
        return *pulled, to_bias, None


class _Pulled(torch.autograd.Function):
    """The gradient of a convolution's input (0) or weight (1), linear in the change g of its output."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, weight: Tensor, how: _How, index: int) -> Tensor:
        ctx.save_for_backward(x if index == 1 else weight)
        ctx.how, ctx.index = how, index
        mask = [index == 0, index == 1, False]
        gradients = torch.ops.aten.convolution_backward(g, x, weight, None, *how, mask)
        gradient: Tensor = gradients[index]
        return gradient

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Any, ...]:
        (other,) = ctx.saved_tensors
        x, weight = (other, direction) if ctx.index == 1 else (direction, other)
        return _convolve(x, weight, None, ctx.how), None, None, None, None


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
    image: Tensor = torch.ops.aten.convolution(x, weight, bias, *how)
    return image


def _plain(
    dims: int,
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Tensor | None, _How | None]:
    steps = _tuple(dilation, dims)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(steps, weight.shape[2:], strict=True)]
        if any(t % 2 for t in total):  # more on one side than on the other
            return input, weight, bias, None
        padding = [t // 2 for t in total]
    nothing = (0,) * dims
    how = _How(_tuple(stride, dims), _tuple(padding, dims), steps, False, nothing, groups)
    return input, weight, bias, how


def _transposed(
    dims: int,
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> tuple[Tensor, Tensor, Tensor | None, _How | None]:
    steps, edges = _tuple(stride, dims), _tuple(padding, dims)
    how = _How(steps, edges, _tuple(dilation, dims), True, _tuple(output_padding, dims), groups)
    return input, weight, bias, how


def _tuple(value: Any, dims: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values
