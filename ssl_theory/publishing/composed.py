"""Parts of built pages put together into one: the whole book for print, and the sheet of its figures."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from ssl_theory.publishing.errors import BuildError, UsageError

__all__ = ["article", "shell", "title", "within"]

ARTICLE = re.compile(r'<article class="bd-article">(.*?)</article>', re.S)
STYLE = re.compile(r'<link\b[^>]*\bhref="(_static/[^"]*\.css[^"]*)"[^>]*>')
MATHJAX = re.compile(r"<script>window\.MathJax = .*?</script>", re.S)
SCRIPT = re.compile(r'<script[^>]*\bsrc="(_static/(?:vendor/mathjax/tex-chtml|compute|controls)\.js[^"]*)"')
NAMED = re.compile(r'(?<=\s)(id|for|name|list|aria-labelledby|aria-describedby|aria-controls)="([^"]+)"')
SHAPE = re.compile(r"url\(#([^)]+)\)")
ADDRESS = re.compile(r'(?<=\s)(href|xlink:href|src|data)="([^"]*)"')
HEADING = re.compile(r"<h1>(.*?)</h1>", re.S)
UNSAID = re.compile(r'<a class="headerlink.*?</a>|<[^>]+>', re.S)  # marks, and what is no text
DATA = re.compile(r"(<script\b.*?</script>)", re.S)


def article(site: Path, place: str) -> str:
    """Return what a built page says, as HTML with the addresses that it has there.

    Args:
        site: The folder of the built pages.
        place: The page, without its ending.

    Raises:
        UsageError: If the book is not built.
        BuildError: If the page holds no article.
    """
    path = site / f"{place}.html"
    if not path.exists():
        raise UsageError(f"{path} is not there; build the book first: ssl-theory build")
    found = ARTICLE.search(path.read_text(encoding="utf-8"))
    if found is None:
        raise BuildError(f"{path} holds no article; build the book again: ssl-theory build")
    return found[1]


def title(text: str) -> str:
    """Return the first heading of an article with its number, as plain text; empty if it has none."""
    found = HEADING.search(text)
    return html.unescape(UNSAID.sub("", found[1])).strip() if found else ""


def within(text: str, place: str, prefixes: Mapping[str, str], root: str = "") -> str:
    """Return a part of a page as it stands among parts of others: names are its own, addresses lead there.

    Args:
        text: HTML of the page.
        place: The page, without its ending.
        prefixes: What the names on each page that takes part begin with; links to others lose their address.
        root: Where the pages are, seen from the whole; pictures are found there.
    """
    top, own = posixpath.dirname(place), prefixes[place]

    def name(found: re.Match[str]) -> str:
        return f'{found[1]}="{" ".join(own + part for part in found[2].split())}"'

    def lead(found: re.Match[str]) -> str:
        address = found[2]
        if re.match(r"[a-z]+:", address):
            return found[0]
        page, _, part = address.partition("#")
        if found[1] == "href" and (not page or page.endswith(".html")):
            target = posixpath.normpath(posixpath.join(top, page)).removesuffix(".html") if page else place
            return f'href="#{prefixes[target]}{part}"' if target in prefixes else ""
        return f'{found[1]}="{root}{posixpath.normpath(posixpath.join(top, address))}"'

    pieces = DATA.split(text)  # what controls carry as data stays as it is
    for number in range(0, len(pieces), 2):
        piece = SHAPE.sub(lambda found: f"url(#{own}{found[1]})", NAMED.sub(name, pieces[number]))
        pieces[number] = ADDRESS.sub(lead, piece)
    return "".join(pieces)


def shell(site: Path, name: str, body: str, *, root: str = "", head: str = "") -> str:
    """Return a page with the book's look, formulas and controls, and nothing of the theme around.

    Args:
        site: The folder of the built pages, whose styles and scripts are used.
        name: The page's title, plain text.
        body: HTML.
        root: Where the pages are, seen from this one.
        head: More HTML for the head.
    """
    model = (site / "welcome.html").read_text(encoding="utf-8")
    styles = "".join(f'<link rel="stylesheet" href="{root}{sheet}">\n' for sheet in STYLE.findall(model))
    scripts = "".join(f'<script defer src="{root}{name}"></script>\n' for name in SCRIPT.findall(model))
    mathjax = "\n".join(MATHJAX.findall(model))
    return (
        '<!DOCTYPE html>\n<html lang="en" data-theme="light">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(name)}</title>\n{styles}{mathjax}\n{scripts}{head}</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )
