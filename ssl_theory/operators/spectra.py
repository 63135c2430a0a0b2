"""Spectra of symmetric operators: leading eigenvalues by iteration, all others through a Gram matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from ssl_theory.networks import ReLUNetwork
from ssl_theory.operators.output_losses import OutputForm
from ssl_theory.operators.pairs import Derivative, PairForm
from ssl_theory.validation import require_finite

__all__ = ["MAX_GRAM"]

MAX_GRAM = 8192
_BLOCK = 16  # mean connections held at a time, each of n_l·n_{l-1}·n_L numbers


@dataclass(frozen=True)
class _Gram:
    """The Gram matrix G = KᵀK of the connections that a form Λ acts on, and Λ.

    K Λ Kᵀ and G^{1/2} Λ G^{1/2} share their non-zero eigenvalues.

    Attributes:
        grid: How many connections: (N, 1) for the parts between objects, (N, A) else.
        height: n_L.
        matrix: Returns G, (points·n_L, points·n_L).
        form: Λ.
    """

    grid: tuple[int, int]
    height: int
    matrix: Callable[[], Tensor]
    form: PairForm | OutputForm

    @property
    def size(self) -> int:
        return self.grid[0] * self.grid[1] * self.height

    def eigenvalues(self) -> Tensor:
        """Return the eigenvalues of K Λ Kᵀ that can differ from 0, descending, one per row of G."""
        scale, basis = torch.linalg.eigh(self.matrix())
        root = basis * scale.clamp(min=0).sqrt()  # G = root rootᵀ
        columns = root.reshape(*self.grid, self.height, self.size).transpose(2, 3)
        image = self.form(columns).transpose(2, 3).reshape(self.size, self.size)
        spectrum: Tensor = torch.linalg.eigvalsh(root.mT @ image).flip(0)
        return spectrum


def _network_gram(net: ReLUNetwork, points: Float[Tensor, "P A n_0"], layer: int) -> Tensor:
    """Return K̄ᵀK̄ over points, in blocks: shape (P·n_L, P·n_L)."""

    def rows(start: int) -> Tensor:
        below, jacobians = net.factors(points[start : start + _BLOCK], layer)
        means = jacobians.flatten(2).mT @ below / below.shape[1]  # (block, n_L·n_l, n_{l-1})
        return means.reshape(-1, below.shape[2] * net.widths[layer])

    starts = range(0, points.shape[0], _BLOCK)
    height = net.widths[-1]
    gram = points.new_empty(points.shape[0] * height, points.shape[0] * height)
    for i in starts:
        left = rows(i)
        for j in range(0, i + 1, _BLOCK):
            product = left @ (left if i == j else rows(j)).mT
            gram[i * height : i * height + len(left), j * height : j * height + product.shape[1]] = product
            gram[j * height : j * height + product.shape[1], i * height : i * height + len(left)] = product.mT
    return gram


def _gram_by_products(derivative: Derivative, points: int) -> Tensor:
    """Return K̄ᵀK̄ column by column, from two products each; views of a point follow each other."""
    outputs = derivative.outputs
    copies, height = len(outputs) // points, outputs.shape[1]
    columns = []
    for index in range(points * height):
        point, output = divmod(index, height)
        change = torch.zeros_like(outputs).unsqueeze(1)
        change[point * copies : (point + 1) * copies, 0, output] = 1.0 / copies
        image = derivative.jvp(derivative.vjp(change))
        columns.append(image.reshape(points, copies, height).mean(1).flatten())
    gram = torch.stack(columns, 1)
    return (gram + gram.mT) / 2


def _leading(operator: LinearOperator, start: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k < D − 1 largest eigenvalues, descending, and their eigenvectors as columns.

    Source: Lehoucq, Sorensen and Yang, ARPACK Users' Guide, SIAM 1998; scipy's eigsh drives it.
    """
    values, vectors = eigsh(operator, k=k, which="LA", v0=start)
    return values[::-1].copy(), vectors[:, ::-1].copy()


def _require_symmetric(product: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Return a random vector after comparing uᵀA v with vᵀA u on it and another one; 0 if A vanishes on both.

    `like` has size D.
    """
    g = torch.Generator().manual_seed(0)
    probes = torch.randn(len(like), 2, generator=g, dtype=like.dtype).to(like.device)
    images = product(probes)
    require_finite("the operator's products", images)
    cross = probes.mT @ images
    tolerance = 1e3 * torch.finfo(like.dtype).eps * probes.norm() * images.norm()
    if (cross[0, 1] - cross[1, 0]).abs() > tolerance:
        raise ValueError(
            f"operator must be symmetric, got uᵀAv = {float(cross[0, 1]):.6e} "
            f"and vᵀAu = {float(cross[1, 0]):.6e}"
        )
    return probes[:, 0] if bool(images.any()) else torch.zeros_like(like)
