"""What each of two processes runs in test_distributed.py: `python -m tests.training.two_processes FOLDER`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssl_theory.losses import InfoNCE
from ssl_theory.training import distributed, fit

BATCH = 6


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double()


class Run:
    """InfoNCE over two views, each anchor against the second views of the whole batch."""

    def __init__(self, *, negatives: Any = distributed.gather, noise: float = 0.0) -> None:
        self.model = encoder()
        alone = distributed.world_size() == 1
        self.wrapped = self.model if alone else DistributedDataParallel(self.model)
        self.generator = torch.Generator().manual_seed(1)
        self.own = torch.Generator().manual_seed(distributed.rank())
        self.negatives, self.noise = negatives, noise

    def loss(self, _: int) -> Tensor:
        objects = torch.randn(BATCH, 5, generator=self.generator, dtype=torch.float64)
        noise = torch.randn(2, BATCH, 5, generator=self.generator, dtype=torch.float64)
        views = [distributed.share(objects + 0.3 * e) for e in noise]
        anchors, positives = self.wrapped(torch.cat(views)).chunk(2)
        anchors = anchors + self.noise * torch.randn(3, generator=self.own, dtype=torch.float64)
        others = self.negatives(positives)
        distances = 0.5 * (anchors[:, None] - others).square().sum(-1)
        own = torch.arange(len(anchors)) + distributed.rank() * len(anchors)
        r_pos = distances.gather(1, own[:, None]).squeeze(1)
        mask = torch.arange(len(others)) != own[:, None]
        return InfoNCE(0.5)(r_pos, distances[mask].reshape(len(anchors), -1)).mean()

    def gradient(self) -> dict[str, Any]:
        loss = self.loss(0)
        loss.backward()
        mean = sum(distributed.all_gather_object(loss.item())) / distributed.world_size()
        return {
            "loss": torch.tensor(mean, dtype=torch.float64),
            "gradients": [p.grad for p in self.model.parameters()],
        }

    def fit(self, checkpoint: Path | None, steps: int) -> dict[str, Any]:
        # Not Adam: the loss does not depend on the last bias, whose gradient is all rounding.
        history = fit(
            self.wrapped,
            self.loss,
            steps=steps,
            optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
            checkpoint=checkpoint,
            checkpoint_every=2,
            generators=[self.generator, self.own],
        )
        losses = torch.tensor(history["loss"][1:].tolist(), dtype=torch.float64)
        return {"losses": losses, "weights": list(self.model.parameters())}


def main(folder: Path) -> None:
    with distributed.process_group("cpu"):
        results = {
            "gradient": Run().gradient(),
            "cut off": Run(negatives=lambda z: distributed.gather(z.detach())).gradient(),
            "training": Run().fit(None, 6),
            "whole": Run(noise=1.0).fit(None, 6),
        }
        Run(noise=1.0).fit(folder / "run.ckpt", 3)
        results["resumed"] = Run(noise=1.0).fit(folder / "run.ckpt", 6)
        results["embeddings"] = distributed.gather(torch.full((2, 1), float(distributed.rank())))
        torch.save(results, folder / f"rank{distributed.rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
