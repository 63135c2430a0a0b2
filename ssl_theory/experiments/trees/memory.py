"""How much memory an experiment takes, and how many seeds fit."""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]
import torch

from ssl_theory.experiments.trees.settings import TreeExperiment

CEILING_DRAWS = 4  # times `evaluation`


def seeds_at_once(experiment: TreeExperiment, device: torch.device) -> int:
    """Return how many seeds to train together: all that fit, since a step costs little more for many.

    Args:
        experiment: What is to be run.
        device: Where.

    Returns:
        At least 1; at most so many that they take half of the memory that is free now.

    Raises:
        MemoryError: If a single seed would take more than all of it.
    """
    free, need = free_bytes(device), bytes_per_seed(experiment, device)
    if need > free:
        raise MemoryError(
            f"a seed of this experiment takes about {need / 2**20:.0f} MiB and {device} has "
            f"{free / 2**20:.0f} MiB left: lower the depth, width, batch or evaluation"
        )
    return int(min(experiment.seeds, max(1, free // (2 * need))))


def products(experiment: TreeExperiment) -> float:
    """Return how many products of an input and a weight the forward passes of all updates take."""
    _, inner = experiment.nodes
    weights = inner * experiment.width * (experiment.branching * experiment.width)
    views = 2.0 + experiment.negatives
    return views * experiment.batch * experiment.steps * experiment.epochs * experiment.seeds * weights


def bytes_per_seed(experiment: TreeExperiment, device: torch.device) -> int:
    """Return about how much memory a seed takes at most: in a step, or while it is measured."""
    nodes, inner = experiment.nodes
    neurons, draws = inner * experiment.width, experiment.evaluation
    fan = experiment.branching * experiment.width

    def step(triples: int) -> int:
        return (2 + experiment.negatives) * triples * (8 * nodes + 12 * neurons)

    beliefs = CEILING_DRAWS * draws * nodes * 80
    jacobians = 12 * neurons * experiment.width * chunk_of(device, 1) + 8 * neurons * experiment.width * fan
    measured = 8 * draws * nodes + max(beliefs, 16 * draws * neurons + jacobians, step(draws // 2))
    return measured + step(experiment.batch) + 24 * neurons * fan


def free_bytes(device: torch.device) -> int:
    """Return the memory that is left on a device, as far as the system tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def chunk_of(device: torch.device, seeds: int) -> int:
    """Return how many draws Jacobians are worked out for at once: few suit caches, many a GPU."""
    return min(256, max(64, 4096 // seeds)) if device.type == "cpu" else 2048
