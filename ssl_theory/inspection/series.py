"""Inspections while a model trains, in a loop of one's own or another's (T12)."""

from __future__ import annotations

from ssl_theory.inspection.inspect import Inspection

__all__ = ["CHEAP", "EVERY", "scalars"]

CHEAP = {"directions": 3, "probes": 8, "nulls": 2, "splits": 2}
"""Arguments of `inspect` for measuring again and again: less precise, several times as fast."""

EVERY = 2000
"""Steps of training between two inspections that cost less than a twentieth of them; see `make bench`."""


def scalars(found: Inspection) -> dict[str, float]:
    """Return the numbers of an inspection by names that a logger takes.

    Args:
        found: The inspection.

    Returns:
        Measures of the outputs as outputs/NAME; of layers, as LAYER/NAME, the cosines with the step, the
        residue's share, and the share of the gradient in the leading directions.
    """
    numbers = {f"outputs/{name}": estimate.value for name, estimate in found.outputs.items()}
    for name, layer in found.layers.items():
        for kind, against in layer.against.items():
            numbers[f"{name}/cos_{kind}"] = against.cosine.value
        numbers[f"{name}/residue"] = layer.residue.value
        numbers[f"{name}/share_gradient"] = layer.shares["gradient"]
    return numbers
