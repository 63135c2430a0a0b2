"""An inspection as files: one page that needs nothing else, a table of layers, a summary for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from ssl_theory.inspection.estimates import Estimate
from ssl_theory.inspection.inspect import Inspection
from ssl_theory.inspection.layers import LayerReport

__all__ = ["write_report"]

MEANINGS = {
    "loss": "the loss on these views",
    "rankme": "entropy rank of the singular values; Garrido et al., arXiv:2210.02885, equation (1)",
    "effective_rank": "entropy rank of their covariance; Roy and Vetterli, EUSIPCO 2007; 0 at collapse",
    "alpha_req": "exponent of the decay of their covariance's spectrum; Agrawal et al., NeurIPS 2022",
    "lidar": "entropy rank of objects relative to views; Thilak et al., arXiv:2312.04000",
    "V_x": "variance between objects, unbiased",
    "V_a": "mean variance within objects, unbiased",
    "V_a_over_tau": "V_a of the outputs as the loss compares them, over the temperature",
    "own_over_tau": "temperature at which norms stop growing, by the variances, over the temperature",
    "r_positive": "mean distance of two views of an object, over the temperature",
    "r_negative": "mean distance of views of different objects, over the temperature",
    "overlap": "chance that a negative is nearer than a positive: 0 apart, 0.5 nothing tells them apart",
    "negatives_in_use": "as many equal negatives push an anchor alike",
    "negatives_share": "the same as a share of all negatives",
    "below_rounding": "share of rows whose gradient float32 does not know",
}
STYLE = """
:root { color-scheme: light dark; --ink:#2b2f36; --soft:#5c636d; --paper:#fbfaf7; --card:#fff; --line:#d9d6cd;
  --a:#0072b2; --b:#b64f00; --c:#007a59 }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e4de; --soft:#a9adb4; --paper:#17191d; --card:#1f2227;
  --line:#3a3f47; --a:#56b4e9; --b:#f0a05a; --c:#3fc79b } }
* { box-sizing:border-box }
body { margin:0 auto; max-width:76rem; padding:1.5rem 1rem 4rem; color:var(--ink); background:var(--paper);
  font:1rem/1.55 system-ui, sans-serif; overflow-wrap:anywhere }
h1 { font-size:1.6rem; margin:.2rem 0 }
h2 { font-size:1.2rem; margin:2.2rem 0 .6rem }
p, li { max-width:46rem }
.soft { color:var(--soft) }
.scroll { overflow-x:auto }
table { border-collapse:collapse; font-size:.92rem }
th, td { text-align:left; padding:.3rem .8rem .3rem 0; border-bottom:1px solid var(--line);
  vertical-align:top }
th, td { overflow-wrap:normal; min-width:3rem }
td.n, th.n { text-align:right; font-variant-numeric:tabular-nums; white-space:nowrap }
.layers { display:grid; gap:1rem; grid-template-columns:repeat(auto-fill, minmax(min(21rem, 100%), 1fr)) }
figure { margin:0; padding:.8rem; min-width:0; background:var(--card); border:1px solid var(--line);
  border-radius:.4rem }
figcaption { font-size:.9rem; margin-bottom:.4rem }
svg { width:100%; height:auto; display:block }
.a { color:var(--a) }
.b { color:var(--b) }
.c { color:var(--c) }
.filters { display:flex; flex-wrap:wrap; gap:.4rem; margin-top:.5rem }
.filters svg { width:3.2rem; flex:none }
@media (max-width:40rem) {
  .told thead { display:none }
  .told tr { display:grid; grid-template-columns:1fr auto; padding:.3rem 0;
    border-bottom:1px solid var(--line) }
  .told td { border:0; padding:.1rem 0 }
  .told td:last-child { grid-column:1 / -1; color:var(--soft) }
}
"""
KINDS = (("between", "a"), ("within", "b"), ("exact", "c"))
IMAGES = 8


def write_report(found: Inspection, folder: str | Path, *, title: str = "Inspection") -> Path:
    """Write index.html, layers.csv and summary.json.

    Args:
        found: An inspection.
        folder: Where; made if it is not there.
        title: Of the page.

    Returns:
        The path of the page, which needs no network and no other file.

    Raises:
        OSError: If a file cannot be written.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    found.table().to_csv(place / "layers.csv", index=False)
    (place / "summary.json").write_text(json.dumps(summary(found), indent=2) + "\n", encoding="utf-8")
    page = place / "index.html"
    page.write_text(html(found, title), encoding="utf-8")
    return page


def summary(found: Inspection) -> dict[str, object]:
    """Return everything but spectra and directions, ready for JSON; what is not defined is None."""
    return {
        "setting": dict(found.setting),
        "outputs": {name: _plain(estimate._asdict()) for name, estimate in found.outputs.items()},
        "layers": [_plain(layer.row()) for layer in found.layers.values()],
        "refused": dict(found.refused),
        "notes": list(found.notes),
        "advice": list(found.advice),
        "complete": found.complete,
    }


def html(found: Inspection, title: str) -> str:
    """Return the page."""
    setting = found.setting
    under = f"{setting['views']} views of each of {setting['objects']} objects, {setting['outputs']} outputs"
    end = "" if found.complete else "<p><strong>Interrupted: not all layers were measured.</strong></p>"
    rows = [[name, _number(estimate), MEANINGS[name]] for name, estimate in found.outputs.items()]
    parts = [
        f"<h1>{escape(title)}</h1><p class='soft'>{under}, BatchNorm in mode {setting['mode']}</p>{end}",
        f"<h2>What the numbers say</h2>{_list(found.advice, 'verdicts')}",
        f"<h2>Outputs</h2><div class='told'>{_table(['', 'value', 'meaning'], rows, numbers={1})}</div>",
        f"<h2>Layers</h2>{_layers(list(found.layers.values()))}",
    ]
    if found.refused:
        refused = [[name, reason] for name, reason in found.refused.items()]
        parts.append(f"<h2>Layers without an operator</h2>{_table(['layer', 'reason'], refused)}")
    parts.append(f"<h2>How it was measured</h2>{_list(found.notes, 'notes')}")
    body = "".join(f"<section>{part}</section>" for part in parts)
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _layers(layers: Sequence[LayerReport]) -> str:
    about = (
        "<p>Cosines of the step −∇L with what 2 OP·vec W predicts (exact), with its leading part, and with "
        "the mixed covariance, which needs no bias-free network; beside them the root mean square cosine of "
        "the mixed covariance with random targets for objects. A dash: the prediction vanishes "
        "beside the step. Residue: its share beside the mixed covariance. Directions: share of the step in "
        "the leading directions between objects, and that of random targets.</p>"
    )
    head = ["layer", "size", "exact", "leading", "mixed", "random", "residue", "directions", "random"]
    rows = [_layer_row(layer) for layer in layers]
    key = (
        "<p>Leading eigenvalues of the operators <strong class='a'>between objects</strong>, "
        "<strong class='b'>within objects</strong> and <strong class='c'>of the loss</strong>, on a "
        "logarithmic scale.</p>"
    )
    figures = "".join(_figure(layer) for layer in layers)
    return f"{about}{_table(head, rows, numbers=set(range(1, 9)))}{key}<div class='layers'>{figures}</div>"


def _layer_row(layer: LayerReport) -> list[str]:
    nothing = Estimate(math.nan)
    cosines = [
        layer.against[name].cosine if name in layer.against else nothing
        for name in ("exact", "leading", "mixed")
    ]
    null = layer.against["mixed"].null_object if layer.against else math.nan
    return [
        layer.name,
        "×".join(map(str, layer.shape)),
        *map(_number, cosines),
        _number(Estimate(null)),
        _number(layer.residue),
        _number(Estimate(layer.shares["gradient"])),
        _number(Estimate(layer.shares["object"])),
    ]


def _figure(layer: LayerReport) -> str:
    caption = (
        f"<figcaption><strong>{escape(layer.name)}</strong>: as many equal eigenvalues: "
        f"{layer.participation:.3g}; V_x {_number(layer.between_trace)}, V_a {_number(layer.within_trace)}"
        "</figcaption>"
    )
    return f"<figure>{caption}{_spectra(layer)}{_filters(layer)}</figure>"


def _spectra(layer: LayerReport) -> str:
    """Return the leading eigenvalues as an SVG of three lines, over two to eight decades."""
    lines = [(kind, colour, getattr(layer, kind)) for kind, colour in KINDS]
    values = {(kind, colour): pairs.values.tolist() for kind, colour, pairs in lines if pairs is not None}
    top = max((v[0] for v in values.values()), default=0.0)
    if not top > 0:
        return "<p class='soft'>All eigenvalues vanish.</p>"
    count = max(map(len, values.values()))
    least = min(value for numbers in values.values() for value in numbers if value > 1e-8 * top)
    decades = min(8, max(2, math.ceil(math.log10(top / least) / 2) * 2))

    def place(i: int, value: float) -> str:
        down = 120 / decades * math.log10(top / value)
        return f"{40 + 270 * i / max(1, count - 1):.1f},{10 + down:.1f}"

    drawn = ""
    for (kind, colour), numbers in values.items():
        points = [place(i, v) for i, v in enumerate(numbers) if v > 1e-8 * top]
        circles = "".join(f"<circle cx='{p.split(',')[0]}' cy='{p.split(',')[1]}' r='2.2'/>" for p in points)
        drawn += (
            f"<g class='{colour}' fill='currentColor' stroke='currentColor'><title>{kind}</title>"
            f"<polyline points='{' '.join(points)}' fill='none' stroke-width='1.4'/>{circles}</g>"
        )
    marks = "".join(
        f"<text x='36' y='{13 + 120 * d // decades}' text-anchor='end'>{top * 10.0**-d:.0e}</text>"
        for d in (0, decades // 2, decades)
    )
    label = f"Leading eigenvalues of the operators of {escape(layer.name, quote=True)}"
    axis = "<path d='M40 6V134H316' fill='none' stroke='currentColor' stroke-width='.6'/>"
    return (
        f'<svg viewBox="0 0 320 140" role="img" aria-label="{label}"><g fill="currentColor" font-size="9">'
        f"{marks}</g>{axis}{drawn}</svg>"
    )


def _filters(layer: LayerReport) -> str:
    """Return what the leading directions look at, as images, if the layer is a convolution of images."""
    if len(layer.shape) != 4 or layer.shape[1] not in (1, 3) or min(layer.shape[2:]) < 2:
        return ""
    patterns = [torch.linalg.svd(v.double(), full_matrices=False)[2][0] for v in layer.between.vectors]
    images = "".join(
        _image(pattern.reshape(layer.shape[1:]), i) for i, pattern in enumerate(patterns[:IMAGES])
    )
    return f"<div class='filters'>{images}</div>"


def _image(pattern: Tensor, index: int) -> str:
    scaled = (0.5 + 0.5 * pattern / pattern.abs().max()).expand(3, *pattern.shape[1:])
    height, width = scaled.shape[1:]
    cells = "".join(
        f"<rect x='{x}' y='{y}' width='1.02' height='1.02' fill='rgb({','.join(_colour(scaled[:, y, x]))})'/>"
        for y in range(height)
        for x in range(width)
    )
    label = f"what direction {index + 1} looks at"
    return f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='{label}'>{cells}</svg>"


def _colour(pixel: Tensor) -> list[str]:
    return [str(round(255 * value)) for value in pixel.tolist()]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    right = set(numbers)

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [f"<{tag} class='n'>" if i in right else f"<{tag}>" for i in range(len(cells))]
        return "".join(f"{kind}{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return (
        f"<div class='scroll' tabindex='0'><table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}"
        "</tbody></table></div>"
    )


def _list(lines: Sequence[str], kind: str) -> str:
    return f"<ul class='{kind}'>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _number(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "–"
    digits = ".0f" if 10 <= estimate.error < 1e4 else ".1g"
    error = "" if math.isnan(estimate.error) else f" ± {estimate.error:{digits}}"
    return f"{estimate.value:.3g}{error}"


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}
