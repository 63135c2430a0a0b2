"""What does a covariance explain of learning from images? Encoders trained by five losses (T12).

An experiment trains one encoder for each seed and follows what its frozen features are worth. All losses see
the same batches: two views of each image, the other images as negatives.
"""

from ssl_theory.experiments.images.losses import batch_loss, extra_pull, in_batch, infonce_balance
from ssl_theory.experiments.images.settings import (
    BetaConvention,
    EncoderName,
    ImageExperiment,
    LossName,
    Schedule,
)
from ssl_theory.experiments.images.tables import OPERATORS, TABLES, table
from ssl_theory.experiments.images.train import ImageRun, encoder_of, labelled, pixels, run, view_of

__all__ = [
    "OPERATORS",
    "TABLES",
    "BetaConvention",
    "EncoderName",
    "ImageExperiment",
    "ImageRun",
    "LossName",
    "Schedule",
    "batch_loss",
    "encoder_of",
    "extra_pull",
    "in_batch",
    "infonce_balance",
    "labelled",
    "pixels",
    "run",
    "table",
    "view_of",
]
