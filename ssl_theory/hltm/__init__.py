"""Hierarchical latent trees: the model, its closed forms and tree-structured networks (T7–T11)."""

from ssl_theory.hltm.ensemble import TreeEnsemble
from ssl_theory.hltm.model import LatentModel, Triples
from ssl_theory.hltm.moments import MAX_CONFIGURATIONS, LeafMoments
from ssl_theory.hltm.topology import Topology
from ssl_theory.hltm.tree import CategoricalTree, LatentTree

__all__ = [
    "MAX_CONFIGURATIONS",
    "CategoricalTree",
    "LatentModel",
    "LatentTree",
    "LeafMoments",
    "Topology",
    "TreeEnsemble",
    "Triples",
]
