"""How alike features of different losses and of different seeds are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ssl_theory.experiments import image_similarity
from ssl_theory.experiments.image_similarity import similarity, similarity_table
from ssl_theory.experiments.images import ImageExperiment, ImageRun, table

TINY = ImageExperiment(
    channels=(6, 12), strides=(2, 2), hidden=16, outputs=12, batch=512, epochs=1, measure_every=1, copies=2
)


def test_an_encoder_is_like_itself_and_less_like_another() -> None:
    one, again, other = (ImageRun.on(TINY, seed, device="cpu") for seed in (0, 0, 1))
    same, different = similarity(one, again, directions=3), similarity(one, other, directions=3)
    assert same["part"].tolist() == ["features", "outputs"]
    assert same[["cka", "subspace"]].to_numpy() == pytest.approx(1.0, abs=1e-5)
    assert (different[["cka", "subspace"]] < 0.99).all(axis=None)
    assert (different["cka"] > 0.1).all()


def test_rows_by_seed_and_networks_of_the_accuracies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_similarity, "DIRECTIONS", 3)
    monkeypatch.setattr(image_similarity, "similarity", lambda a, b: similarity(a, b, directions=3, copies=2))
    table([replace(TINY, seeds=2), replace(TINY, loss="simple", seeds=2)], folder=tmp_path, device="cpu")
    monkeypatch.setattr(ImageRun, "loss", lambda *_: pytest.fail("was trained again"))
    found = similarity_table(replace(TINY, seeds=2), ("infonce", "simple"), folder=tmp_path)
    asked = found.groupby("seed")[["other", "other_seed"]].apply(
        lambda z: sorted(set(map(tuple, z.to_numpy())))
    )
    assert asked.to_dict() == {
        0: [("infonce", 1), ("random", 0), ("random", 1), ("simple", 0), ("simple", 1)],
        1: [("infonce", 0), ("random", 0), ("random", 1), ("simple", 0), ("simple", 1)],
    }
    two = found.query("other == 'infonce'").groupby("part").cka
    assert (two.max() - two.min()).max() < 1e-6  # the same two encoders, seen from either
    monkeypatch.setattr(image_similarity, "similarity", lambda *_: pytest.fail("was compared again"))
    again = similarity_table(replace(TINY, seeds=2), ("infonce", "simple"), folder=tmp_path)
    pd.testing.assert_frame_equal(again, found)


@pytest.mark.bad_input
def test_other_data_is_refused() -> None:
    digits, photographs = (
        ImageRun.on(replace(TINY, data=d), 0, device="cpu") for d in ("digits", "photographs")
    )
    with pytest.raises(ValueError, match="second must be on the data of first, digits, got photographs"):
        similarity(digits, photographs)
