"""Latent trees: sampling, training steps and whole epochs against a plain implementation; prints JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks import _hltm_baseline as plain
from benchmarks.timing import exponent, rounded, seconds
from ssl_theory.experiments.hltm import TreeExperiment, run
from ssl_theory.hltm import LatentTree, TreeEnsemble, TreeNetwork
from ssl_theory.losses import InfoNCE

DEPTH, BATCH, WIDTH, STEPS, TEMPERATURE = 5, 128, 10, 500, 0.1


def trainer(seeds: int, width: int = WIDTH, depth: int = DEPTH, branching: int = 2) -> Callable[[], None]:
    """Return a training step of `seeds` networks, sampling included."""
    g = torch.Generator().manual_seed(0)
    trees = TreeEnsemble.regular(seeds, depth, branching, polarity=(0.8, 1.0), generator=g)
    net = TreeNetwork.random(
        trees,
        width,
        seeds=seeds,
        init="standard",
        bias=True,
        normalise=True,
        generator=g,
        dtype=torch.float32,
    )
    optimizer, loss, first = torch.optim.SGD(net.parameters(), lr=0.1), InfoNCE(TEMPERATURE), trees.leaves[0]

    def step() -> None:
        pixels = trees.triples(BATCH, generator=g, dtype=torch.float32).states.mT[:, first:]
        anchor, positive, negative = torch.tensor_split(net(pixels), 3, -1)
        r_pos, r_neg = (0.5 * (anchor - other).square().sum(1).flatten() for other in (positive, negative))
        optimizer.zero_grad(set_to_none=True)
        (loss(r_pos, r_neg.unsqueeze(1)).sum() / BATCH).backward()
        optimizer.step()

    return step


def products_only(seeds: int) -> tuple[Callable[[], None], float]:
    """Return the batched products of a step, forward and backward, without anything else, and their flops."""
    shapes = [(2**level, WIDTH, 2 * WIDTH if level < DEPTH - 1 else 2) for level in range(DEPTH)]
    blocks = [
        (
            torch.randn(seeds * nodes, out, fan),
            torch.randn(seeds * nodes, fan, 3 * BATCH),
            torch.randn(seeds * nodes, out, 3 * BATCH),
        )
        for nodes, out, fan in shapes
    ]

    def work() -> None:
        for level, (weight, inputs, gradient) in enumerate(blocks):
            torch.bmm(weight, inputs)
            torch.bmm(gradient, inputs.mT)
            if level < DEPTH - 1:
                torch.bmm(weight.mT, gradient)

    flops = sum(
        2.0 * seeds * nodes * out * fan * 3 * BATCH * (3 if level < DEPTH - 1 else 2)
        for level, (nodes, out, fan) in enumerate(shapes)
    )
    return work, flops


def sampling() -> dict[str, float]:
    g = torch.Generator().manual_seed(0)
    trees = TreeEnsemble.regular(32, DEPTH, polarity=(0.8, 1.0), generator=g)
    tree, slow = trees.trees[0], plain.PlainTree(trees.trees[0])
    count = 3 * BATCH
    times = {
        "choice": seconds(lambda: [slow.sample(plain.by_choice) for _ in range(20)]) / 20,
        "comparison": seconds(lambda: [slow.sample(plain.by_comparison) for _ in range(200)]) / 200,
        "one tree": seconds(lambda: tree.sample(64_000, generator=g, dtype=torch.uint8)) / 64_000,
        "32 trees": seconds(lambda: trees.sample(count, generator=g, dtype=torch.uint8), 30) / count / 32,
    }
    return {
        "microseconds a sample, baseline by numpy's choice": 1e6 * times["choice"],
        "microseconds a sample, baseline by Python's random": 1e6 * times["comparison"],
        "microseconds a sample, one tree": 1e6 * times["one tree"],
        "microseconds a sample, 32 trees": 1e6 * times["32 trees"],
        "ratio to numpy's choice": times["choice"] / times["one tree"],
        "ratio to Python's random": times["comparison"] / times["one tree"],
    }


def steps() -> dict[str, float]:
    torch.manual_seed(0)
    tree = LatentTree.regular(DEPTH, polarity=(0.8, 1.0), generator=torch.Generator().manual_seed(0))
    slow, network = plain.PlainTree(tree), plain.PlainNetwork(tree, WIDTH)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    triple = slow.triples(BATCH, plain.by_comparison)
    baseline = seconds(lambda: plain.train_step(network, optimizer, triple, TEMPERATURE), 20)
    one, many = seconds(trainer(1), 50), seconds(trainer(32), 15) / 32
    work, flops = products_only(32)
    bare = seconds(work, 15) / 32
    return {
        "milliseconds a step, baseline without its sampling": 1e3 * baseline,
        "milliseconds a step, one seed, sampling included": 1e3 * one,
        "milliseconds a step and seed, 32 seeds, sampling included": 1e3 * many,
        "ratio, one seed": baseline / one,
        "ratio, 32 seeds": baseline / many,
        "GFLOP/s of a step": flops / 32 / many / 1e9,
        "GFLOP/s of its matrix products alone": flops / 32 / bare / 1e9,
        "share of the machine's limit": bare / many,
    }


def epoch(step_seconds: float) -> dict[str, float]:
    """Return an epoch of 64,000 triples with its evaluation; the baseline's is added up from parts."""
    g = torch.Generator().manual_seed(0)
    tree = LatentTree.regular(DEPTH, polarity=(0.8, 1.0), generator=g)
    slow, network = plain.PlainTree(tree), plain.PlainNetwork(tree, WIDTH)
    np.random.seed(0)  # noqa: NPY002
    parts = {}
    for name, draw in (("numpy's choice", plain.by_choice), ("Python's random", plain.by_comparison)):
        sampled = seconds(lambda draw=draw: slow.triples(8, draw)) / 8 * BATCH
        measured = seconds(lambda draw=draw: plain.correlations(network, slow, 256, draw)) * 2048 / 256
        parts[name] = STEPS * (sampled + step_seconds) + measured
    experiment = TreeExperiment(seeds=32, epochs=1)
    start = time.perf_counter()
    run(replace(experiment, epochs=0), device="cpu")
    set_up = time.perf_counter() - start
    start = time.perf_counter()
    run(experiment, device="cpu")
    fast = (time.perf_counter() - start - set_up) / experiment.seeds
    return {
        "seconds an epoch and seed": fast,
        **{f"seconds an epoch, baseline by {name}": value for name, value in parts.items()},
        **{f"ratio to the baseline by {name}": value / fast for name, value in parts.items()},
    }


def growth() -> dict[str, float]:
    """Return the cost of a step at depths 5 to 8 and branching 3, and how it grows with the nodes."""
    shapes = [(5, 2), (6, 2), (7, 2), (8, 2), (5, 3)]
    nodes = [sum(b**level for level in range(d + 1)) for d, b in shapes]
    times = [seconds(trainer(4, depth=d, branching=b), 10) for d, b in shapes]
    return {
        **{
            f"milliseconds a step, depth {d}, branching {b}": 1e3 * s
            for (d, b), s in zip(shapes, times, strict=True)
        },
        "exponent of a step in the number of nodes": exponent(nodes[:4], times[:4]),
    }


def main() -> None:
    result = sampling() | steps()
    result |= epoch(result["milliseconds a step, baseline without its sampling"] / 1e3) | growth()
    print(json.dumps({name: rounded(value) for name, value in result.items()}))


if __name__ == "__main__":
    main()
