"""One sentence for each thing that the numbers say (T5, T12, T16)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median

from ssl_theory.inspection.estimates import Estimate
from ssl_theory.inspection.layers import LayerReport

__all__ = ["advise"]

Measures = Mapping[str, Estimate]
Setting = Mapping[str, str | float | int | None]


def advise(outputs: Measures, layers: Mapping[str, LayerReport], setting: Setting) -> list[str]:
    """Return what the numbers mean, one sentence each; see `inspect`.

    Args:
        outputs: Measures of the outputs.
        layers: Measures of the layers.
        setting: Numbers of objects, views and outputs, temperature and mode.

    Returns:
        Sentences; those about collapse first.
    """
    return [*_of_outputs(outputs, setting), *_of_layers(list(layers.values()), setting)]


def _of_outputs(outputs: Measures, setting: Setting) -> Iterator[str]:
    value = {name: estimate.value for name, estimate in outputs.items()}
    if value["effective_rank"] == 0:
        yield "All outputs agree: the encoder has collapsed, and no gradient of pairs can part them."
        return
    if value["effective_rank"] < 1.5:
        yield (
            f"The outputs have an effective rank of {value['effective_rank']:.2g}: they lie along one line, "
            "close to collapse."
        )
    if value["V_x"] < 2 * outputs["V_x"].error:
        yield "The variance between objects is within two standard errors of 0: objects are not told apart."
    if setting["temperature"] is not None:
        yield from _of_residue(value["own_over_tau"])
    if value["overlap"] > 0.1:
        yield (
            f"In {value['overlap']:.0%} of cases a negative is nearer than a positive: objects and "
            "augmentations are of one size."
        )
    yield from _of_negatives(value["negatives_in_use"], value["negatives_share"])
    if value["below_rounding"] > 0:
        yield (
            f"In {value['below_rounding']:.0%} of rows the gradient of the loss is below the rounding of "
            "float32: those views teach nothing."
        )


def _of_residue(ratio: float) -> Iterator[str]:
    """Yield how weak the augmentation is: τ* by the variances of the outputs, over τ (T16)."""
    if not math.isfinite(ratio):
        return
    told = f"By their variances the outputs' own temperature is {ratio:.2g} τ"
    if ratio > 1:
        yield f"{told}: the augmentation is strong, and the residue is expected to pass the leading part."
    elif ratio > 0.3:
        yield f"{told}: the residue is expected to be comparable with the leading part."
    else:
        yield f"{told}: the augmentation is weak, and the leading part is expected to rule."


def _of_negatives(count: float, share: float) -> Iterator[str]:
    if math.isnan(count):
        return
    if count < 2:
        yield (
            f"An anchor is pushed as by {count:.2g} negatives: the loss sees its nearest neighbour alone; a "
            "higher temperature would use more."
        )
    elif share > 0.9:
        yield (
            f"An anchor is pushed as by {share:.0%} of all negatives alike: the loss acts like the simple "
            "one, and its temperature is high for these distances."
        )


def _of_layers(layers: list[LayerReport], setting: Setting) -> Iterator[str]:
    explained = [layer for layer in layers if layer.against]
    if explained:
        yield _of_cosines(explained)
        vanishing = [x for x in explained if x.against["exact"].length.value < 1e-3]
        if vanishing:
            yield (
                f"In {len(vanishing)} of {len(explained)} layers OP·vec W vanishes beside the step, as it "
                "does below a normalisation: read the mixed covariance there."
            )
        ruling = [x for x in explained if x.residue.value > 0.5]
        if ruling:
            yield (
                f"In {len(ruling)} of {len(explained)} layers the residue is larger than the mixed "
                "covariance: covariances do not describe this step."
            )
    left = max((layer.view_bias for layer in layers), default=0.0)
    if left > 0.2:
        yield (
            f"Up to {left:.0%} of the view set's between operator is variance within objects: take more than "
            f"{setting['views']} views, or read the corrected eigenvalues."
        )


def _of_cosines(layers: list[LayerReport]) -> str:
    mixed = [layer.against["mixed"] for layer in layers]
    known = [against for against in mixed if not math.isnan(against.cosine.value)]
    if not known:
        return "The mixed covariance vanishes beside the step in every layer."
    found = median(against.cosine.value for against in known)
    null = median(against.null_object for against in known)
    end = ""
    if found < -2 * null:
        end = ": it points the other way, as where the pull on positives outweighs the push, near a rest"
    elif found < 2 * null:
        end = ", which is no more than random targets in the same span reach"
    return (
        f"The median cosine of the step with the mixed covariance is {found:.2f}, that of random targets "
        f"{null:.2f}{end}."
    )
