"""Encoders of images: a small convolutional one, residual networks, and the projector of SimCLR.

Sources: residual networks, He et al., arXiv:1512.03385; the projector, Chen et al., arXiv:2002.05709.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from ssl_theory.validation import require_integer

__all__ = ["ConvEncoder", "Init", "Projector", "ResNet", "Stem"]

Stem = Literal["cifar", "imagenet"]
Init = Literal["he", "torch"]


class ConvEncoder(nn.Module):
    """3 × 3 convolutions with ReLU and the mean over places at the end; weights are drawn as by torch.

    Args:
        channels: Channels of each layer; the last is the width of the features.
        in_channels: Channels of an image.
        strides: Stride of each layer; None for 1 in the first and 2 in all others.
        batch_norm: Whether a BatchNorm follows each convolution, which then has no bias.
        biases: Whether convolutions without a BatchNorm have biases.

    Attributes:
        features: Width of the output.

    Raises:
        TypeError: If a count is not an integer.
        ValueError: If there is no layer, a count is below 1, or there are not as many strides as layers.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128),
        in_channels: int = 1,
        *,
        strides: Sequence[int] | None = None,
        batch_norm: bool = True,
        biases: bool = True,
    ) -> None:
        super().__init__()
        if not channels:
            raise ValueError("channels must list at least one layer, got none")
        strides = [1] + [2] * (len(channels) - 1) if strides is None else strides
        if len(strides) != len(channels):
            raise ValueError(f"strides must be {len(channels)}, one for each layer, got {list(strides)}")
        widths = [require_integer("in_channels", in_channels, 1)]
        widths += [require_integer(f"channels[{i}]", n, 1) for i, n in enumerate(channels)]
        for i, stride in enumerate(strides):
            require_integer(f"strides[{i}]", stride, 1)
        self.features = widths[-1]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(*_convolution(below, above, 3, stride, batch_norm, biases), nn.ReLU())
                for (below, above), stride in zip(pairwise(widths), strides, strict=True)
            )
        )

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B n"]:
        """Return the features of B images, (B, C, H, W) -> (B, features)."""
        values: Tensor = self.layers(images)
        return values.mean((-2, -1))


class ResNet(nn.Module):
    """A residual network of basic blocks; by default ResNet-18.

    Args:
        blocks: Number of blocks in each stage; stage s has width·2^s channels.
        stem: "cifar", one 3 × 3 convolution of stride 1, or "imagenet", one 7 × 7 of stride 2 and a maximum
            over 3 × 3 of stride 2.
        in_channels: Channels of an image.
        width: Channels of the first stage.
        batch_norm: Whether a BatchNorm follows each convolution, which then has no bias.
        biases: Whether convolutions without a BatchNorm have biases.
        classes: Width of a linear layer on top of the features; None for the features themselves.
        init: How kernels are drawn: "he", normal of variance 2/fan-out, He et al., arXiv:1502.01852, as in
            torchvision; or "torch", uniform of variance 1/(3 · fan-in), the default of torch's layers, which
            the linear layer and all biases have in either case.

    Attributes:
        features: Width of the last stage.

    Raises:
        TypeError: If a count is not an integer.
        ValueError: If there is no stage, a count is below 1, or the stem or `init` is unknown.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (2, 2, 2, 2),
        stem: Stem = "cifar",
        in_channels: int = 3,
        *,
        width: int = 64,
        batch_norm: bool = True,
        biases: bool = True,
        classes: int | None = None,
        init: Init = "he",
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("blocks must list at least one stage, got none")
        if stem not in get_args(Stem):
            raise ValueError(f"stem must be one of {', '.join(get_args(Stem))}, got {stem!r}")
        if init not in get_args(Init):
            raise ValueError(f"init must be one of {', '.join(get_args(Init))}, got {init!r}")
        require_integer("in_channels", in_channels, 1)
        below = require_integer("width", width, 1)
        if stem == "cifar":
            first = [*_convolution(in_channels, width, 3, 1, batch_norm, biases), nn.ReLU()]
        else:
            first = [
                *_convolution(in_channels, width, 7, 2, batch_norm, biases),
                nn.ReLU(),
                nn.MaxPool2d(3, 2, 1),
            ]
        self.stem = nn.Sequential(*first)
        stages = []
        for s, count in enumerate(blocks):
            stage = []
            for i in range(require_integer(f"blocks[{s}]", count, 1)):
                stride = 2 if s and i == 0 else 1
                stage.append(_BasicBlock(below, width * 2**s, stride, batch_norm, biases))
                below = width * 2**s
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.features = below
        self.head = (
            nn.Identity() if classes is None else nn.Linear(below, require_integer("classes", classes, 1))
        )
        if init == "he":
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B n"]:
        """Return the features of B images, or the scores of their classes, (B, C, H, W) -> (B, n)."""
        values: Tensor = self.stages(self.stem(images))
        scores: Tensor = self.head(values.mean((-2, -1)))
        return scores


class Projector(nn.Module):
    """Two linear layers with a ReLU between them, from features to the outputs that the loss compares.

    Args:
        in_features: Width of the features.
        hidden: Width between the layers.
        out_features: n_L.
        batch_norm: Whether a BatchNorm follows the first layer, which then has no bias.
        biases: Whether the linear layers have biases.

    Attributes:
        features: Width of the output.

    Raises:
        TypeError: If a width is not an integer.
        ValueError: If a width is below 1.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        *,
        batch_norm: bool = False,
        biases: bool = True,
    ) -> None:
        super().__init__()
        require_integer("in_features", in_features, 1)
        require_integer("hidden", hidden, 1)
        self.features = require_integer("out_features", out_features, 1)
        normalise = [nn.BatchNorm1d(hidden)] if batch_norm else []
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden, bias=biases and not batch_norm),
            *normalise,
            nn.ReLU(),
            nn.Linear(hidden, out_features, bias=biases),
        )

    def forward(self, features: Float[Tensor, "B n"]) -> Float[Tensor, "B n_L"]:
        """Return the outputs, (B, in_features) -> (B, out_features)."""
        outputs: Tensor = self.layers(features)
        return outputs


class _BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut, which is a 1 × 1 convolution where shapes differ."""

    def __init__(self, below: int, above: int, stride: int, batch_norm: bool, biases: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_convolution(below, above, 3, stride, batch_norm, biases),
            nn.ReLU(),
            *_convolution(above, above, 3, 1, batch_norm, biases),
        )
        same = stride == 1 and below == above
        across = [] if same else _convolution(below, above, 1, stride, batch_norm, biases)
        self.shortcut = nn.Sequential(*across)

    def forward(self, images: Tensor) -> Tensor:
        values: Tensor = self.branch(images) + self.shortcut(images)
        return values.relu()


def _convolution(
    below: int, above: int, size: int, stride: int, batch_norm: bool, biases: bool
) -> list[nn.Module]:
    """Return a convolution that keeps the size of the image up to its stride, and its BatchNorm."""
    convolution = nn.Conv2d(below, above, size, stride, size // 2, bias=biases and not batch_norm)
    return [convolution, nn.BatchNorm2d(above)] if batch_norm else [convolution]
