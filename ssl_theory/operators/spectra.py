"""Spectra of the covariance operators: leading eigenvalues, and all non-zero ones through a Gram matrix."""

from __future__ import annotations

from typing import Literal, overload

import torch
from jaxtyping import Float
from scipy.sparse.linalg import eigsh
from torch import Tensor

from ssl_theory.losses import ContrastiveLoss, SimpleContrastive
from ssl_theory.networks import ReLUNetwork, unvec
from ssl_theory.operators.networks import WeightOperator
from ssl_theory.operators.pairs import Part, form_of
from ssl_theory.validation import require_finite, require_integer
from ssl_theory.views import as_views

MAX_GRAM = 8192

_SIMPLE = SimpleContrastive()


@overload
def top_eigenvalues(
    operator: WeightOperator, k: int, *, eigenvectors: Literal[False] = False
) -> Float[Tensor, " k"]: ...


@overload
def top_eigenvalues(
    operator: WeightOperator, k: int, *, eigenvectors: Literal[True]
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n_l n_k"]]: ...


def top_eigenvalues(
    operator: WeightOperator, k: int, *, eigenvectors: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the k algebraically largest eigenvalues, descending, by Lanczos iteration (ARPACK).

    Source: Lehoucq, Sorensen and Yang, ARPACK Users' Guide, SIAM 1998; scipy's eigsh drives it, the
    products run on the operator's device.

    Args:
        operator: A symmetric operator of one layer.
        k: How many, from 1 to D − 1.
        eigenvectors: Whether to return the eigenvectors too, as weight matrices.

    Returns:
        Eigenvalues, shape (k,), on the operator's device; with `eigenvectors` also the unit eigenvectors,
        shape (k, n_l, n_{l-1}).

    Raises:
        TypeError: If k is not an integer.
        ValueError: If k is out of range, a product is not finite, or the operator is not symmetric.
    """
    size = operator.shape[0]
    k = require_integer("k", k, 1, size - 1)
    start = _require_symmetric(operator)
    values, vectors = eigsh(operator.scipy(), k=k, which="LA", v0=start.cpu().numpy())
    descending = torch.as_tensor(values[::-1].copy(), dtype=operator.dtype, device=operator.device)
    if not eigenvectors:
        return descending
    columns = torch.as_tensor(vectors[:, ::-1].copy(), dtype=operator.dtype, device=operator.device)
    return descending, unvec(columns.mT, operator.rows)


def gram_spectrum(
    net: ReLUNetwork,
    views: Float[Tensor, "N A n_0"],
    layer: int,
    part: Part = "between",
    loss: ContrastiveLoss = _SIMPLE,
    negatives: int = 1,
    *,
    block: int = 16,
) -> Float[Tensor, " P"]:
    """Return all eigenvalues of an operator that can differ from 0, descending.

    K Λ Kᵀ and G^{1/2} Λ G^{1/2} with the Gram matrix G = KᵀK share their non-zero eigenvalues. G has the
    size N·n_L for the parts between objects, of which at least n_L eigenvalues vanish, and N·A·n_L else.

    Args:
        net: The network.
        views: Finite view set, shape (N, A, n_0).
        layer: l, from 1 to L.
        part: "exact", "leading", "between" or "within".
        loss: The loss of the exact and the leading part.
        negatives: H, how many negatives an anchor has.
        block: How many mean connections are held at a time, each of n_l·n_{l-1}·n_L numbers.

    Returns:
        Shape (N·n_L,) or (N·A·n_L,); the operator's other eigenvalues are 0. Where the operator is smaller
        than the Gram matrix, the surplus is zeros up to rounding.

    Raises:
        ValueError: If the Gram matrix would have more than 8192 rows, or as in `covariance_operator`.
    """
    views = as_views(views)
    outputs = net(views)
    form = form_of(part, outputs, loss, negatives)
    points = views if form.over_objects else views.flatten(0, 1).unsqueeze(1)
    size = points.shape[0] * outputs.shape[-1]
    if size > MAX_GRAM:
        raise ValueError(
            f"views are too many: the Gram matrix would have {size} rows, more than {MAX_GRAM}; "
            "use fewer, or top_eigenvalues"
        )
    gram = _gram(net, points, layer, require_integer("block", block, 1))
    scale, basis = torch.linalg.eigh(gram)
    root = basis * scale.clamp(min=0).sqrt()  # G = root rootᵀ
    image = form.apply(root.reshape(points.shape[0], -1)).reshape(size, size)
    spectrum: Tensor = torch.linalg.eigvalsh(root.mT @ image).flip(0)
    return spectrum


def _gram(net: ReLUNetwork, points: Tensor, layer: int, block: int) -> Tensor:
    """Return K̄ᵀK̄ over points (P, A, n_0), in blocks: shape (P·n_L, P·n_L)."""

    def rows(start: int) -> Tensor:
        below, jacobians = net.factors(points[start : start + block], layer)
        means = jacobians.flatten(2).mT @ below / below.shape[1]  # (block, n_L·n_l, n_{l-1})
        return means.reshape(-1, below.shape[2] * net.widths[layer])

    starts = range(0, points.shape[0], block)
    height = net.widths[-1]
    gram = points.new_empty(points.shape[0] * height, points.shape[0] * height)
    for i in starts:
        left = rows(i)
        for j in range(0, i + 1, block):
            product = left @ (left if i == j else rows(j)).mT
            gram[i * height : i * height + len(left), j * height : j * height + product.shape[1]] = product
            gram[j * height : j * height + product.shape[1], i * height : i * height + len(left)] = product.mT
    return gram


def _require_symmetric(operator: WeightOperator) -> Tensor:
    """Return a random vector after comparing uᵀA v with vᵀA u on it and another one."""
    g = torch.Generator().manual_seed(0)
    probes = torch.randn(operator.shape[0], 2, generator=g, dtype=operator.dtype).to(operator.device)
    images = operator(probes)
    require_finite("the operator's products", images)
    cross = probes.mT @ images
    tolerance = 1e3 * torch.finfo(operator.dtype).eps * probes.norm() * images.norm()
    if (cross[0, 1] - cross[1, 0]).abs() > tolerance:
        raise ValueError(
            f"operator must be symmetric, got uᵀAv = {float(cross[0, 1]):.6e} "
            f"and vᵀAu = {float(cross[1, 0]):.6e}"
        )
    return probes[:, 0]
