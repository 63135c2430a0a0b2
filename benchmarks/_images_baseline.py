"""Contrastive training as one would first write it: an image at a time through a DataLoader, eager float32.

It is the yardstick of `benchmarks.images`, not part of the library.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, Dataset

ImageView = Callable[[Tensor], Tensor]


def place_digit(image: Tensor) -> Tensor:
    """Return a digit, (1, 8, 8), at a random place on a canvas of 16 × 16, turned and scaled."""
    angle, factor = random.uniform(-0.25, 0.25), random.uniform(0.85, 1.15)
    cos, sin = math.cos(angle) / factor, math.sin(angle) / factor
    reach = 3.5 * factor * (math.cos(angle) + abs(math.sin(angle)))
    room = min(7.5 - reach, 4.0) / 8
    x, y = random.uniform(-room, room), random.uniform(-room, room)
    theta = torch.tensor([[[cos, sin, -cos * x - sin * y], [-sin, cos, sin * x - cos * y]]])
    canvas = F.pad(image, (4, 4, 4, 4)).unsqueeze(0)
    grid = F.affine_grid(theta, [1, 1, 16, 16], align_corners=False)
    return (F.grid_sample(canvas, grid, align_corners=False)[0] - 0.08) / 0.23


def simclr(image: Tensor, to: int | None = None) -> Tensor:
    """Return SimCLR's view of a colour image, (3, H, H) in [0, 1], in the same size or as told."""
    size = image.shape[-1]
    for _ in range(10):
        area, shape = random.uniform(0.08, 1) * size**2, math.exp(random.uniform(-1, 1) * math.log(4 / 3))
        height, width = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
        if height <= size and width <= size:
            break
    else:
        height = width = size
    top, left = random.randint(0, size - height), random.randint(0, size - width)
    crop = image[:, top : top + height, left : left + width].unsqueeze(0)
    image = F.interpolate(crop, (to or size, to or size), mode="bilinear", align_corners=True)[0]
    if random.random() < 0.5:
        image = image.flip(-1)
    if random.random() < 0.8:
        changes = [brightness, contrast, saturation, hue]
        random.shuffle(changes)
        for change in changes:
            image = change(image).clamp(0, 1)
    if random.random() < 0.2:
        image = luminance(image).expand_as(image)
    return (image - 0.45) / 0.25


def luminance(image: Tensor) -> Tensor:
    return 0.299 * image[:1] + 0.587 * image[1:2] + 0.114 * image[2:]


def brightness(image: Tensor) -> Tensor:
    return image * random.uniform(0.6, 1.4)


def contrast(image: Tensor) -> Tensor:
    return torch.lerp(luminance(image).mean(), image, random.uniform(0.6, 1.4))


def saturation(image: Tensor) -> Tensor:
    return torch.lerp(luminance(image), image, random.uniform(0.6, 1.4))


def hue(image: Tensor) -> Tensor:
    """Return the image with its circle of hues turned, by way of hue, saturation and value."""
    value, which = image.max(0)
    chroma = value - image.min(0).values
    red, green, blue = image / chroma.clamp(min=1e-8)
    angle = torch.stack([(green - blue), 2 + blue - red, 4 + red - green]).gather(0, which.unsqueeze(0))[0]
    angle = angle + 6 * random.uniform(-0.1, 0.1)
    parts = [(angle + offset) % 6 for offset in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in parts])


class TwoViews(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, images: Tensor, view: ImageView) -> None:
        self.images, self.view = images, view

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        image = image if image.is_floating_point() else image.float() / 255
        return self.view(image), self.view(image)


def batches(
    images: Tensor, view: ImageView, batch: int, workers: int, copies: int = 1
) -> Iterator[list[Tensor]]:
    """Yield batches of two views without end; an epoch shows each image `copies` times."""
    loader = DataLoader(
        ConcatDataset([TwoViews(images, view)] * copies),
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    while True:
        yield from loader


def small_encoder() -> nn.Module:
    layers: list[nn.Module] = []
    for below, above in ((1, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(below, above, 3, 2, 1, bias=False), nn.BatchNorm2d(above), nn.ReLU()]
    top = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64)]
    return nn.Sequential(*layers, *top)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    outputs = F.normalize(torch.cat([first, second]), dim=1)
    logits = outputs @ outputs.T / temperature
    logits = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -math.inf)
    size = len(first)
    labels = torch.cat([torch.arange(size, 2 * size), torch.arange(size)]).to(logits.device)
    return F.cross_entropy(logits, labels)


def blocked_nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent as lightly publishes it: four blocks of similarities, diagonals cut out by a mask."""
    size = len(first)
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    blocks = {
        name: torch.einsum("nc,mc->nm", a, b) / temperature
        for name, a, b in (
            ("00", first, first),
            ("01", first, second),
            ("10", second, first),
            ("11", second, second),
        )
    }
    others = ~torch.eye(size, dtype=torch.bool, device=first.device)
    same = {name: blocks[name][others].view(size, -1) for name in ("00", "11")}
    logits = torch.cat([torch.cat([blocks["01"], same["00"]], 1), torch.cat([blocks["10"], same["11"]], 1)])
    return F.cross_entropy(logits, torch.arange(size, device=first.device).repeat(2))


def stable_nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent as the mean of log(1 + Σ e^(others − positive)), a reference in float64."""
    size = len(first)
    outputs = F.normalize(torch.cat([first, second]), dim=1)
    logits = outputs @ outputs.T / temperature
    rows = torch.arange(2 * size, device=logits.device)
    partner = (rows + size) % (2 * size)
    relative = logits - logits[rows, partner].unsqueeze(1)
    outside = torch.zeros_like(relative, dtype=torch.bool)
    outside[rows, rows] = outside[rows, partner] = True
    return relative.masked_fill(outside, -math.inf).exp().sum(1).log1p().mean()


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, views: list[Tensor], temperature: float
) -> None:
    device = next(model.parameters()).device
    first, second = (model(view.to(device)) for view in views)
    loss = nt_xent(first, second, temperature)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class Block(nn.Module):
    def __init__(self, below: int, above: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(below, above, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(above)
        self.conv2 = nn.Conv2d(above, above, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(above)
        self.down: nn.Module = nn.Identity()
        if stride > 1 or below != above:
            self.down = nn.Sequential(nn.Conv2d(below, above, 1, stride, bias=False), nn.BatchNorm2d(above))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.down(x))


def resnet(blocks: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    below = 64
    for stage, count in enumerate(blocks):
        for i in range(count):
            layers.append(Block(below, 64 * 2**stage, 2 if stage and i == 0 else 1))
            below = 64 * 2**stage
    top = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(below, 512), nn.ReLU(), nn.Linear(512, 128)]
    return nn.Sequential(*layers, *top)
