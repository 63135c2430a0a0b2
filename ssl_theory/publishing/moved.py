"""Old addresses of the book, kept in moved.toml, lead to where their part stands now.

A fragment never reaches a server: each page carries the moves that concern it as data, and the script book.js
follows them. A page that is gone is left as one that leads on, without scripts too.
"""

from __future__ import annotations

import html
import posixpath
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from ssl_theory.publishing.carried import as_script, carry
from ssl_theory.publishing.errors import BuildError

__all__ = ["lead_on", "moves"]

FILE = "moved.toml"
ADDRESS = re.compile(r"(?P<page>[\w-]+(?:/[\w-]+)*\.html)(?:#(?P<part>[\w.-]+))?")
NAME = "moved-parts"  # of the data, for the script
GONE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>This page has moved</title>
<noscript><meta http-equiv="Refresh" content="0; url={to}"></noscript>
{data}
<script src="{script}"></script>
</head>
<body><main><p>This page has moved: <a href="{to}">it stands here now</a>.</p></main></body>
</html>
"""


def moves(folder: Path) -> dict[str, str]:
    """Return where each old address leads, as the book's moved.toml says; empty if there is none.

    Args:
        folder: The folder of the book's source.

    Raises:
        BuildError: If the file is no TOML, or an entry is no pair of addresses; all such are named.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BuildError(f"{path} is damaged: {error}") from error
    wrong = [f"{old} = {new!r}" for old, new in found.items() if not (_is_address(old) and _is_address(new))]
    if wrong:
        told = "\n    ".join(wrong)
        raise BuildError(
            f'{path}: both sides must be addresses such as "part/page.html#section", got\n    {told}'
        )
    return found


def lead_on(site: Path, moved: Mapping[str, str]) -> None:
    """Make old addresses lead to new ones, in built pages.

    Args:
        site: The folder of the pages.
        moved: New addresses by old ones.

    Raises:
        BuildError: If an old address is still in use, or a new one leads nowhere; all are named.
    """
    ids = cache(lambda page: _ids(site / page))
    wrong = [f"{old}: it is still there" for old in moved if _exists(ids, old)]
    wrong += [f"{old}: {new} is not there" for old, new in moved.items() if not _exists(ids, new)]
    if wrong:
        raise BuildError(f"{FILE} does not fit the pages:\n    " + "\n    ".join(wrong))
    for page in sorted({_split(old)[0] for old in moved}):
        _write(
            site / page,
            page,
            {part: new for old, new in moved.items() for at, part in [_split(old)] if at == page},
        )


def _write(path: Path, page: str, parts: Mapping[str, str]) -> None:
    """Put the moves of one page into it, or a page in its place if it is gone."""
    top = posixpath.dirname(page) or "."
    relative = {part: _from(top, new) for part, new in parts.items()}
    if path.exists():
        carry(path, NAME, relative)
        return
    to = relative.get("") or _from(top, _split(next(iter(parts.values())))[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    script = _from(top, "_static/book.js")
    path.write_text(
        GONE.format(to=html.escape(to), data=as_script(NAME, relative), script=script), encoding="utf-8"
    )


def _from(top: str, address: str) -> str:
    page, part = _split(address)
    return posixpath.relpath(page, top) + (f"#{part}" if part else "")


def _is_address(address: object) -> bool:
    return isinstance(address, str) and ADDRESS.fullmatch(address) is not None


def _split(address: str) -> tuple[str, str]:
    page, _, part = address.partition("#")
    return page, part


def _exists(ids: Callable[[str], set[str] | None], address: str) -> bool:
    page, part = _split(address)
    found = ids(page)
    return found is not None and (not part or part in found)


def _ids(path: Path) -> set[str] | None:
    """Return what a page's address can end with; None if there is no such page."""
    if not path.exists():
        return None
    return set(re.findall(r'\sid="([^"]*)"', path.read_text(encoding="utf-8")))
