r"""One notation: the letters that a chapter's formulas use, against what the book says they mean.

A symbol is a letter with its decoration, such as \\bar f or \\mathcal L. The book's symbols stand in
book/notation.toml, those of one chapter under [symbols] in theorems/<chapter>.toml.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

from ssl_theory.publishing import notebooks

__all__ = [
    "book_symbols",
    "chapter_symbols",
    "faults",
    "formulas",
    "free_symbols",
    "letters_table",
    "symbols_in",
]

GREEK = [
    *("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota"),
    *("kappa", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi"),
    *("psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi"),
    *("Omega", "ell"),
]
DECORATIONS = (
    "bar|hat|tilde|dot|ddot|vec|mathcal|mathbb|mathbf|mathsf|mathfrak|boldsymbol|overline|underline|breve"
)
NAMES = r"operatorname\*?|mathrm|text(?:rm|bf|it|tt)?|label|tag|begin|end|mbox|class"
WORDS = re.compile(rf"\\(?:{NAMES})\s*\{{[^{{}}]*\}}")
VARIANCE = re.compile(r"(?<![A-Za-z\\])V(?!_\{?[xa])(?![A-Za-z}])")
SYMBOL = re.compile(
    rf"\\(?P<deco>{DECORATIONS})(?![A-Za-z])\s*\{{?\s*(?P<inner>\\(?:{'|'.join(GREEK)})\b|[A-Za-z])"
    rf"|(?P<greek>\\(?:{'|'.join(GREEK)})(?![A-Za-z]))|\\[A-Za-z]+|(?P<latin>[A-Za-z])"
)


def symbols_in(tex: str) -> set[str]:
    r"""Return the symbols of a formula: letters with their decoration, "\bar f", "\tau", "K".

    Args:
        tex: A formula without its dollar signs.

    Returns:
        The symbols; names of functions, units and words are none.
    """
    found = set()
    for match in SYMBOL.finditer(WORDS.sub(" ", tex)):
        if match["deco"]:
            found.add(f"\\{match['deco']} {match['inner']}")
        elif match["greek"] or match["latin"]:
            found.add(match["greek"] or match["latin"])
    return found


def formulas(markdown: str) -> list[str]:
    """Return the formulas of a Markdown text, displayed and inline, without those in code."""
    prose = re.sub(r"(`+)(?!\{)(?:(?!\1).)*?\1", " ", markdown)  # code, but not the fences of directives
    displayed = re.findall(r"\$\$(.*?)\$\$", prose, re.S)
    inline = re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.*?\$\$", " ", prose, flags=re.S))
    return displayed + inline


def book_symbols(folder: Path, part: str = "") -> dict[str, str]:
    """Return the meaning of each symbol that the whole book shares, or one part of it.

    Args:
        folder: The book's folder, with notation.toml.
        part: Folder of a part, whose symbols are added.

    Returns:
        Meaning by symbol.
    """
    text = (folder / "notation.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, str]] = tomllib.loads(text)
    return tables["symbols"] | tables.get(part, {})


def free_symbols(folder: Path) -> list[str]:
    """Return the letters that every chapter may use for what it names on the spot."""
    text = (folder / "notation.toml").read_text(encoding="utf-8")
    letters: list[str] = tomllib.loads(text)["free"]
    return letters


def chapter_symbols(chapter: str) -> dict[str, str]:
    """Return the meaning of each symbol of one chapter, from theorems/<chapter>.toml."""
    path = resources.files("ssl_theory") / "theorems" / f"{chapter}.toml"
    table: dict[str, str] = tomllib.loads(path.read_text(encoding="utf-8")).get("symbols", {})
    return table


def faults(
    notebook: Path, book: Mapping[str, str], own: Mapping[str, str], free: Iterable[str] = ()
) -> list[str]:
    """Return what a chapter does against the notation, in words.

    Args:
        notebook: The chapter.
        book: Meanings of the book's symbols.
        own: Meanings of the chapter's.
        free: Letters that need no meaning.

    Returns:
        A line for each symbol without a meaning, and for each with two.
    """
    cells = [c for c in notebooks.read(notebook)["cells"] if c["cell_type"] == "markdown"]
    written = [formula for cell in cells for formula in formulas(notebooks.source(cell))]
    used = {symbol: formula for formula in written for symbol in symbols_in(formula)}
    known = {symbol for key in (*book, *own, *free) for symbol in symbols_in(key)}
    known |= {f"\\{deco} {s}" for s in known for deco in ("bar", "dot", "ddot")}  # means, derivatives in time
    bare = [formula for formula in written if VARIANCE.search(re.sub(r"\\mathbb\s*\{?V\}?", "", formula))]
    return [
        *(f"V is V_x or V_a, not {formula.strip()[:80]}" for formula in bare if "V" not in own),
        *(f"{s} has no meaning: {used[s].strip()[:80]}" for s in sorted(used.keys() - known)),
        *(f"{s} means two things: {book[s]}; {own[s]}" for s in sorted(book.keys() & own.keys())),
    ]


def letters_table(chapters: Iterable[tuple[str, str]]) -> str:
    """Return a Markdown table of the symbols that have a meaning in one chapter only.

    Args:
        chapters: Name of each chapter and its place in the book.

    Returns:
        The table, a row for each symbol and chapter, in the order of the book.
    """
    rows = ["| Chapter | Symbol | Meaning |", "|:--|:--|:--|"]
    for name, place in chapters:
        for number, (symbol, meaning) in enumerate(chapter_symbols(name).items()):
            where = f"{{doc}}`{name} <{place}>`" if number == 0 else ""
            rows.append(f"| {where} | ${symbol}$ | {meaning.replace('|', '∣')} |")
    return "\n".join(rows)
