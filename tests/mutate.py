"""Break one formula at a time and require that a test notices: `python -m tests.mutate [NAME …]`.

tests/mutations.toml lists the mutations: a file, the text to find (exactly once), what to put in its place,
and the tests that have to turn red. Each one is tried on a copy of the library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    find: str
    replace: str
    tests: str


def load() -> list[Mutation]:
    text = (ROOT / "tests" / "mutations.toml").read_text(encoding="utf-8")
    return [Mutation(**entry) for entry in tomllib.loads(text)["mutation"]]


def copy_of_the_project(folder: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__", "build", ".*")
    for name in ("ssl_theory", "tests", "book"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run_tests(folder: Path, tests: str) -> int:
    """Return pytest's exit code: 0 all green, 1 some red, more if it could not run."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode


def verdict(mutation: Mutation) -> str:
    """Return "killed", "SURVIVED", or why the mutation could not be tried."""
    with tempfile.TemporaryDirectory() as name:
        folder = copy_of_the_project(Path(name))
        target = folder / mutation.file
        source = target.read_text(encoding="utf-8")
        if source.count(mutation.find) != 1:
            return f"STALE: {mutation.find!r} stands {source.count(mutation.find)} times in {mutation.file}"
        target.write_text(source.replace(mutation.find, mutation.replace), encoding="utf-8")
        code = run_tests(folder, mutation.tests)
    return {0: "SURVIVED", 1: "killed"}.get(code, f"BROKEN: pytest ended with {code}")


def main(names: list[str]) -> int:
    mutations = [m for m in load() if not names or m.name in names]
    if not mutations:
        print(f"no mutation is called {' or '.join(names)}; there are {', '.join(m.name for m in load())}")
        return 2
    with tempfile.TemporaryDirectory() as name:
        selected = " ".join(sorted({test for m in mutations for test in m.tests.split()}))
        if run_tests(copy_of_the_project(Path(name)), selected) != 0:
            print("the tests are not green to begin with")
            return 1
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = list(pool.map(verdict, mutations))
    for mutation, result in zip(mutations, verdicts, strict=True):
        print(f"{result:10} {mutation.name}")
    killed = verdicts.count("killed")
    print(f"{killed} of {len(mutations)} mutations turned a test red")
    return 0 if killed == len(mutations) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
