"""Architectures that nobody here has written, from torchvision and timm, and layers of other kinds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import timm
import torch
from torch import Tensor, nn

from tests.vision import torchvision

Maker = Callable[[], nn.Module]

REAL: dict[str, Maker] = {
    name: partial(getattr(torchvision.models, name), weights=None)
    for name in ("resnet18", "resnet50", "vit_b_16", "convnext_tiny", "swin_t", "efficientnet_b0")
} | {
    f"timm {name}": partial(timm.create_model, name, pretrained=False, num_classes=0)
    for name in ("resnet10t", "vit_tiny_patch16_224", "mobilenetv3_small_050", "convnext_atto")
}


class Recurrent(nn.Module):
    """A linear layer, an LSTM and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.memory, self.head = nn.Linear(3, 4), nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.memory(torch.tanh(self.below(x)))[0][:, -1])
        return out


class GraphConvolution(nn.Module):
    """H -> A H W on one graph, the weight a parameter of its own."""

    def __init__(self, nodes: int, width: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, out) / width**0.5)
        ring = torch.eye(nodes) + torch.eye(nodes).roll(1, 0) + torch.eye(nodes).roll(-1, 0)
        self.register_buffer("adjacency", ring / 3)

    def forward(self, x: Tensor) -> Tensor:
        adjacency = self.get_buffer("adjacency")
        return adjacency @ x @ self.weight


def graph() -> nn.Module:
    return nn.Sequential(GraphConvolution(5, 3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2))


class EdgeModel(nn.Module):
    """Takes nodes and edges, as graph libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out: Tensor = self.layer(x)[:, edge_index[0]].sum(1)
        return out


def resnet18() -> nn.Module:
    model: nn.Module = torchvision.models.resnet18(weights=None, num_classes=3)
    return model


def bottleneck() -> nn.Module:
    """Return resnet50's blocks, one of each stage."""
    from torchvision.models.resnet import Bottleneck, ResNet

    model: nn.Module = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=3, width_per_group=8)
    return model


def vision_transformer() -> nn.Module:
    """Return vit_b_16's classes at a small size, the head not zero as it starts."""
    from torchvision.models import VisionTransformer

    model: nn.Module = VisionTransformer(16, 8, 2, 2, 8, 12, num_classes=3)
    nn.init.normal_(model.heads.head.weight)
    return model


def convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    stages = [CNBlockConfig(6, 8, 1), CNBlockConfig(8, None, 1)]
    model: nn.Module = ConvNeXt(stages, layer_scale=1.0, num_classes=3)
    return model


def swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    model: nn.Module = SwinTransformer([4, 4], 6, [2, 2], [2, 2], [2, 2], num_classes=3)
    return model


def efficientnet() -> nn.Module:
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    blocks = [MBConvConfig(1, 3, 1, 8, 8, 1, 0.25), MBConvConfig(6, 3, 2, 8, 8, 1, 0.25)]
    model: nn.Module = EfficientNet(blocks, 0.0, num_classes=3)
    return model


def timm_vit() -> nn.Module:
    model: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, img_size=16, patch_size=8, depth=2, embed_dim=6,
        num_heads=2, num_classes=3,
    )  # fmt: skip
    nn.init.normal_(model.head.weight)
    return model


def signal() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.GELU(), nn.Conv1d(4, 4, 3, groups=2, stride=2),
        nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


# a small one of each kind, the shape of a view, the layers to look at
SMALL: dict[str, tuple[Maker, tuple[int, ...], tuple[str, ...]]] = {
    "resnet18": (resnet18, (3, 16, 16), ("conv1", "layer1.1.conv2", "fc")),
    "resnet50": (bottleneck, (3, 16, 16), ("layer1.0.downsample.0", "layer4.0.conv2")),
    "vit_b_16": (
        vision_transformer,
        (3, 16, 16),
        ("conv_proj", "encoder.layers.encoder_layer_0.self_attention.in_proj_weight"),
    ),
    "convnext_tiny": (convnext, (3, 16, 16), ("features.0.0", "features.1.0.block.0")),
    "swin_t": (swin, (3, 16, 16), ("features.0.0", "features.1.0.attn.qkv", "features.2.reduction")),
    "efficientnet_b0": (efficientnet, (3, 16, 16), ("features.0.0", "features.2.0.block.2.fc1")),
    "timm vit": (timm_vit, (3, 16, 16), ("patch_embed.proj", "blocks.1.attn.qkv")),
    "signal": (signal, (2, 9), ("0", "3", "6")),
    "lstm": (Recurrent, (5, 3), ("below", "head")),
}
