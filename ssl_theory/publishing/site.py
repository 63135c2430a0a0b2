"""From executed chapters and pages to HTML: assembly, MathJax, Jupyter Book, and a look at the result."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import distribution, version
from pathlib import Path

from ssl_theory.publishing import api, frame, ledger, maps, notebooks, status
from ssl_theory.publishing.catalogue import PACKAGE, Book, Chapter
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.ledger import Entry
from ssl_theory.publishing.repository import repository
from ssl_theory.publishing.runner import Run

RENDERERS = ("jupyter-book", "myst-nb", "Sphinx", "sphinx-book-theme", "sphinx-exercise", "sphinx-proof")
MATHJAX = "sphinx-mathjax-offline"

Files = dict[Path, bytes]


def render(
    book: Book,
    executed: Mapping[Chapter, Path],
    entries: list[Entry],
    build: Path,
    repository_url: str | None = None,
    runs: Mapping[str, Run] | None = None,
) -> Path:
    """Build the HTML, or leave it as it is when nothing that goes into it has changed.

    Sphinx always starts anew: reading only what changed, it would leave old pages and numbers in place, and
    would be silent the second time about a page that it warned of. The old HTML stays until the new is sound.

    Args:
        book: The book's source, a checkout.
        executed: The chapters with their executed notebooks.
        entries: The ledger.
        build: The folder that everything generated goes to.
        repository_url: Address to put in the place of the one in _config.yml.
        runs: When the chapters ran, for the status page.

    Returns:
        The path of index.html.

    Raises:
        BuildError: If Jupyter Book warns or fails, or a page shows a broken reference.
    """
    config = configuration(book, repository_url)
    require_no_error_output(executed)
    sources = assemble(book, executed, entries, repository_url, runs)
    index, stamp_file = build / "_build" / "html" / "index.html", build / "site.json"
    stamp = _stamp(sources, config)
    if index.exists() and stamp_file.exists() and json.loads(stamp_file.read_text()) == stamp:
        return index
    _sync(build / "book", sources)
    _sync(build / "web", web_files(book))
    (build / "_config.yml").write_text(config, encoding="utf-8")
    draft = build / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    _jupyter_book(build, draft)
    require_no_broken_reference(draft / "_build" / "html")
    shutil.rmtree(build / "_build", ignore_errors=True)
    (draft / "_build").rename(build / "_build")
    draft.rmdir()
    stamp_file.write_text(json.dumps(stamp), encoding="utf-8")
    return index


def configuration(book: Book, repository_url: str | None = None) -> str:
    """Return _config.yml, with another address of the repository if one is given."""
    text = (book.require_checkout() / "_config.yml").read_text(encoding="utf-8")
    if repository_url is None:
        return text
    return re.sub(
        r"^(repository:\n\s+url: ).*$", lambda m: m.group(1) + repository_url, text, count=1, flags=re.M
    )


def assemble(
    book: Book,
    executed: Mapping[Chapter, Path],
    entries: list[Entry],
    repository_url: str | None = None,
    runs: Mapping[str, Run] | None = None,
) -> Files:
    """Return the files of build/book: pages, assets, executed chapters and what is written from the records.

    Args:
        book: The book's source, a checkout.
        executed: The chapters with their executed notebooks.
        entries: The ledger.
        repository_url: Address to put in the place of the one in _config.yml.
        runs: When the chapters ran, for the status page.

    Returns:
        Content by path.
    """
    home = repository(configuration(book, repository_url))
    files = {
        path.relative_to(book.folder): path.read_bytes()
        for path in _tree(book.folder)
        if path.suffix not in (".ipynb", ".py")
    }
    for chapter, path in executed.items():
        shown = frame.framed(notebooks.read(path), chapter, entries, home)
        files[Path(f"{chapter.place}.ipynb")] = notebooks.dump(shown).encode()
    written: dict[str, Callable[[], str]] = {
        ledger.MARKER: lambda: ledger.page(entries, executed),
        "<!-- status -->": lambda: status.page(executed, entries, runs or {}, RENDERERS),
        "<!-- map -->": lambda: maps.main_map(executed),
        "<!-- arcs -->": lambda: maps.arc_map(executed),
        "<!-- rooms -->": api.contents,
        "<!-- uses -->": lambda: maps.uses_table(executed),
    }
    for name in [name for name in files if name.suffix == ".md"]:
        for marker, write in written.items():
            if marker.encode() in files[name]:
                files[name] = files[name].replace(marker.encode(), write().encode())
    files |= {Path(f"{name}.md"): text.encode() for name, text in _reference(book, executed).items()}
    files[ledger.PICTURE] = ledger.draw(entries, executed).encode()
    files[Path("ledger.json")] = ledger.served(entries, executed).encode()
    return files


def _reference(book: Book, chapters: Iterable[Chapter]) -> dict[str, str]:
    """Return the pages of the library's reference that the table of contents names."""
    named = set(book.files())
    rooms = [room for room in api.ROOMS if api.place(room) in named]
    users = api.users(chapters) if rooms else {}
    return {api.place(room): api.page(room, users) for room in rooms}


def web_files(book: Book) -> Files:
    """Return the files that every page loads: the book's own, and MathJax with its fonts."""
    assets = book.folder / "assets"
    files = {path.relative_to(assets): path.read_bytes() for path in _tree(assets) if path.suffix != ".py"}
    target = Path("vendor", "mathjax")
    for entry in distribution(MATHJAX).files or []:
        if entry.name == "tex-chtml.js":
            files[target / entry.name] = entry.read_binary()
        elif entry.parent.name == "woff-v2":
            files[target / "output" / "chtml" / "fonts" / "woff-v2" / entry.name] = entry.read_binary()
    if target / "tex-chtml.js" not in files:
        raise BuildError(f"the package {MATHJAX} carries no tex-chtml.js")
    return files


def require_no_error_output(executed: Mapping[Chapter, Path]) -> None:
    """Raise BuildError naming each executed notebook that shows a traceback, which Sphinx lets pass."""
    wrong = [
        chapter.name
        for chapter, path in executed.items()
        for cell in notebooks.read(path)["cells"]
        if any(output["output_type"] == "error" for output in cell.get("outputs", []))
    ]
    if wrong:
        raise BuildError(f"tracebacks in the outputs of {', '.join(dict.fromkeys(wrong))}")


def require_no_broken_reference(html: Path) -> None:
    """Raise BuildError naming each page with a reference that did not resolve, which Sphinx lets pass."""
    broken = [path.name for path in html.rglob("*.html") if "(???)" in path.read_text(encoding="utf-8")]
    if broken:
        raise BuildError(f"unresolved equation references, shown as (???), in {', '.join(sorted(broken))}")


def _tree(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith((".", "__")) for part in path.parts):
            yield path


def _sync(folder: Path, files: Files) -> None:
    """Make a folder hold exactly these files, touching only those that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder) not in files:
            path.unlink()
    for name, content in files.items():
        target = folder / name
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def _stamp(sources: Files, config: str) -> dict[str, str]:
    digest = hashlib.sha256(config.encode())
    for path in sorted(PACKAGE.rglob("*.py")):  # this program, and the docstrings that it shows
        digest.update(path.read_bytes())
    for name, content in sorted(sources.items()):
        digest.update(name.as_posix().encode() + content)
    return {"content": digest.hexdigest()} | {name: version(name) for name in (*RENDERERS, MATHJAX)}


def _jupyter_book(build: Path, target: Path) -> None:
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "-W"]
    command += ["--keep-going", str(build / "book"), "--path-output", str(target)]
    command += ["--config", str(build / "_config.yml"), "--toc", str((build / "book" / "_toc.yml").resolve())]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    (build / "site.log").write_text(log, encoding="utf-8")
    if done.returncode != 0:
        lines = [line for line in log.splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
        told = "\n    ".join(dict.fromkeys(lines or log.splitlines()[-10:]))
        raise BuildError(f"Jupyter Book stopped; the whole log is {build / 'site.log'}\n    {told}")
