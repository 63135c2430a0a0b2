from __future__ import annotations

import argparse
import io
import sys

import pytest

from ssl_theory.publishing.console import Help, spell_out


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "1e-9 ≤ δ Ω – é ✓ 語"),
        ("cp1252", "1e-9 <= delta Omega – é ok ?"),
        ("ascii", "1e-9 <= delta Omega - e ok ?"),
    ],
)
def test_letters_that_a_console_lacks_are_spelled(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    spell_out()
    print("1e-9 ≤ δ Ω – é ✓ 語", end="", flush=True)
    assert written.getvalue().decode(encoding) == shown


def test_help_tells_defaults_once() -> None:
    parser = argparse.ArgumentParser(formatter_class=Help)
    parser.add_argument("--one", default=3, help="a number")
    parser.add_argument("--two", help="another (default: all)")
    parser.add_argument("--three", action="store_true", help="a switch")
    told = " ".join(parser.format_help().split())
    assert "--one ONE a number (default: 3) --two TWO another (default: all) --three a switch" in told
