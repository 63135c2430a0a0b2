"""Numbers and formulas that were written as plain text, such as V_x[K̄_l] ≤ 2e-13, as print has them."""

from __future__ import annotations

import html
import re

__all__ = ["spoken", "typeset", "typeset_numbers", "typeset_page", "unicode_number"]

LETTER = r"[A-Za-zŴΑ-Ωα-ωϕℓ∂][\u0300-\u036f]*"
SIGNS = r"[A-Za-z0-9Α-Ωα-ωℓ∞½]+"
LOWER, UPPER = r"[+−⊥⋆±-]", r"[=⊥⋆*+−±]"  # signs that are an index, an exponent, alone
NUMBER = re.compile(r"(?<![\w.])((?:(?<![\w)\]])-)?\d[\d,]*(?:\.\d+)?)e([+−-]?)0*(\d+)\b")
ROUND = r"(?:[^()]|\([^()]*\))+"  # what stands in brackets, which may hold brackets
INDEXED = re.compile(
    rf"(?P<base>(?<![A-Za-z\u0300-\u036f])(?:{LETTER}|{LETTER}{LETTER}|[A-Za-z]{{3}}(?=_[a-z]\b)|Lead)(?=[_^])"
    rf"|[Α-Ωα-ω][\u0300-\u036f]*(?=[_^])|[\])‖′⟩](?=[_^]))"
    rf"(?:_(?:\{{(?P<braced>[^{{}}]+)\}}|(?P<low>[+−-]?{SIGNS}′?|{LOWER})))?"
    rf"(?:\^(?:\{{(?P<raised>[^{{}}]+)\}}|\((?P<round>{ROUND})\)"
    rf"|(?P<high>[−-]?{SIGNS}(?:\.\d+)?|⌊[^⌋]+⌋|\|[^|]+\||{UPPER})))?"
)
POWER = re.compile(rf"(?<=[\d.])\^(?:\{{([^{{}}]+)\}}|\(({ROUND})\)|([−-]?{SIGNS}|\|[^|]+\|))")
STARRED = re.compile(r"(?<![A-Za-z\u0300-\u036f])([TΑ-Ωα-ω])\*(?![*\w])")
ALONE = re.compile(
    r"(?<![A-Za-z\d_<&.’'\u0300-\u036f-])(?<!</)(?<!<i>)([B-HJ-Zb-zΑ-Ωα-ωℓ][\u0300-\u036f]*)"
    r"(?![A-Za-z\d_Α-Ωα-ω\u0300-\u036f;’'=\"-])"
)
VIEW = re.compile(r"\bx([12]\b|[+-](?=[\s,).;]|$))")
WORD = re.compile(r"`([^`]+)`")
BARRED = re.compile("([Α-Ωα-ω])(\u0304)")  # the book's typeface has no place for a bar on Greek letters

# What of a page is no prose: code, formulas that MathJax sets, drawings, signatures, and the tags themselves.
CODE = r"<(pre|code|script|style|svg|textarea)\b.*?</\1>"
PIECES = re.compile(
    CODE + r'|<(span|div) class="(?:math|tex2jax_process)\b.*?</\2>'
    r'|<dt class="sig\b.*?</dt>'
    r"|(?<=>)(?P<prose>[^<>]*(?:[_^]|\de[+−-]?\d)[^<>]*)",
    re.S,
)
SPOKEN = re.compile(r'(?<=\s)(alt|aria-label|title)="([^"]*)"')
FORMULA = re.compile(r"(\\\(.*?\\\)|\\\[.*?\\\])", re.S)  # for a script that sets it later
PASTED = re.compile(r'(?<=<span class="pasted-text">)[^<]+')
PERCENT = re.compile(CODE + r"|(?<=\d)(?P<tag>(?:</span>)?) %(?!\w)", re.S)
RAISED = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")


def typeset(text: str) -> str:
    """Return HTML in which indices, powers and numbers of a plain text stand as print would have them.

    Args:
        text: Words and formulas in Unicode; an index follows _, an exponent ^, 2e-13 is a number, and what
            stands between backticks is code.
    """
    pieces = WORD.split(html.escape(text, quote=False))
    pieces[::2] = [ALONE.sub(r"<i>\1</i>", _marked(VIEW.sub(r"x_\1", piece))) for piece in pieces[::2]]
    pieces[::2] = [BARRED.sub(r'<span class="bar">\1<span>\2</span></span>', piece) for piece in pieces[::2]]
    pieces[1::2] = [f"<code>{name}</code>" for name in pieces[1::2]]
    return "".join(pieces)


def typeset_page(body: str) -> str:
    """Return a page's HTML in which formulas and numbers that its prose holds as plain text are set.

    Code, formulas in TeX, signatures and drawings stay; a text for screen readers keeps to words.
    """
    body = PASTED.sub(lambda found: _handed(found[0]), body)
    body = re.sub(r"(<td[^>]*>)-(?=\d)", r"\1−", body)
    body = PIECES.sub(lambda found: _prose(found["prose"]) if found["prose"] else found[0], body)
    body = PERCENT.sub(lambda found: found[0] if found["tag"] is None else f"{found['tag']}\u00a0%", body)
    return SPOKEN.sub(lambda found: f'{found[1]}="{spoken(found[2])}"', body)


def typeset_numbers(body: str) -> str:
    """Return the HTML of a table with its numbers as print has them, in Unicode."""
    return re.sub(r"(<td[^>]*>)([^<]*)(?=</td>)", lambda cell: cell[1] + unicode_number(cell[2]), body)


def unicode_number(text: str) -> str:
    """Return a text with its numbers as print has them, without markup: "6e-05" becomes "6 × 10⁻⁵".

    Args:
        text: What code handed to the text, or several numbers with words between them.
    """
    return NUMBER.sub(_raised, _handed(text))


def spoken(text: str) -> str:
    """Return a text for screen readers: an index follows its letter as a word."""
    text = NUMBER.sub(_raised, text)
    return re.sub(rf"(?<![A-Za-z_])({LETTER})_\{{?([A-Za-z0-9Α-Ωα-ω])\}}?(?![A-Za-z_])", r"\1 \2", text)


def _handed(value: str) -> str:
    """Return a value that code handed to the text with its sign, infinity and per cent as print has them."""
    value = re.sub(r"(?:^|(?<=[\[ ]))-(?=[\d.]|inf$)", "−", value)
    return re.sub(r"(?<=\d)%", "\u00a0%", re.sub(r"^(−?)inf$", r"\1∞", value))


def _prose(text: str) -> str:
    pieces = FORMULA.split(text)
    pieces[::2] = map(_marked, pieces[::2])
    return "".join(pieces)


def _marked(shown: str) -> str:
    """Return escaped text with its numbers, indices and powers marked."""
    shown = NUMBER.sub(_number, shown)
    shown = INDEXED.sub(_indexed, shown)
    shown = STARRED.sub(r"\1<sup>∗</sup>", shown)
    return POWER.sub(lambda found: f"<sup>{_first(found, 1, 2, 3)}</sup>", shown)


def _number(found: re.Match[str]) -> str:
    return _product(found, f"10<sup>{_sign(found[2])}{found[3]}</sup>")


def _raised(found: re.Match[str]) -> str:
    return _product(found, f"10{(_sign(found[2]) + found[3]).translate(RAISED)}")


def _product(found: re.Match[str], power: str) -> str:
    """Return mantissa × power, without what says nothing: 1 ×, or × 10⁰."""
    factor = found[1].replace("-", "−")
    if found[3] == "0":
        return factor
    return factor.replace("1", power) if factor in ("1", "−1") else f"{factor}\u00a0×\u00a0{power}"


def _sign(sign: str) -> str:
    return "−" if sign and sign in "-−" else ""


def _indexed(found: re.Match[str]) -> str:
    low, high = _first(found, "braced", "low"), _first(found, "raised", "round", "high")
    if not low and not high:
        return found[0]
    base = f"<i>{found['base']}</i>" if re.fullmatch(LETTER, found["base"]) else found["base"]
    return base + "".join(
        f"<{tag}>{_small(text)}</{tag}>" for tag, text in (("sub", low), ("sup", high)) if text
    )


def _small(text: str) -> str:
    text = text.replace("-", "−").replace("*", "∗")
    return f"<i>{text}</i>" if re.fullmatch(LETTER, text) else INDEXED.sub(_indexed, text)


def _first(found: re.Match[str], *groups: str | int) -> str:
    return next((found[group] for group in groups if found[group]), "")
