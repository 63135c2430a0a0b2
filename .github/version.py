"""Write a version where the project states it: python .github/version.py 1.2.3."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = {
    "ssl_theory/__init__.py": r'(?m)^__version__ = "(.*)"$',
    "CITATION.cff": r"(?m)^version: (.*)$",
}


def stated() -> dict[str, str]:
    """Return the version that each place states."""
    found = {}
    for name, pattern in PLACES.items():
        (found[name],) = re.findall(pattern, (ROOT / name).read_text(encoding="utf-8"))
    return found


def write(version: str) -> None:
    """Write a version to every place."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise SystemExit(f"a version is three numbers, as in 1.2.3; got {version!r}")
    for name, old in stated().items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        line = re.search(PLACES[name], text)
        assert line is not None
        path.write_text(text.replace(line[0], line[0].replace(old, version), 1), encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1])
