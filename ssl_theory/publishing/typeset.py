"""Formulas that were written as plain text, such as V_x[K̄_l] ≤ 2e-13, as HTML."""

from __future__ import annotations

import html
import re

__all__ = ["typeset"]

LETTER = r"[A-Za-zΑ-Ωα-ωϕℓ∂][\u0300-\u036f]*"
SIGNS = r"[A-Za-z0-9Α-Ωα-ωℓ∞]+"
NUMBER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-−]?)0*(\d+)\b")
INDEXED = re.compile(
    rf"(?P<base>(?<![A-Za-z\u0300-\u036f])(?:{LETTER}|{LETTER}{LETTER}|[A-Za-z]{{3}}(?=_[a-z]\b))(?=[_^])"
    rf"|[Α-Ωα-ω][\u0300-\u036f]*(?=[_^])|[\])‖](?=[_^]))"
    rf"(?:_(?:\{{(?P<braced>[^{{}}]+)\}}|(?P<low>[+−-]?{SIGNS}|[+−⊥-])))?"
    rf"(?:\^(?:\{{(?P<raised>[^{{}}]+)\}}|\((?P<round>[^()]+)\)"
    rf"|(?P<high>[−-]?{SIGNS}(?:\.\d+)?|⌊[^⌋]+⌋|\|[^|]+\|)))?"
)
POWER = re.compile(rf"(?<=[\d.])\^(?:\{{([^{{}}]+)\}}|\(([^()]+)\)|([−-]?{SIGNS}|\|[^|]+\|))")
ALONE = re.compile(
    r"(?<![A-Za-z\d_<&.’'\u0300-\u036f-])(?<!</)(?<!<i>)([B-HJ-Zb-zΑ-Ωα-ωℓ][\u0300-\u036f]*)"
    r"(?![A-Za-z\d_Α-Ωα-ω\u0300-\u036f;’'=\"-])"
)
VIEW = re.compile(r"\bx([12]\b|[+-](?=[\s,).;]|$))")


def typeset(text: str) -> str:
    """Return HTML in which indices, powers and numbers of a plain text stand as print would have them.

    Args:
        text: Words and formulas in Unicode; an index follows _, an exponent ^, 2e-13 is a number.
    """
    shown = html.escape(text, quote=False)
    shown = VIEW.sub(lambda found: f"x_{found[1]}", shown)
    shown = NUMBER.sub(_number, shown)
    shown = INDEXED.sub(_indexed, shown)
    shown = POWER.sub(lambda found: f"<sup>{_first(found, 1, 2, 3)}</sup>", shown)
    return ALONE.sub(r"<i>\1</i>", shown)


def _number(found: re.Match[str]) -> str:
    sign = "−" if found[2] in ("-", "−") else ""
    power = f"10<sup>{sign}{found[3]}</sup>"
    return power if found[1] == "1" else f"{found[1]}\u00a0×\u00a0{power}"


def _indexed(found: re.Match[str]) -> str:
    low, high = _first(found, "braced", "low"), _first(found, "raised", "round", "high")
    if not low and not high:
        return found[0]
    base = f"<i>{found['base']}</i>" if re.fullmatch(LETTER, found["base"]) else found["base"]
    return base + "".join(
        f"<{tag}>{_small(text)}</{tag}>" for tag, text in (("sub", low), ("sup", high)) if text
    )


def _small(text: str) -> str:
    return INDEXED.sub(_indexed, text.replace("-", "−"))


def _first(found: re.Match[str], *groups: str | int) -> str:
    return next((found[group] for group in groups if found[group]), "")
