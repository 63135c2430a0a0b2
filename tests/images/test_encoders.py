from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_theory.images import ConvEncoder, Projector, ResNet, drawing_from


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def randomised(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return the module with random parameters and running statistics, so that none is invisible."""
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + 0.1)
        for parameter in module.parameters():
            parameter.sub_(0.3)
    return module.eval()


def block_by_hand(values: Tensor, weights: list[Tensor], stride: int) -> Tensor:
    """Return what a block gives in evaluation; its tensors are two or three convolutions with BatchNorm."""

    def layer(x: Tensor, at: int, step: int) -> Tensor:
        kernel, gamma, beta, mean, variance = weights[at : at + 5]
        x = F.conv2d(x, kernel, stride=step, padding=kernel.shape[-1] // 2)
        shape = (1, -1, 1, 1)
        scale = gamma / (variance + 1e-5).sqrt()
        return (x - mean.view(shape)) * scale.view(shape) + beta.view(shape)

    branch = layer(layer(values, 0, stride).clamp(min=0), 5, 1)
    return (branch + (layer(values, 10, stride) if len(weights) > 10 else values)).clamp(min=0)


def test_resnet18_has_the_well_known_size() -> None:
    net = ResNet(classes=10)
    assert count(net) == 11_173_962
    assert count(ResNet()) == 11_173_962 - 5130
    assert count(ResNet(stem="imagenet", classes=1000)) == 11_689_512
    assert count(ResNet((3, 4, 6, 3), "imagenet", classes=1000)) == 21_797_672  # ResNet-34
    expected = [(64, 3, 3, 3)]
    below = 64
    for width in (64, 128, 256, 512):
        for block in range(2):
            expected += [(width, below, 3, 3), (width, width, 3, 3)]
            expected += [(width, below, 1, 1)] if width != below else []
            below = width if block == 0 else below
    assert [tuple(p.shape) for p in net.parameters() if p.ndim == 4] == expected
    assert net.features == 512


def test_a_residual_network_computes_what_the_paper_says(generator: torch.Generator) -> None:
    net = randomised(ResNet((1, 2), width=4, classes=3), generator)
    images = torch.rand(2, 3, 8, 8, generator=generator)
    tensors = [t for name, t in net.state_dict().items() if "num_batches" not in name]
    values = F.conv2d(images, tensors[0], padding=1)
    values = F.batch_norm(values, tensors[3], tensors[4], tensors[1], tensors[2]).relu()
    values = block_by_hand(values, tensors[5:15], 1)
    values = block_by_hand(values, tensors[15:30], 2)
    values = block_by_hand(values, tensors[30:40], 1)
    assert values.shape == (2, 8, 4, 4)
    expected = values.flatten(2).mean(2) @ tensors[40].mT + tensors[41]
    assert torch.allclose(net(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_kernels_are_drawn_by_he_or_as_torch_does(batch_norm: bool) -> None:
    for init, variance in (
        ("he", lambda k: 2 / k[:, 0].numel()),
        ("torch", lambda k: 1 / (3 * k[0].numel())),
    ):
        with drawing_from(torch.Generator().manual_seed(3)):
            net = ResNet((1, 1), width=32, batch_norm=batch_norm, init=init)
        kernels = [m.weight.detach() for m in net.modules() if isinstance(m, nn.Conv2d)]
        for kernel in kernels:
            noise = (3 / kernel.numel()) ** 0.5
            assert abs(kernel.var() / variance(kernel) - 1) < 4 * noise
            assert abs(kernel.mean()) < 4 * kernel.std() / kernel.numel() ** 0.5
        kurtosis = (kernels[-2].flatten() / kernels[-2].std()).pow(4).mean()
        assert kurtosis == pytest.approx({"he": 3.0, "torch": 1.8}[init], rel=0.1)


def test_stems_shrink_the_image_as_they_should() -> None:
    images = torch.rand(1, 3, 64, 64)
    assert ResNet((1,), "cifar", width=4).stem(images).shape == (1, 4, 64, 64)
    assert ResNet((1,), "imagenet", width=4).stem(images).shape == (1, 4, 16, 16)


def test_the_small_encoder_computes_what_it_says(generator: torch.Generator) -> None:
    net = randomised(ConvEncoder((3, 5), batch_norm=False), generator)
    images = torch.rand(2, 1, 9, 9, generator=generator)
    (k1, b1), (k2, b2) = (list(layer.parameters()) for layer in net.layers)
    values = F.conv2d(images, k1, b1, padding=1).relu()
    values = F.conv2d(values, k2, b2, stride=2, padding=1).relu()
    assert torch.allclose(net(images), values.mean((2, 3)), atol=1e-6)
    assert net.features == 5


@pytest.mark.parametrize("batch_norm", [True, False])
def test_with_and_without_batch_norm(batch_norm: bool, generator: torch.Generator) -> None:
    images = torch.rand(4, 3, 16, 16, generator=generator)
    for net in (
        ConvEncoder((4, 8), 3, batch_norm=batch_norm),
        ResNet((1, 1), width=4, batch_norm=batch_norm),
    ):
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
        assert bool(norms) is batch_norm
        assert all((m.bias is None) is batch_norm for m in net.modules() if isinstance(m, nn.Conv2d))
        head = Projector(net.features, 16, 4, batch_norm=batch_norm)
        outputs = head(net(images))
        assert outputs.shape == (4, 4)
        outputs.square().sum().backward()
        assert all(
            p.grad is not None and p.grad.isfinite().all() for p in [*net.parameters(), *head.parameters()]
        )
        alone, rest = net(images[:1]) if not batch_norm else net.eval()(images[:1]), net(images)
        assert torch.allclose(alone[0], rest[0], atol=1e-5)  # without statistics of the batch


def test_the_projector_is_two_layers(generator: torch.Generator) -> None:
    head = Projector(6, 5, 4)
    first, second = head.layers[0], head.layers[2]
    features = torch.randn(3, 6, generator=generator)
    hidden = (features @ first.weight.mT + first.bias).clamp(min=0)
    assert torch.allclose(head(features), hidden @ second.weight.mT + second.bias, atol=1e-6)
    assert (head.features, count(Projector(512, 512, 128))) == (4, 512 * 513 + 513 * 128)


def test_channels_last_changes_nothing(generator: torch.Generator) -> None:
    net = ResNet((1, 1), width=8)
    images = torch.rand(4, 3, 16, 16, generator=generator)
    expected = net(images)
    found = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    assert torch.allclose(found, expected, atol=1e-5)


def test_weights_depend_on_the_generator() -> None:
    def build(seed: int) -> Tensor:
        with drawing_from(torch.Generator().manual_seed(seed)):
            return ConvEncoder((2,)).layers[0][0].weight

    assert torch.equal(build(1), build(1))
    assert not torch.equal(build(1), build(2))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvEncoder(()), "channels must list at least one layer, got none"),
        (lambda: ConvEncoder((4, 0)), r"channels\[1\] must be at least 1, got 0"),
        (lambda: ConvEncoder((4,), 0), "in_channels must be at least 1, got 0"),
        (lambda: ResNet(()), "blocks must list at least one stage, got none"),
        (lambda: ResNet((2, 0)), r"blocks\[1\] must be at least 1, got 0"),
        (lambda: ResNet(stem="tiny"), "stem must be one of cifar, imagenet, got 'tiny'"),
        (lambda: ResNet(init="glorot"), "init must be one of he, torch, got 'glorot'"),
        (lambda: ResNet(width=1.5), "width must be an integer, got 1.5"),
        (lambda: ResNet((1,), width=4, classes=0), "classes must be at least 1, got 0"),
        (lambda: Projector(4, 0, 4), "hidden must be at least 1, got 0"),
        (lambda: Projector(True, 4, 4), "in_features must be an integer, got True"),
        (lambda: Projector(4, 4, -1), "out_features must be at least 1, got -1"),
    ],
)
def test_bad_sizes(build: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        build()
