"""The picture in ARCHITECTURE.md is that of the code: who imports whom."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import ssl_theory

LIBRARY = Path(ssl_theory.__file__).parent
PAGE = LIBRARY.parent / "ARCHITECTURE.md"


def allowed() -> dict[str, set[str]]:
    """Return the table of the page: what each room may import, in its order."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", PAGE.read_text(encoding="utf-8"), re.M)
    return {room: set(re.findall(r"\w+", imports)) for room, imports in rows}


def imported(path: Path) -> Iterator[str]:
    """Yield the rooms that a file imports, also where it does so within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "ssl_theory" and len(parts) > 1 and not parts[1].startswith("__"):
                yield parts[1]


def rooms() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in LIBRARY.rglob("*.py"):
        room = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
        if not room.startswith("_"):
            found.setdefault(room, set()).update(set(imported(path)) - {room})
    return found


def test_rooms_import_what_the_page_says_and_no_more() -> None:
    assert rooms() == allowed()


def test_rooms_look_up_only() -> None:
    order = list(allowed())
    for room, imports in allowed().items():
        assert all(order.index(other) < order.index(room) for other in imports), room
