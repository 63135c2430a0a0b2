"""A small book, built by Sphinx with the book's own extensions, and what its links lead to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from bs4 import BeautifulSoup, Tag

from ssl_theory.publishing import api
from ssl_theory.publishing.links import normal, symbols_of
from ssl_theory.theorems import theorems

EXTENSIONS = (
    "myst_parser",
    "sphinx_proof",
    "ssl_theory.publishing.docstrings",
    "ssl_theory.publishing.links",
)
CONFIG = f"""
extensions = {[*EXTENSIONS]}
myst_enable_extensions = ["dollarmath"]
add_module_names, napoleon_use_rtype, default_role = False, False, "py:obj"
html_theme = "basic"
"""
NOTATION = r"""# Notation

| Symbol | Meaning | In Python |
|:--|:--|:--|
| $K_l = f_{l-1} \otimes J_l^{\top}$ | connection of layer $l$ | `SoftTriplet(temperature, margin)` |
| $x_-$, or $x_{-k}$ | an augmentation of $x'$ | `SoftTriplet` |
| $L$ | number of layers | |
"""
GLOSSARY = """# Glossary

```{glossary}
pair weight
  How much a loss cares.

negative
  Another picture.
```
"""
STATEMENT = "```{prf:theorem} Covariance operator\n:label: t3\nIt holds.\n```"
PAGE = rf"""# About $K_l$ and a pair weight

{STATEMENT}

Here $K_l^\top$ and `K_l` and [a link with $K_l$](notation.md) and a [pair weight](notation.md) come first.
Then $K_{{l}}$, then $K_l$ again, $x_{{-k}}$, $L$; pair weights, then a pair weight; a negative eigenvalue.
`SoftTriplet(0.5)` and `SoftTriplet`, `margin`.

$$K_l$$

```python
pair_weight = "pair weight"
```

Negatives.
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BeautifulSoup]]:
    source = tmp_path_factory.mktemp("source")
    (source / "api").mkdir()
    room = next(room for room in api.ROOMS if room.name == "losses")
    files = {"notation": NOTATION, "glossary": GLOSSARY, "page": PAGE, api.place(room): api.page(room, {})}
    index = "# A book\n\n```{toctree}\n" + "\n".join(files) + "\n```\n"
    for name, text in {**files, "index": index}.items():
        (source / f"{name}.md").write_text(text, encoding="utf-8")
    (source / "conf.py").write_text(CONFIG, encoding="utf-8")
    html = source / "html"
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(source), str(html)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {
        name: BeautifulSoup((html / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        for name in files
    }


def links(page: BeautifulSoup, kind: str) -> list[Tag]:
    return list(page.select(f"a.{kind}-link"))


def test_the_first_use_of_a_symbol_in_prose_leads_to_its_row(pages: dict[str, BeautifulSoup]) -> None:
    first, second = links(pages["page"], "symbol")
    assert (first["href"], first.text, first["title"]) == (
        "notation.html#symbol-k-l",
        r"\(K_{l}\)",
        "connection",
    )
    assert first.parent is not None
    assert "come first" in first.parent.text
    assert (second["href"], second.text) == ("notation.html#symbol-x", r"\(x_{-k}\)")
    assert second["title"] == "an augmentation"
    row = pages["notation"].find(id="symbol-k-l")
    assert isinstance(row, Tag)
    assert row.name == "td"
    assert not links(pages["notation"], "symbol")


def test_the_first_use_of_a_term_leads_to_the_glossary(pages: dict[str, BeautifulSoup]) -> None:
    first, second = links(pages["page"], "term")
    assert (first["href"], first.text) == ("glossary.html#term-pair-weight", "pair weights")
    assert (second["href"], second.text) == ("glossary.html#term-negative", "Negatives"), "not the adjective"
    assert not links(pages["glossary"], "term")


def test_headings_links_code_and_displayed_formulas_stay_as_they_are(pages: dict[str, BeautifulSoup]) -> None:
    for inside in ("h1", "a a", "pre", "div.math", "p.admonition-title"):
        for link in pages["page"].select(f"{inside} a"):
            assert not {"symbol-link", "term-link", "name-link"} & {*link.get("class", ())}, inside


def test_a_name_in_code_leads_to_the_reference(pages: dict[str, BeautifulSoup]) -> None:
    (link,) = links(pages["page"], "name")
    assert link["href"] == "api/losses.html#ssl_theory.losses.SoftTriplet"
    assert link.text == "SoftTriplet(0.5)"
    assert len(links(pages["notation"], "name")) == 2, "there every mention"


def test_the_reference_shows_shapes_links_and_theorems(pages: dict[str, BeautifulSoup]) -> None:
    page = pages["api/losses"]
    header = page.find(id="ssl_theory.losses.SoftTriplet.pair_weights")
    assert isinstance(header, Tag)
    assert "r_neg: Float[Tensor, 'B H']" in header.text
    assert header.text.rstrip("¶\n").endswith("Float[Tensor, 'B H']")
    text = page.text
    assert "r_neg_k" in text
    assert "\\" not in text.replace("\\(", "").replace("\\)", ""), "escapes do not show"
    assert "T3" in theorems()
    assert not {a["href"] for a in links(page, "theorem")} - {"../page.html#t3"}


@pytest.mark.parametrize(
    ("tex", "symbols"),
    [
        (r"W_l", ["W_l"]),
        (r"x_1,\ x_+", ["x_1", "x_+"]),
        (r"N,\ A", []),
        (r"r(u, v) = \tfrac12", ["r(u,v)"]),
        (r"\bar {K}_{l} \in A", [r"\barK_l"]),
        (r"\mathcal L_{\mathrm{tri}}^{\tau}", [r"\mathcalL_{\mathrm{tri}}^\tau"]),
    ],
)
def test_symbols_are_read_from_formulas(tex: str, symbols: list[str]) -> None:
    assert symbols_of(tex) == symbols
    assert normal(normal(tex)) == normal(tex)
