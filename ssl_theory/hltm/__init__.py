"""Hierarchical latent trees: the model, its closed forms and tree-structured networks (T7–T11)."""

from ssl_theory.hltm import lucky
from ssl_theory.hltm.augmentation_graph import (
    AugmentationGraph,
    Eigenfunctions,
    additive_functions,
    augmentation_graph,
)
from ssl_theory.hltm.closed_forms import (
    LevelState,
    activation_covariance,
    child_vectors,
    level_state,
    pre_activation_gap,
    selectivities,
)
from ssl_theory.hltm.ensemble import TreeEnsemble
from ssl_theory.hltm.exact import ExactTree
from ssl_theory.hltm.fixed_gates import fix_gates
from ssl_theory.hltm.limits import (
    Ceilings,
    additive_limits,
    belief_ceilings,
    best_sums,
    exact_ceilings,
    linear_limits,
    state_ceilings,
)
from ssl_theory.hltm.metrics import best_correlations
from ssl_theory.hltm.model import LatentModel, Triples
from ssl_theory.hltm.moments import MAX_CONFIGURATIONS, LeafMoments
from ssl_theory.hltm.network import Trace, TreeNetwork
from ssl_theory.hltm.node_operators import NodeOperators, node_operators, sample_contrast
from ssl_theory.hltm.topology import Topology
from ssl_theory.hltm.tree import CategoricalTree, LatentTree, small_tree

__all__ = [
    "MAX_CONFIGURATIONS",
    "AugmentationGraph",
    "CategoricalTree",
    "Ceilings",
    "Eigenfunctions",
    "ExactTree",
    "LatentModel",
    "LatentTree",
    "LeafMoments",
    "LevelState",
    "NodeOperators",
    "Topology",
    "Trace",
    "TreeEnsemble",
    "TreeNetwork",
    "Triples",
    "activation_covariance",
    "additive_functions",
    "additive_limits",
    "augmentation_graph",
    "belief_ceilings",
    "best_correlations",
    "best_sums",
    "child_vectors",
    "exact_ceilings",
    "fix_gates",
    "level_state",
    "linear_limits",
    "lucky",
    "node_operators",
    "pre_activation_gap",
    "sample_contrast",
    "selectivities",
    "small_tree",
    "state_ceilings",
]
