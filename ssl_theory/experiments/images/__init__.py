"""What does a covariance explain of learning from images? Encoders trained by one loss or another (T12).

An experiment trains one encoder for each seed and follows what its frozen features are worth. All losses see
the same batches: two views of each image, the other images as negatives.
"""

from ssl_theory.experiments.images.losses import (
    batch_loss,
    exact_covariance_option,
    extra_pull,
    in_batch,
    infonce_balance,
    one_at_a_time,
)
from ssl_theory.experiments.images.settings import (
    BetaConvention,
    EncoderName,
    ImageExperiment,
    LossName,
    Schedule,
)
from ssl_theory.experiments.images.tables import TABLES, measured_on_gpu, paper_base, paper_study, table
from ssl_theory.experiments.images.train import ImageRun, encoder_of, labelled, pixels, run, view_of

__all__ = [
    "TABLES",
    "BetaConvention",
    "EncoderName",
    "ImageExperiment",
    "ImageRun",
    "LossName",
    "Schedule",
    "batch_loss",
    "encoder_of",
    "exact_covariance_option",
    "extra_pull",
    "in_batch",
    "infonce_balance",
    "labelled",
    "measured_on_gpu",
    "one_at_a_time",
    "paper_base",
    "paper_study",
    "pixels",
    "run",
    "table",
    "view_of",
]
