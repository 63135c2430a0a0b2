"""Products with the connections of one layer of any torch module, by automatic differentiation (T3–T5, T12).

The module is evaluated once. Its backward pass gives Σ_u K_u t_u, which is linear in t, so that the
backward pass of the backward pass gives K_uᵀ vec(V). No rule of forward-mode differentiation is needed, and
no product evaluates the module again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, func, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from ssl_theory.operators.convolutions import _Convolutions
from ssl_theory.validation import require_finite

__all__ = ["Mode", "operator_layers", "refused_layers"]

Mode = Literal["eval", "batch"]

_KINDS = (nn.Linear, _ConvNd, nn.Embedding)
_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)
_VIEWS = 1024  # at a time, or fewer where memory is short


def operator_layers(module: nn.Module) -> dict[str, str]:
    """Return the layers that have an operator, each with the name of its weight.

    Args:
        module: Any module.

    Returns:
        Names as in `module.named_modules()` for linear layers, convolutions of any dimension, grouped or
        transposed, and embeddings; the names of the projection weights for attention.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    found: dict[str, str] = {}
    for name, part in module.named_modules():
        stem = f"{name}." if name else ""
        if isinstance(part, nn.MultiheadAttention):
            found |= {stem + weight: stem + weight for weight in _PROJECTIONS}
        elif isinstance(part, _KINDS):
            found[name or "weight"] = f"{stem}weight"
    return {
        layer: weight
        for layer, weight in found.items()
        if weight in parameters and not is_lazy(parameters[weight])
    }


def refused_layers(module: nn.Module) -> dict[str, str]:
    """Return the layers that have weights but no operator, each with the reason.

    Args:
        module: Any module.

    Returns:
        By the name of the layer, or of the parameter where it belongs to no known layer; biases of layers
        that have an operator are left out.
    """
    known = {weight.rpartition(".")[0] for weight in operator_layers(module).values()}
    parts = dict(module.named_modules())
    found: dict[str, str] = {}
    for name, _ in module.named_parameters():
        owner = name.rpartition(".")[0]
        if owner in known:
            continue
        reason = _refusal(module, owner or name).removeprefix(": ")
        known_kind = isinstance(parts[owner], _NORMS) or type(parts[owner]).__module__.startswith("torch.nn.")
        loose = not reason or not known_kind
        if loose:
            found[name] = (
                f"a parameter of {type(parts[owner]).__name__} itself is not an operator: gradient only"
            )
        else:
            found[owner] = reason
    return found


@dataclass(frozen=True, eq=False)
class _ModuleDerivative:
    """The `Derivative` of a module's outputs at all m views, some views at a time.

    Attributes:
        weight: Where the derivative is taken; one row for each entry of its first dimension.
        linearised: Returns the views, chunk by chunk, linearised.
        outputs: (m, n_L).
    """

    weight: Tensor
    linearised: Callable[[], Iterator[_Linearised]]
    outputs: Tensor
    width: int = 1

    @classmethod
    def at(
        cls, module: nn.Module, flat: Tensor, layer: object, *, mode: Mode, memory_limit: int
    ) -> _ModuleDerivative:
        """Return the derivative at views of shape (m, ...); graphs are kept if there is room for them."""
        name = _weight_name(module, layer)
        _check_mode(module, mode)
        with torch.inference_mode(False):
            function = _Frozen.of(module, name, mode)
            flat = _cast(flat, function)
        step, keep = _plan(function, flat, memory_limit)
        chunks = torch.split(flat, step)
        kept = tuple(function.linearise(chunk) for chunk in chunks) if keep else ()

        def linearised() -> Iterator[_Linearised]:
            yield from kept or (function.linearise(chunk) for chunk in chunks)

        outputs = torch.cat([part.outputs.detach() for part in linearised()])
        return cls(function.weight, linearised, outputs)

    @property
    def matrix(self) -> Tensor:
        return self.weight.flatten(1)

    def jvp(self, matrices: Tensor) -> Tensor:
        tangent = matrices.squeeze(1).mT.reshape(self.weight.shape)
        return torch.cat([part.jvp(tangent) for part in self.linearised()]).unsqueeze(1)

    def vjp(self, changes: Tensor) -> Tensor:
        total, start = torch.zeros_like(self.weight), 0
        for part in self.linearised():
            stop = start + len(part.outputs)
            total += part.vjp(changes[start:stop, 0])
            start = stop
        return total.flatten(1).mT.unsqueeze(1)


@dataclass(frozen=True, eq=False)
class _Linearised:
    """Graphs of the outputs at some views, in the weight, and of Σ_u K_u t_u, in t."""

    weight: Tensor
    outputs: Tensor
    changes: Tensor
    pulled: Tensor

    def jvp(self, tangent: Tensor) -> Tensor:
        """Return K_uᵀ vec(V), (m, n_L), for V in the shape of the weight."""
        (change,) = torch.autograd.grad(self.pulled, self.changes, tangent, retain_graph=True)
        return change

    def vjp(self, changes: Tensor) -> Tensor:
        """Return Σ_u K_u t_u in the shape of the weight, for t of shape (m, n_L)."""
        (gradient,) = torch.autograd.grad(self.outputs, self.weight, changes, retain_graph=True)
        return gradient


@dataclass(frozen=True, eq=False)
class _Frozen:
    """A module as a function of one weight, as it is now: all that it holds is copied.

    Half precision is copied to float32.

    Attributes:
        module: The module.
        name: Name of the weight.
        mode: How BatchNorm behaves.
        state: Copies of parameters and buffers.
    """

    module: nn.Module
    name: str
    mode: Mode
    state: Mapping[str, Tensor]

    @classmethod
    def of(cls, module: nn.Module, name: str, mode: Mode) -> _Frozen:
        state = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
        return cls(module, name, mode, _copies(state))

    @property
    def weight(self) -> Tensor:
        return self.state[self.name]

    def linearise(self, x: Tensor) -> _Linearised:
        """Return the graphs at the views x, (m, ...)."""
        with _differentiable(x), _statistics(self.module, self.mode):
            weight = self.weight.detach().requires_grad_()
            outputs = self._outputs(x, weight)
            changes = torch.zeros_like(outputs).requires_grad_()
            (pulled,) = torch.autograd.grad(outputs, weight, changes, create_graph=True)
        return _Linearised(weight, outputs, changes, pulled)

    def _outputs(self, x: Tensor, weight: Tensor) -> Tensor:
        # a weight that stands under several names must be replaced under all of them
        tied = {name: weight for name, value in self.state.items() if value is self.weight}
        try:
            outputs = func.functional_call(self.module, {**self.state, **tied}, (x,))
        except torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, TypeError) as error:
            shape = tuple(x.shape)
            raise ValueError(f"views must go through the module, got shape {shape}: {error}") from error
        if not isinstance(outputs, Tensor):
            raise TypeError(f"module must return a tensor, got {type(outputs).__name__}")
        if outputs.ndim == 0 or len(outputs) != len(x):
            raise ValueError(
                f"module must return a row for each of {len(x)} views, got shape {tuple(outputs.shape)}"
            )
        require_finite("the module's outputs", outputs)
        if not outputs.requires_grad:
            raise ValueError(f"the module's outputs do not depend on {self.name}")
        return outputs.flatten(1) if outputs.ndim > 1 else outputs.unsqueeze(1)


def _copies(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of tensors, half precision as float32; what stands twice stays one tensor."""
    copies: dict[int, Tensor] = {}
    for value in state.values():
        if id(value) not in copies and not is_lazy(value):
            half = value.dtype in (torch.bfloat16, torch.float16)
            copies[id(value)] = value.detach().to(torch.float32 if half else value.dtype, copy=True)
    return {name: copies[id(value)] for name, value in state.items() if id(value) in copies}


def _cast(flat: Tensor, function: _Frozen) -> Tensor:
    weight = function.weight
    if flat.dtype in (torch.bfloat16, torch.float16):
        flat = flat.float()
    if flat.is_floating_point() and flat.dtype != weight.dtype:
        raise TypeError(f"views must have the dtype of the weights, {weight.dtype}, got {flat.dtype}")
    if flat.device != weight.device:
        raise ValueError(f"views must be on the device of the weights, {weight.device}, got {flat.device}")
    require_finite("views", flat)
    return flat.clone() if flat.is_inference() else flat


def _plan(function: _Frozen, flat: Tensor, memory_limit: int) -> tuple[int, bool]:
    """Return how many views to take at a time, and whether all their graphs can be kept."""
    if function.mode == "batch":
        return len(flat), True
    per_view = _saved_bytes(lambda: function.linearise(flat[:1]), function.state.values())
    if per_view > memory_limit:
        raise ValueError(f"memory_limit must hold one view, at least {per_view} bytes, got {memory_limit}")
    keep = len(flat) * per_view <= memory_limit
    return (_VIEWS if keep else min(_VIEWS, memory_limit // per_view)), keep


def _saved_bytes(build: Callable[[], object], known: Iterable[Tensor]) -> int:
    """Return the bytes that a graph holds, without tensors that are there anyway."""
    seen = {tensor.untyped_storage().data_ptr() for tensor in known}
    total = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total += storage.nbytes()
        return tensor.detach()

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        graph = build()
    del graph
    return total


@contextmanager
def _differentiable(x: Tensor) -> Iterator[None]:
    """Switch on gradients, and off what has no second derivative, or a slow one."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(x.device.type, enabled=False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(_Convolutions())
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        yield


@contextmanager
def _statistics(module: nn.Module, mode: Mode) -> Iterator[None]:
    """Put BatchNorm, and nothing else, in training mode if its statistics are those of the batch."""
    flags = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in flags:
            part.training = mode == "batch" and isinstance(part, _BatchNorm)
        yield
    finally:
        for part, flag in flags:
            part.training = flag


def _check_mode(module: nn.Module, mode: Mode) -> None:
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be 'eval' or 'batch', got {mode!r}")
    if mode == "batch":
        return
    if module.training:
        raise ValueError("module must be in evaluation mode: call module.eval() first")
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and part.running_mean is None:
            raise ValueError(f"{name!r} keeps no running statistics: its views need mode='batch'")
        if isinstance(part, _BatchNorm) and _untouched(part):
            raise ValueError(
                f"{name!r} has running statistics that no batch has touched, so that it would be the "
                "identity: train first, or use mode='batch'"
            )


def _untouched(norm: _BatchNorm) -> bool:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    count = norm.num_batches_tracked
    fresh = not bool(norm.running_mean.any()) and bool((norm.running_var == 1).all())
    return fresh and (count is None or int(count) == 0)


def _weight_name(module: nn.Module, layer: object) -> str:
    layers = operator_layers(module)
    name = layers.get(str(layer), str(layer))
    if isinstance(layer, str) and name in layers.values():
        return name
    reason = _refusal(module, layer)
    raise ValueError(f"layer must be one of {list(layers)}, got {layer!r}{reason}")


def _refusal(module: nn.Module, layer: object) -> str:
    """Return why a layer that is there has no operator, as the end of a sentence."""
    parts = dict(module.named_modules())
    owner = parts.get(str(layer)) or parts.get(str(layer).rpartition(".")[0])
    if owner is None or owner is module:
        return ""
    if str(layer).endswith("bias"):
        return ": its bias is not an operator: gradient only"
    if isinstance(owner, nn.MultiheadAttention):
        return ": name one of its projections"
    if isinstance(owner, _NORMS) and owner.weight is not None:
        return f": the affine weight of {type(owner).__name__} is not an operator: gradient only"
    if hasattr(owner, "parametrizations"):
        return ": its weight is computed by a parametrisation"
    return f": {type(owner).__name__} is not supported"
