"""Small models of every kind, and the operators of their layers from dense Jacobians."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, func, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Loss = Callable[[Tensor], Tensor]


class ViT(nn.Module):
    """A transformer on patches of a small image."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.position = nn.Parameter(0.1 * torch.randn(1, 4, 8))
        block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT + self.position
        out: Tensor = self.head(self.blocks(tokens).mean(1))
        return out


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 2, groups=2),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def signal() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.Tanh(), nn.ConvTranspose1d(4, 3, 2), nn.Flatten(), nn.Linear(18, 2)
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (5,)),
    "convolutional": (convolutional, (1, 4, 4)),
    "signal": (signal, (2, 5)),
    "vit": (ViT, (1, 4, 4)),
}


def made(name: str, seed: int = 0, objects: int = 5, copies: int = 3) -> tuple[nn.Module, Tensor]:
    """Return a model in float64 and views for it."""
    torch.manual_seed(seed)
    build, shape = MODELS[name]
    model = build().double()
    centre = torch.randn(objects, 1, *shape, dtype=torch.float64)
    return model, centre + 0.4 * torch.randn(objects, copies, *shape, dtype=torch.float64)


def in_batch_mode(model: nn.Module) -> nn.Module:
    """Return the model in evaluation mode, BatchNorm with the statistics of the batch."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean = part.running_var = part.num_batches_tracked = None
    return model.eval()


def dense(model: nn.Module, views: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Return outputs, (N, A, n_L), and the transposed connections Kᵀ, (N, A, n_L, D), column-major vec."""
    weight = dict(model.named_parameters())[name]

    def run(value: Tensor) -> Tensor:
        out: Tensor = func.functional_call(model, {name: value}, (views.flatten(0, 1),))
        return out

    with sdpa_kernel(SDPBackend.MATH):
        jacobian = func.jacrev(run)(weight.detach()).detach()
        outputs = run(weight).detach()
    rows = jacobian.flatten(3) if jacobian.ndim > 3 else jacobian
    vec = rows.transpose(2, 3).flatten(2)  # column by column
    return outputs.reshape(*views.shape[:2], -1), vec.reshape(*views.shape[:2], -1, weight.numel())
