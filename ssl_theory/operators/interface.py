"""The covariance operators of one layer: products, matrices, spectra (T3–T5, T12).

Convention: one branch. The full shared-weight gradient step −∂L/∂vec(W_l) is twice the operator of the
loss times vec(W_l). Operators act on the column-major vec(W_l).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn

from ssl_theory.losses import ContrastiveLoss, SimpleContrastive
from ssl_theory.losses.weights import mean_loss
from ssl_theory.networks import ReLUNetwork, unvec
from ssl_theory.operators import spectra
from ssl_theory.operators.modules import Mode, _ModuleDerivative
from ssl_theory.operators.networks import _NetworkDerivative
from ssl_theory.operators.output_losses import OutputForm, OutputLoss
from ssl_theory.operators.pairs import Derivative, PairForm, Part, form_of
from ssl_theory.validation import require_finite, require_float_tensor, require_integer
from ssl_theory.views import as_views

__all__ = [
    "MEMORY_LIMIT",
    "Eigenpairs",
    "WeightOperator",
    "between_variance",
    "covariance_operator",
    "expected_loss",
    "leading_operator",
    "operator",
    "residue",
    "within_variance",
]

MEMORY_LIMIT = 2**30

Views = Shaped[Tensor, "N A *input"]
Square = Float[Tensor, "D D"]

_SIMPLE = SimpleContrastive()
_SMALL = 64  # rows of a matrix that no iteration is worth


class Eigenpairs(NamedTuple):
    """Eigenvalues, descending, and unit eigenvectors as weight matrices.

    Attributes:
        values: Shape (k,).
        vectors: Shape (k, n_l, n_{l-1}).
    """

    values: Tensor
    vectors: Tensor


@dataclass(frozen=True, eq=False)
class WeightOperator:
    """A symmetric operator on the column-major vec(W) of one layer; see `operator`.

    Attributes:
        rows: n_l, the rows of W.
        columns: n_{l-1}, the columns of W.
        dtype: dtype of vectors and products.
        device: Device of vectors and products.
        product: (D, k) -> (D, k), D = rows·columns.
        matrix: Returns the matrix, if there is a better way than D products.
        gram: The Gram matrix of its connections, if it is known.
    """

    rows: int
    columns: int
    dtype: torch.dtype
    device: torch.device
    product: Callable[[Tensor], Tensor]
    matrix: Callable[[], Tensor] | None = None
    gram: spectra._Gram | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(D, D)."""
        return (self.rows * self.columns, self.rows * self.columns)

    def __matmul__(self, vectors: Float[Tensor, "D *k"]) -> Float[Tensor, "D *k"]:
        """Return the product with one vector, (D,), or with several at once, (D, k).

        Args:
            vectors: Shape (D,) or (D, k), with the operator's dtype and device.

        Returns:
            The same shape.

        Raises:
            TypeError: If they are no tensor of the operator's dtype.
            ValueError: If the shape or device does not fit.
        """
        require_float_tensor("vectors", vectors)
        if vectors.dtype != self.dtype:
            raise TypeError(f"vectors must have the operator's dtype, {self.dtype}, got {vectors.dtype}")
        if vectors.device != self.device:
            raise ValueError(f"vectors must be on the operator's device, {self.device}, got {vectors.device}")
        if vectors.ndim not in (1, 2) or vectors.shape[0] != self.shape[0]:
            raise ValueError(
                f"vectors must have shape ({self.shape[0]},) or ({self.shape[0]}, k), "
                f"got {tuple(vectors.shape)}"
            )
        return self.product(vectors.reshape(self.shape[0], -1)).reshape(vectors.shape)

    def __call__(self, vectors: Float[Tensor, "D *k"]) -> Float[Tensor, "D *k"]:
        """Return the product, as `@` does."""
        return self @ vectors

    def dense(self) -> Square:
        """Return the matrix, shape (D, D)."""
        if self.matrix is not None:
            return self.matrix()
        return self @ torch.eye(self.shape[0], dtype=self.dtype, device=self.device)

    def top(self, k: int) -> Eigenpairs:
        """Return the k algebraically largest eigenvalues and their eigenvectors, by Lanczos iteration.

        Args:
            k: How many, from 1 to D.

        Returns:
            Eigenvalues, shape (k,), descending, and unit eigenvectors as weight matrices, shape
            (k, n_l, n_{l-1}), on the operator's device.

        Raises:
            TypeError: If k is not an integer.
            ValueError: If k is out of range, a product is not finite, or the operator is not symmetric.
        """
        size = self.shape[0]
        k = require_integer("k", k, 1, size)
        like = torch.empty(size, dtype=self.dtype, device=self.device)
        start = spectra._require_symmetric(self.__matmul__, like)
        if size <= _SMALL or k >= size - 1:
            matrix = self.dense()
            values, columns = (part.flip(-1)[..., :k] for part in torch.linalg.eigh(matrix))
            return Eigenpairs(values, unvec(columns.mT, self.rows))
        if not bool(start.any()):  # it vanishes, and no iteration gets away from 0
            return Eigenpairs(like.new_zeros(k), unvec(torch.eye(k, size).to(like), self.rows))
        found = spectra._leading(self.scipy(), start.cpu().numpy(), k)
        values, columns = (torch.as_tensor(x, dtype=self.dtype, device=self.device) for x in found)
        return Eigenpairs(values, unvec(columns.mT, self.rows))

    def spectrum(self) -> Float[Tensor, " P"]:
        """Return all eigenvalues that can differ from 0, descending.

        They are those of the matrix or, where it is smaller, of the Gram matrix of the connections, which
        has N·n_L rows for the parts between objects and N·A·n_L else.

        Returns:
            As many as the smaller of the two has rows; the other eigenvalues of the operator are 0.

        Raises:
            ValueError: If both have more than 8192 rows.
        """
        gram = self.gram if self.gram is not None and self.gram.size < self.shape[0] else None
        size = self.shape[0] if gram is None else gram.size
        if size > spectra.MAX_GRAM:
            raise ValueError(
                f"the spectrum needs a matrix of {size} rows, more than {spectra.MAX_GRAM}: use fewer views, "
                "or top(k)"
            )
        if gram is not None:
            return gram.eigenvalues()
        eigenvalues: Tensor = torch.linalg.eigvalsh(self.dense()).flip(0)
        return eigenvalues

    def scipy(self) -> LinearOperator:
        """Return the operator for scipy: numpy in and out, products on the operator's device."""

        def product(vectors: np.ndarray) -> np.ndarray:
            tensor = torch.as_tensor(np.ascontiguousarray(vectors), dtype=self.dtype, device=self.device)
            return (self @ tensor).cpu().numpy()

        kind = np.dtype(str(self.dtype).removeprefix("torch."))
        return LinearOperator(self.shape, matvec=product, matmat=product, rmatvec=product, dtype=kind)


def operator(
    net: ReLUNetwork | nn.Module,
    views: Views,
    layer: int | str,
    *,
    part: Part = "exact",
    loss: ContrastiveLoss | OutputLoss = _SIMPLE,
    negatives: int = 1,
    mode: Mode = "eval",
    memory_limit: int = MEMORY_LIMIT,
) -> WeightOperator:
    """Return an operator of one layer: `op @ v`, `op.dense()`, `op.top(k)`, `op.spectrum()`.

    It is known by its products alone, K Λ Kᵀ vec(V), and forms K only where its matrix is asked for. K_u is
    the derivative of the flattened output at u in the weights of the layer, whatever a module computes; for
    a ReLU network without biases it is the book's connection.

    Args:
        net: A `ReLUNetwork`, or a torch module that maps a batch of views to a batch of outputs. Modules
            in bfloat16 or float16 are computed in float32.
        views: Finite view set, shape (N, A, n_0), or (N, A, ...) as the module takes them.
        layer: l, from 1 to L, or the name of a layer, one of `operator_layers(net)`. Its weights are
            taken as a matrix, `weight.flatten(1)`.
        part: "exact", the covariance operator of the loss; "leading", its leading part; "between", V_x[K̄];
            or "within", E_x V_aug[K].
        loss: The loss of the exact and the leading part; or any loss of the outputs, as an `OutputLoss`,
            which has an exact operator only.
        negatives: H, how many negatives an anchor has.
        mode: How BatchNorm behaves in a module: "eval" for its running statistics, the module being in
            evaluation mode, or "batch" for the statistics of all views together, as in training, through
            which the views depend on each other. No buffer changes.
        memory_limit: Bytes that activations, pair weights and work space may take. What products need is
            kept between them if the limit holds it, else computed anew. Not obeyed with mode="batch", which
            needs all views at once.

    Returns:
        The operator, on the device and in the dtype of the weights, as they are now.

    Raises:
        TypeError: If the views have another dtype than the weights, or an argument is of the wrong type.
        ValueError: If the views are no view set or do not fit, the layer is not there or has no operator,
            an output is not finite, BatchNorm has running statistics that no batch has touched, `part`,
            `mode` or `negatives` is not allowed, there are too many tuples of negatives, or the limit does
            not hold the pair weights or one view.

    Example:
        >>> net = ReLUNetwork([torch.tensor([[1.0, 2.0]])])
        >>> views = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two objects, one view each
        >>> op = operator(net, views, layer=1)
        >>> op.dense()
        tensor([[ 0.2500, -0.2500],
                [-0.2500,  0.2500]])
        >>> op @ torch.tensor([1.0, 2.0])
        tensor([-0.2500,  0.2500])
    """
    memory_limit = require_integer("memory_limit", memory_limit, 1)
    views = _checked(net, views)
    if isinstance(net, ReLUNetwork):
        layer = require_integer("layer", layer, 1, net.depth)
    _require_room_for_pairs(part, views, memory_limit)
    derivative = _derivative(net, views.flatten(0, 1), layer, mode, memory_limit)
    require_finite("the outputs", derivative.outputs)
    outputs = derivative.outputs.reshape(*views.shape[:2], -1)
    form = form_of(part, outputs, loss, negatives)
    matrix = None
    if isinstance(net, ReLUNetwork):
        matrix = partial(_dense, net, views, layer, part, loss, negatives)
    rows, columns = derivative.matrix.shape
    return WeightOperator(
        rows,
        columns,
        outputs.dtype,
        outputs.device,
        partial(_product, derivative, form, outputs.shape[:2]),
        matrix,
        _gram_of(net, derivative, form, views, layer),
    )


def covariance_operator(
    net: ReLUNetwork | nn.Module,
    views: Views,
    layer: int | str,
    loss: ContrastiveLoss | OutputLoss = _SIMPLE,
    negatives: int = 1,
) -> Square:
    """Return the exact operator OP_l = ½ Σ_k E[ξ_k ((K1−K-_k)(K1−K-_k)ᵀ − (K1−K+)(K1−K+)ᵀ)].

    −∂E[L]/∂vec(W_l) = 2 OP_l vec(W_l). For the simple loss OP_l = V_x[K̄_l].

    Args:
        net: The network; biases are allowed, the identity then fails.
        views: Finite view set, shape (N, A, n_0); objects and views are drawn independently and
            uniformly, so x' may be x and x+ may be x1.
        layer: l, from 1 to L.
        loss: The loss.
        negatives: H; all (N·A)^H tuples are enumerated.

    Returns:
        Symmetric, shape (n_l·n_{l-1}, n_l·n_{l-1}), in the dtype of the views.

    Raises:
        TypeError: If the views are no float tensor of the network's dtype, or an integer is none.
        ValueError: If the views are no view set, `layer` or `negatives` is out of range, or there are too
            many tuples to enumerate.
    """
    return _dense(net, views, layer, "exact", loss, negatives)


def leading_operator(
    net: ReLUNetwork | nn.Module,
    views: Views,
    layer: int | str,
    loss: ContrastiveLoss = _SIMPLE,
    negatives: int = 1,
) -> Square:
    """Return the leading part ½ Σ_k E[ξ̄_k (K̄(x)−K̄(x'_k))(K̄(x)−K̄(x'_k))ᵀ], ξ̄ at r+ = 0 and r- = r̄.

    Positive semidefinite; arguments, result and errors as in `covariance_operator`.
    """
    return _dense(net, views, layer, "leading", loss, negatives)


def residue(
    net: ReLUNetwork | nn.Module,
    views: Views,
    layer: int | str,
    loss: ContrastiveLoss = _SIMPLE,
    negatives: int = 1,
) -> Square:
    """Return θ_l, the exact operator minus its leading part; arguments as in `covariance_operator`."""
    exact = covariance_operator(net, views, layer, loss, negatives)
    return exact - leading_operator(net, views, layer, loss, negatives)


def between_variance(net: ReLUNetwork | nn.Module, views: Views, layer: int | str) -> Square:
    """Return V_x[K̄_l], the variance between objects; arguments as in `covariance_operator`."""
    return _dense(net, views, layer, "between")


def within_variance(net: ReLUNetwork | nn.Module, views: Views, layer: int | str) -> Square:
    """Return E_x V_aug[K_l | x], the mean variance within objects; arguments as in `covariance_operator`."""
    return _dense(net, views, layer, "within")


def expected_loss(
    net: ReLUNetwork | nn.Module, views: Views, loss: ContrastiveLoss = _SIMPLE, negatives: int = 1
) -> Float[Tensor, ""]:
    """Return E[L(r+, r-_1 … r-_H)] over all objects and views, differentiable in the weights of `net`.

    Args:
        net: The network, or a torch module that maps a batch of views to a batch of outputs; it is called
            once, with all views, in the mode in which it is.
        views: Finite view set, shape (N, A, n_0), or (N, A, ...) as the module takes them.
        loss: The loss.
        negatives: H, how many negatives an anchor has.

    Returns:
        A scalar tensor.

    Raises:
        TypeError: If the views are no float tensor of the network's dtype.
        ValueError: If the views are no view set, or there are too many tuples to enumerate.
    """
    views = _checked(net, views)
    if isinstance(net, ReLUNetwork):
        return mean_loss(net(views), loss, negatives)
    return mean_loss(net(views.flatten(0, 1)).reshape(*views.shape[:2], -1), loss, negatives)


def _derivative(
    net: ReLUNetwork | nn.Module, flat: Tensor, layer: int | str, mode: Mode, memory_limit: int
) -> Derivative:
    if isinstance(net, ReLUNetwork):
        layer = require_integer("layer", layer, 1, net.depth)
        return _NetworkDerivative.at(net, flat, layer, memory_limit)
    return _ModuleDerivative.at(net, flat, layer, mode=mode, memory_limit=memory_limit)


def _dense(
    net: ReLUNetwork | nn.Module,
    views: Tensor,
    layer: int | str,
    part: Part,
    loss: ContrastiveLoss | OutputLoss = _SIMPLE,
    negatives: int = 1,
) -> Tensor:
    """Return K Λ Kᵀ; of a ReLU network from its connections, differentiable in its weights."""
    if not isinstance(net, ReLUNetwork):
        return operator(net, views, layer, part=part, loss=loss, negatives=negatives).dense()
    views = as_views(views)
    connections = net.connection(views, layer)  # type: ignore[arg-type]  # (N, A, D, n_L)
    rows = connections.transpose(-1, -2)  # (N, A, n_L, D)
    image = form_of(part, net(views), loss, negatives)(connections).transpose(-1, -2)
    size = rows.shape[-1]
    return rows.reshape(-1, size).mT @ image.reshape(-1, size)


def _product(
    derivative: Derivative, form: Callable[[Tensor], Tensor], grid: torch.Size, vectors: Tensor
) -> Tensor:
    """Return K Λ Kᵀ vec(V) for the columns of `vectors`, (D, k)."""

    def block(matrices: Tensor) -> Tensor:
        changes = derivative.jvp(matrices)
        return derivative.vjp(form(changes.reshape(*grid, *changes.shape[1:])).reshape(changes.shape))

    rows, columns = derivative.matrix.shape
    matrices = vectors.reshape(columns, rows, vectors.shape[1]).transpose(1, 2)
    images = [block(some) for some in torch.split(matrices, derivative.width, dim=1)]
    return torch.cat(images, 1).transpose(1, 2).reshape(vectors.shape)


def _gram_of(
    net: ReLUNetwork | nn.Module,
    derivative: Derivative,
    form: PairForm | OutputForm,
    views: Tensor,
    layer: int | str,
) -> spectra._Gram:
    points = views if form.over_objects else views.flatten(0, 1).unsqueeze(1)
    if isinstance(net, ReLUNetwork):
        assert isinstance(layer, int)
        matrix = partial(spectra._network_gram, net, points, layer)
    else:
        matrix = partial(spectra._gram_by_products, derivative, len(points))
    grid = (len(views), 1 if form.over_objects else views.shape[1])
    return spectra._Gram(grid, derivative.outputs.shape[1], matrix, form)


def _checked(net: ReLUNetwork | nn.Module, views: Tensor) -> Tensor:
    """Return the views if they are a view set for the network."""
    if isinstance(net, ReLUNetwork):
        return as_views(views)
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a ReLUNetwork or a torch module, got {type(net).__name__}")
    if not isinstance(views, Tensor):
        raise TypeError(f"views must be a torch tensor, got {type(views).__name__}")
    if views.ndim < 3 or 0 in views.shape:
        raise ValueError(f"views must have shape (N, A, ...) without zeros, got {tuple(views.shape)}")
    return views


def _require_room_for_pairs(part: Part, views: Tensor, limit: int) -> None:
    n, a = views.shape[:2]
    pairs = {"exact": (n * a) ** 2, "leading": n**2}.get(part, 0)
    needed = 3 * pairs * max(4, views.element_size())
    if needed > limit:
        raise ValueError(
            f"memory_limit must hold the pair weights of the {part} part, at least {needed} bytes, "
            f"got {limit}"
        )
