"""The book's look, for the tests of what matplotlib draws in it."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from ssl_theory.display import figures


@pytest.fixture
def theme() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        figures.use_theme()
        yield
        plt.close("all")
