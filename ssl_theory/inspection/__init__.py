"""Your encoder, your views: what a loss does to the weights of any torch module (T5, T12, T13)."""

from ssl_theory.inspection.actions import named_loss, over_pairs
from ssl_theory.inspection.estimates import Estimate
from ssl_theory.inspection.inspect import Inspection, inspect, measure_outputs
from ssl_theory.inspection.layers import Against, LayerReport
from ssl_theory.inspection.outputs import (
    alpha_req,
    effective_rank,
    lidar,
    negatives_in_use,
    overlap_of_distances,
    rankme,
    unbiased_variances,
)
from ssl_theory.inspection.report import write_report
from ssl_theory.inspection.series import CHEAP, scalars
from ssl_theory.inspection.similarity import Agreement, linear_cka, split_agreement, subspace_similarity

__all__ = [
    "CHEAP",
    "Against",
    "Agreement",
    "Estimate",
    "Inspection",
    "LayerReport",
    "alpha_req",
    "effective_rank",
    "inspect",
    "lidar",
    "linear_cka",
    "measure_outputs",
    "named_loss",
    "negatives_in_use",
    "over_pairs",
    "overlap_of_distances",
    "rankme",
    "scalars",
    "split_agreement",
    "subspace_similarity",
    "unbiased_variances",
    "write_report",
]
