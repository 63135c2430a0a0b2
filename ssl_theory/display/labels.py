r"""Labels with mathematics, for pictures that no TeX typesets: $…$ becomes runs of letters.

A run is a text and a style: "" upright, "i" italic, with "sub" or "sup" before it below or above the line.
Matplotlib reads the same labels by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["fill", "formatted", "mathematics", "runs"]

Run = tuple[str, str]

_SYMBOLS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eta": "η", "kappa": "κ", "lambda": "λ", "mu": "μ",
    "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "theta": "θ", "varphi": "φ",
    "phi": "ϕ", "psi": "ψ", "omega": "ω", "Delta": "Δ", "Lambda": "Λ", "Phi": "Φ", "Sigma": "Σ", "Theta": "Θ",
    "star": "⋆", "ast": "∗", "cdot": "·", "times": "×", "pm": "±", "le": "≤", "ge": "≥", "to": "→",
    "sum": "∑", "infty": "∞", "partial": "∂", "nabla": "∇", "|": "‖", "|l": "‖", "%": "%", "ell": "ℓ",
}  # fmt: skip
_SPACES = {",": "\u2009", "!": "", " ": " ", ";": "\u2005", "quad": "\u2003"}
_NAMES = ("mathrm", "operatorname", "text", "mathcal", "mathbb")
_WORDS = ("max", "min", "log", "exp")
_ACCENTS = {"bar": "\u0304", "tilde": "\u0303", "hat": "\u0302", "dot": "\u0307"}
_TOKEN = re.compile(r"\\([A-Za-z]+|.)|([{}_^])|(\s+)|(.)", re.S)
_RELATIONS, _BINARY = frozenset("=<>≤≥→"), frozenset("+−±×")
_OPENING = frozenset("([{,|‖")
_FIELD = re.compile(r"\{(\w+)(?::([^}]*))?\}")
_FORM = re.compile(r"\+?(?:\.\d+)?[dfge%]?")


def mathematics(text: str) -> list[tuple[str, bool]]:
    """Return the parts of a text outside and inside dollar signs, with whether they are mathematics.

    Raises:
        ValueError: If a dollar sign has no partner.
    """
    parts = text.split("$")
    if len(parts) % 2 == 0:
        raise ValueError(f"text must have dollar signs in pairs, got {text!r}")
    return [(part, k % 2 == 1) for k, part in enumerate(parts) if part]


def runs(text: str) -> list[Run]:
    r"""Return a label as runs of letters in one style.

    Args:
        text: Plain, with mathematics between dollar signs: letters, Greek and a few other commands,
            `\mathrm`, `\bar`, indices and exponents.

    Returns:
        The runs, none of them empty.

    Raises:
        ValueError: If a command is unknown or braces do not match.

    Example:
        >>> runs(r"share $\lambda_1$")
        [('share ', ''), ('λ', 'i'), ('1', 'sub')]
    """
    found: list[Run] = []
    for part, math in mathematics(text):
        for letters, style in _typeset(part) if math else [(part, "")]:
            if found and found[-1][1] == style:
                found[-1] = (found[-1][0] + letters, style)
            elif letters:
                found.append((letters, style))
    return found


def _typeset(tex: str) -> Iterator[Run]:
    tokens = [match.groups() for match in _TOKEN.finditer(tex)]
    found, left = _group(tokens, 0, tex)
    if left != len(tokens):
        raise ValueError(f"braces must match, got ${tex}$")
    yield from _spaced(found)


def _spaced(found: list[Run]) -> Iterator[Run]:
    """Yield runs with space around relations, and around an operator between two terms, as TeX sets it."""
    before = ""
    for letters, style in found:
        space = ""
        if not style and letters in _RELATIONS:
            space = _SPACES[";"]
        elif not style and letters in _BINARY and before and before not in _RELATIONS | _BINARY | _OPENING:
            space = _SPACES[","]
        yield space + letters + space, style
        before = letters.strip()[-1:] or before


def _group(tokens: list[tuple[str | None, ...]], at: int, tex: str) -> tuple[list[Run], int]:
    """Return the runs from a token to the end of its group, and where that is."""
    found: list[Run] = []
    while at < len(tokens) and tokens[at][1] != "}":
        part, at = _atom(tokens, at, tex)
        found += part
    return found, at


def _atom(tokens: list[tuple[str | None, ...]], at: int, tex: str) -> tuple[list[Run], int]:
    """Return the runs of one letter, command, group, index or exponent, and what follows."""
    if at >= len(tokens):
        raise ValueError(f"mathematics must not end in the middle of a term, got ${tex}$")
    command, mark, space, letter = tokens[at]
    if space is not None:
        return [], at + 1
    if letter is not None:
        return [(letter.replace("-", "−"), "i" if letter.isalpha() else "")], at + 1
    if mark == "{":
        found, end = _group(tokens, at + 1, tex)
        if end == len(tokens):
            raise ValueError(f"braces must match, got ${tex}$")
        return found, end + 1
    if mark in ("_", "^"):
        inner, at = _argument(tokens, at + 1, tex)
        style = "sub" if mark == "_" else "sup"
        return [(letters, style + ("i" if "i" in kind else "")) for letters, kind in inner], at
    return _command(command or "", tokens, at + 1, tex)


def _argument(tokens: list[tuple[str | None, ...]], at: int, tex: str) -> tuple[list[Run], int]:
    """Return the runs of the next atom that is no space."""
    while at < len(tokens) and tokens[at][2] is not None:
        at += 1
    return _atom(tokens, at, tex)


def _command(name: str, tokens: list[tuple[str | None, ...]], at: int, tex: str) -> tuple[list[Run], int]:
    if name in _SPACES:
        return [(_SPACES[name], "")], at
    if name in _SYMBOLS:
        sign = _SYMBOLS[name]
        return [(sign, "i" if sign.isalpha() and sign.islower() else "")], at
    if name in _WORDS:
        return [(name, "")], at
    if name in _NAMES or name in _ACCENTS:
        inner, at = _argument(tokens, at, tex)
        if name in _ACCENTS:
            return [(letters + _ACCENTS[name], style) for letters, style in inner], at
        return [(letters, style.removesuffix("i")) for letters, style in inner], at
    raise ValueError(rf"mathematics in a picture knows no command \{name}, got ${tex}$")


def formatted(value: object, form: str = "") -> str:
    """Return a value as it is written in a text: numbers with a true minus sign.

    Args:
        value: A number or a string.
        form: `d`, `f`, `g`, `e` or `%`, with a precision and a plus sign before it if wanted; `g` for a
            number if empty.

    Raises:
        ValueError: If the form is another one: the page's script would not know it.
    """
    if isinstance(value, str):
        return value
    if not _FORM.fullmatch(form):
        raise ValueError(f"form must be like .2f, d, g, .0e or .0%, got {form!r}")
    return format(value, form or "g").replace("-", "−").replace("%", "\u202f%")


def fill(template: str, values: Mapping[str, object]) -> str:
    """Return a text with `{name:form}` outside of mathematics replaced by values; as it is if there are none.

    Raises:
        ValueError: If a name is unknown.
    """
    if not values:
        return template

    def put(match: re.Match[str]) -> str:
        name, form = match.groups()
        if name not in values:
            raise ValueError(f"text may use {list(values)}, got the field {name!r}")
        return formatted(values[name], form or "")

    parts = mathematics(template)
    return "".join(f"${part}$" if math else _FIELD.sub(put, part) for part, math in parts)
