"""Which proof proves what, read from a chapter's text, and an anchor for each."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["anchored", "proof_anchor"]

UNPROVED = ("proof", "definition", "remark")
BOX = re.compile(
    r"^(?P<fence>`{3,})\{prf:(?P<kind>\w+)\}[^\n]*\n(?::label: (?P<label>\S+)\n)?\n*(?P<first>[^\n]*)", re.M
)
SAID = re.compile(r"(?:prove|proof of|\bOf)\b[^.]*?\{prf:ref\}`(?:[^`<]*<)?([\w-]+)>?`")


def proof_anchor(label: str) -> str:
    """Return the id of the proof of a statement."""
    return f"proof-{label}"


def anchored(texts: Sequence[str]) -> tuple[list[str], set[str]]:
    """Return the texts of a chapter with a target before each proof, and the labels of what is proved.

    A proof proves what its first words say; else the last statement before it that has no proof yet.
    """
    waiting: list[str] = []
    proved: set[str] = set()

    def mark(found: re.Match[str]) -> str:
        if found["kind"] != "proof":
            if found["kind"] not in UNPROVED and found["label"]:
                waiting.append(found["label"])
            return found[0]
        said = SAID.search(found["first"][:90])
        label = said[1] if said and said[1] in waiting else waiting[-1] if waiting and not said else ""
        if not label:
            return found[0]
        waiting.remove(label)
        proved.add(label)
        return f"({proof_anchor(label)})=\n{found[0]}"

    return [BOX.sub(mark, text) for text in texts], proved
