"""Real images: data sets, augmentations and encoders (T12)."""

from ssl_theory.images.augmentation import DigitViews, SimCLRViews, View, two_views
from ssl_theory.images.data import ImageSet, as_float, load_images
from ssl_theory.images.encoders import ConvEncoder, Projector, ResNet
from ssl_theory.images.randomness import drawing_from

__all__ = [
    "ConvEncoder",
    "DigitViews",
    "ImageSet",
    "Projector",
    "ResNet",
    "SimCLRViews",
    "View",
    "as_float",
    "drawing_from",
    "load_images",
    "two_views",
]
