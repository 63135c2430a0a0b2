"""Latent trees: sampling, training steps and whole epochs against a plain implementation; prints JSON."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks import _hltm_baseline as plain
from benchmarks.timing import exponent, rounded, seconds
from ssl_theory.experiments.trees import TreeExperiment, bytes_per_seed, run, seeds_at_once
from ssl_theory.experiments.trees.train import _Group
from ssl_theory.hltm import LatentTree, TreeEnsemble

USUAL = TreeExperiment()
DRAWS = {"numpy's choice": plain.by_choice, "Python's random": plain.by_comparison}
DEPTH, BATCH, WIDTH, STEPS = USUAL.depth, USUAL.batch, USUAL.width, USUAL.steps


def trainer(experiment: TreeExperiment) -> Callable[[], None]:
    """Return a training step of all seeds of an experiment together, sampling included."""
    group = _Group(experiment, range(experiment.seeds), torch.device("cpu"))
    optimizer = torch.optim.SGD(group.net.parameters(), lr=experiment.rate)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        group.batch_loss(experiment.batch).sum().backward()
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
    baseline = seconds(lambda: plain.train_step(network, optimizer, triple, USUAL.temperature), 20)
    one = seconds(trainer(replace(USUAL, seeds=1)), 50)
    many = seconds(trainer(replace(USUAL, seeds=32)), 15) / 32
    work, flops = products_only(32)
    bare = seconds(work, 15) / 32
    np.random.seed(0)  # noqa: NPY002
    sampled = {
        name: seconds(lambda draw=draw: slow.triples(8, draw), 3) / 8 * BATCH for name, draw in DRAWS.items()
    }
    return {
        "milliseconds a step, baseline without its sampling": 1e3 * baseline,
        "milliseconds a step, one seed, sampling included": 1e3 * one,
        "milliseconds a step and seed, 32 seeds, sampling included": 1e3 * many,
        **{
            f"ratio of a step, {seeds}, baseline with sampling by {name}": (baseline + extra) / own
            for seeds, own in (("one seed", one), ("32 seeds", many))
            for name, extra in sampled.items()
        },
        "ratio of a step, one seed, baseline without sampling": baseline / one,
        "ratio of a step, 32 seeds, baseline without sampling": baseline / many,
        "GFLOP/s of a step": flops / 32 / many / 1e9,
        "GFLOP/s of its matrix products alone": flops / 32 / bare / 1e9,
        "share of the machine's limit": bare / many,
    }


def epoch(step_seconds: float) -> dict[str, float]:
    """Return an epoch of 64,000 triples and its evaluation, for 64 seeds; the baseline's is added up."""
    g = torch.Generator().manual_seed(0)
    tree = LatentTree.regular(DEPTH, polarity=(0.8, 1.0), generator=g)
    slow, network = plain.PlainTree(tree), plain.PlainNetwork(tree, WIDTH)
    np.random.seed(0)  # noqa: NPY002
    parts = {}
    for name, draw in DRAWS.items():
        sampled = seconds(lambda draw=draw: slow.triples(8, draw)) / 8 * BATCH
        measured = seconds(lambda draw=draw: plain.correlations(network, slow, 256, draw)) * 2048 / 256
        parts[name] = STEPS * (sampled + step_seconds) + measured
    experiment = replace(USUAL, seeds=64)
    set_up, whole = (
        seconds(lambda epochs=epochs: run(replace(experiment, epochs=epochs), device="cpu"), 3)
        for epochs in (0, 1)
    )
    fast = (whole - set_up) / experiment.seeds
    return {
        "seconds an epoch and seed, 64 seeds": fast,
        **{f"seconds an epoch, baseline by {name}": value for name, value in parts.items()},
        **{f"ratio to the baseline by {name}": value / fast for name, value in parts.items()},
    }


def growth() -> dict[str, float]:
    """Return the cost of a step at depths 5 to 8 and branching 3, and how it grows with the nodes."""
    shapes = [(5, 2), (6, 2), (7, 2), (8, 2), (5, 3)]
    nodes = [sum(b**level for level in range(d + 1)) for d, b in shapes]
    times = [seconds(trainer(replace(USUAL, seeds=16, depth=d, branching=b)), 10) for d, b in shapes]
    return {
        **{
            f"milliseconds a step of 16 seeds, depth {d}, branching {b}": 1e3 * s
            for (d, b), s in zip(shapes, times, strict=True)
        },
        "exponent of a step in the number of nodes": exponent(nodes[:4], times[:4]),
    }


def table() -> dict[str, float]:
    """Return what the table of 9 settings, 30 seeds and 20 epochs would take, from steps and measurements."""
    result, total = {}, 0.0
    for width in (2, 5, 10):
        experiment = replace(USUAL, width=width)
        together = seeds_at_once(experiment, torch.device("cpu"))
        group = _Group(experiment, range(together), torch.device("cpu"))
        step = seconds(trainer(replace(experiment, seeds=together)), 20) / together
        measured = seconds(lambda group=group: group.measure(0), 2) / together
        setting = experiment.seeds * (experiment.epochs * (STEPS * step + measured) + measured)
        result[f"seconds a setting of the table, {width} neurons, {together} seeds together"] = setting
        total += 3 * setting
    return result | {"minutes the table would take": total / 60.0}


def memory() -> dict[str, float]:
    """Return what a seed takes at most, set-up, steps and measurements, beside what is reckoned with."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    group = _Group(replace(USUAL, seeds=30), range(30), torch.device("cpu"))
    group.batch_loss(BATCH).sum().backward()
    group.measure(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    reckoned = bytes_per_seed(USUAL, torch.device("cpu"))
    return {
        "MiB a seed, measured": peak * 1024 / 30 / 2**20,
        "MiB a seed, reckoned with": reckoned / 2**20,
    }


def main() -> None:
    result = memory() | sampling() | steps()  # memory first: peaks of the rest would hide it
    result |= epoch(result["milliseconds a step, baseline without its sampling"] / 1e3) | growth() | table()
    print(json.dumps({name: rounded(value) for name, value in result.items()}))


if __name__ == "__main__":
    main()
