from __future__ import annotations

from typing import Any

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from myst_nb import glue

from ssl_theory.chapter import start
from ssl_theory.theorems import claims


@pytest.fixture(autouse=True)
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shell() -> Any:
    # takes what is displayed, as a notebook's kernel does
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


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


def test_values_are_glued_as_by_myst_nb(shell: InteractiveShell) -> None:
    chapter = start("simple")
    with capture_output() as own:
        chapter.glue({"welcome-x": "text"}, gain_left=2.0)
    with capture_output() as theirs:
        for key, value in (("welcome-x", "text"), ("simple-gain-left", 2.0)):
            glue(key, value, display=False)
    found, expected = ([(o.data, o.metadata) for o in captured.outputs] for captured in (own, theirs))
    assert found == expected
    assert [metadata["scrapbook"]["name"] for _, metadata in found] == ["welcome-x", "simple-gain-left"]


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
