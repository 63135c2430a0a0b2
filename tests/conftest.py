"""Shape annotations are enforced in every test but those of bad input, whose messages must be ours."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

gc.disable()  # while modules are imported, which leaves next to nothing to collect

_HOOK = jaxtyping.install_import_hook("ssl_theory", "beartype.beartype")

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the processors, as do their children
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    threadpool_limits(1)
    torch.set_num_threads(1)

settings.register_profile(
    "book", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("book")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)


def pytest_collection_finish() -> None:
    """Leave all that was imported out of every later collection: it stays to the end."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _shape_annotations(request: pytest.FixtureRequest) -> Iterator[None]:
    off = request.node.get_closest_marker("bad_input") is not None
    jaxtyping.config.update("jaxtyping_disable", off)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def warm() -> Iterator[Path | None]:
    """Yield where workers and kernels are split off one process; None if the system does not let them."""
    from ssl_theory.publishing.execute import warm_process

    with warm_process(1) as found:
        yield found and found.door


@pytest.fixture
def generator() -> torch.Generator:
    """Return a fresh generator with a fixed seed."""
    return torch.Generator().manual_seed(20101000578)
