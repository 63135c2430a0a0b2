"""Do hidden neurons learn the latents? Tree networks trained on views of latent trees (T11).

An experiment trains one network per seed, each on a tree of its own polarities. For every latent it follows
the best |correlation| of a neuron of N_μ with the latent and with the exact belief in it, beside the limit
that the belief sets, the norm of the node's operator, and how much of the update the leading one explains.
"""

from ssl_theory.experiments.trees.losses import ensemble_loss, leading_loss
from ssl_theory.experiments.trees.mechanism import mechanism_table, tree_mechanism, tree_targets
from ssl_theory.experiments.trees.memory import bytes_per_seed, products, seeds_at_once
from ssl_theory.experiments.trees.settings import LossName, Optimizer, Schedule, TreeExperiment
from ssl_theory.experiments.trees.summaries import (
    MOMENTS,
    explained,
    level_summary,
    level_table,
    seed_summary,
)
from ssl_theory.experiments.trees.tables import grid, setting_name, stored, tabulate, variations
from ssl_theory.experiments.trees.train import run

__all__ = [
    "MOMENTS",
    "LossName",
    "Optimizer",
    "Schedule",
    "TreeExperiment",
    "bytes_per_seed",
    "ensemble_loss",
    "explained",
    "grid",
    "leading_loss",
    "level_summary",
    "level_table",
    "mechanism_table",
    "products",
    "run",
    "seed_summary",
    "seeds_at_once",
    "setting_name",
    "stored",
    "tabulate",
    "tree_mechanism",
    "tree_targets",
    "variations",
]
