from __future__ import annotations

from typing import Any

import pytest
import torch

from ssl_theory.chapter import start
from ssl_theory.theorems import claims


@pytest.fixture(autouse=True)
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_all_draws_come_from_the_seed() -> None:
    def draws(seed: int) -> list[torch.Tensor]:
        chapter = start("gradient", seed=seed)
        return [
            chapter.normal(2, 3),
            chapter.uniform(-1.0, 2.0, 1000),
            chapter.integers(3, 5, 1000),
            torch.tensor([chapter.integer(1, 6) for _ in range(1000)]),
        ]

    first, again, other = draws(1), draws(1), draws(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert first[0].dtype == first[1].dtype == torch.float64
    assert -1 <= float(first[1].min()) < -0.9
    assert 1.9 < float(first[1].max()) < 2
    assert set(first[2].tolist()) == {3, 4, 5}
    assert set(first[3].tolist()) == set(range(1, 7))


def test_settings_follow_the_profile_and_checks_know_their_circumstances() -> None:
    assert start("gradient").choose(1, 10) == 1
    chapter = start("gradient", "paper", 7)
    assert chapter.choose(1, 10) == 10
    name = next(n for n, (t, c) in claims().items() if t.chapter == "gradient" and c.control)
    check = chapter.check(name)
    assert (check._profile, check._seed, check._device) == ("paper", 7, "cpu")
    assert torch.get_num_threads() == 1


def test_values_are_glued_under_the_name_of_the_chapter(monkeypatch: pytest.MonkeyPatch) -> None:
    glued: dict[str, Any] = {}
    monkeypatch.setattr("myst_nb.glue", lambda key, value, display: glued.update({key: (value, display)}))
    start("simple").glue({"welcome-x": 1}, gain_left=2.0)
    assert glued == {"welcome-x": (1, False), "simple-gain-left": (2.0, False)}


@pytest.mark.bad_input
def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="profile must be 'quick' or 'paper', got 'fast'"):
        start("simple", "fast")
    with pytest.raises(ValueError, match="seed"):
        start("simple", seed=2**64)
    with pytest.raises(TypeError, match="seed"):
        start("simple", seed=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="device must be auto or one of cpu"):
        start("simple", device="nosuch")
