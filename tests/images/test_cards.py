from __future__ import annotations

from typing import get_args

import pytest

from ssl_theory.images import load_images
from ssl_theory.images.archives import ARCHIVES
from ssl_theory.images.cards import CARDS, card_table, picture_table
from ssl_theory.images.data import PACKAGED, Name


def test_every_data_set_has_a_card() -> None:
    assert set(CARDS) == set(get_args(Name)) == set(card_table().columns)
    assert all(getattr(card, part) for card in CARDS.values() for part in vars(card))


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_a_card_says_what_is_loaded(name: str) -> None:
    card = CARDS[name]
    train, test = load_images(name), load_images(name, "test")
    assert (len(train), len(test)) == (card.train, card.test)
    assert tuple(train.images.shape[1:]) == tuple(test.images.shape[1:]) == card.shape
    assert len(train.labels.unique()) == len(test.labels.unique()) == card.classes


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("cifar10", [f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin"),
        ("stl10", ["train_X.bin"], "test_X.bin"),
    ],
)
def test_a_card_says_what_an_archive_holds(name: str, train: list[str], test: str) -> None:
    card, sizes = CARDS[name], ARCHIVES[name].sizes
    channels, height, width = card.shape
    record = channels * height * width + (name == "cifar10")
    assert sum(sizes[file] for file in train) == record * card.train
    assert sizes[test] == record * card.test


def test_pictures_are_listed_with_their_licences() -> None:
    table = picture_table()
    assert len(table) == CARDS["photographs"].classes
    assert (table["licence"] == "none stated").sum() == 1
    assert not table.isna().any().any()
