"""From executed chapters and pages to HTML: assembly, MathJax, Jupyter Book, and a look at the result."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import distribution, version
from pathlib import Path
from tempfile import TemporaryDirectory

from ssl_theory import __version__
from ssl_theory.publishing import api, frame, ledger, maps, moved, notebooks, plain, status
from ssl_theory.publishing.carried import carry_titles
from ssl_theory.publishing.catalogue import PACKAGE, Book, Chapter
from ssl_theory.publishing.child import command
from ssl_theory.publishing.citing import CONTENT, citation
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.files import write_whole
from ssl_theory.publishing.ledger import Entry
from ssl_theory.publishing.notation import letters_table
from ssl_theory.publishing.pictures import with_controls
from ssl_theory.publishing.proofread import require_proofread
from ssl_theory.publishing.repository import placed, repository
from ssl_theory.publishing.runner import Run

RENDERERS = ("jupyter-book", "myst-nb", "Sphinx", "sphinx-book-theme", "sphinx-exercise", "sphinx-proof")
MATHJAX = "sphinx-mathjax-offline"
DIGITS = 10  # of the hash of the content, as pages show it

Files = dict[Path, bytes]


def render(
    book: Book,
    executed: Mapping[Chapter, Path],
    entries: list[Entry],
    build: Path,
    repository_url: str | None = None,
    runs: Mapping[str, Run] | None = None,
    *,
    force: bool = False,
    warm: Path | None = None,
) -> Path:
    """Build the HTML, or leave it as it is when nothing that goes into it has changed, nor itself.

    Sphinx always starts anew: reading only what changed, it would leave old pages and numbers in place, and
    would be silent the second time about a page that it warned of. The old HTML stays until the new is sound,
    and then changes file by file, so that whoever reads it meanwhile finds every page.

    Args:
        book: The book's source, a checkout.
        executed: The chapters with their executed notebooks.
        entries: The ledger.
        build: The folder that everything generated goes to.
        repository_url: Address to put in the place of the one in _config.yml.
        runs: When the chapters ran, for the status page.
        force: Whether to build it in any case.
        warm: Where a warm process is asked for those that draw and make pages; new ones are started if None.

    Returns:
        The path of index.html.

    Raises:
        BuildError: If Jupyter Book warns or fails, a page shows a broken reference, an old address leads
            nowhere, or the library changes meanwhile.
    """
    config, moves = configuration(book, repository_url), moved.moves(book.folder)
    require_no_error_output(executed)
    sources = assemble(book, executed, entries, repository_url, runs, warm=warm)
    html, stamp_file = build / "_build" / "html", build / "site.json"
    stamp = _stamp(sources, config)
    if not force and _is(stamp_file, stamp | {"html": _hash_of(html)}):
        return html / "index.html"
    _sync(build / "book", sources)
    _sync(build / "web", web_files(book))
    write_whole(build / "_config.yml", stamped(config, stamp["content"]))
    for left in build.glob("draft*"):  # by a build that was killed
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=build, prefix="draft-", ignore_cleanup_errors=True) as draft:
        made = Path(draft) / "_build" / "html"
        _jupyter_book(build, Path(draft), warm)
        require_proofread(made)
        moved.lead_on(made, moves)
        carry_titles(made, executed)
        _sign(made, stamp["content"])
        _offer_plain(made / "_sources", book, executed)
        if _stamp(sources, config) != stamp:
            raise BuildError("the library was changed while the pages were made; build again")
        _sync(html, {path.relative_to(made): path.read_bytes() for path in made.rglob("*") if path.is_file()})
    write_whole(stamp_file, json.dumps(stamp | {"html": _hash_of(html)}))
    return html / "index.html"


def stamped(config: str, content: str) -> str:
    """Return _config.yml with the version and a short hash of the content in the foot of each page."""
    return config.replace("<!-- stamp -->", f" Version {__version__}, content {content[:DIGITS]}.")


def _sign(made: Path, content: str) -> None:
    """Put the short hash of the content into the entries by which statements are cited."""
    for path in made.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if CONTENT in text:
            path.write_text(text.replace(CONTENT, content[:DIGITS]), encoding="utf-8")


def _offer_plain(folder: Path, book: Book, executed: Mapping[Chapter, Path]) -> None:
    """Put what a page offers for download in its place: the executed notebook in plain Markdown."""
    known = plain.known(book)
    for chapter, path in executed.items():
        text = notebooks.dump(plain.plain(notebooks.read(path), chapter, known))
        (folder / f"{chapter.place}.ipynb").write_text(text, encoding="utf-8")


def configuration(book: Book, repository_url: str | None = None) -> str:
    """Return _config.yml, with another address of the repository if one is given."""
    text = (book.require_checkout() / "_config.yml").read_text(encoding="utf-8")
    return text if repository_url is None else placed(text, repository_url)


def assemble(
    book: Book,
    executed: Mapping[Chapter, Path],
    entries: list[Entry],
    repository_url: str | None = None,
    runs: Mapping[str, Run] | None = None,
    *,
    warm: Path | None = None,
) -> Files:
    """Return the files of build/book: pages, assets, executed chapters and what is written from the records.

    Args:
        book: The book's source, a checkout.
        executed: The chapters with their executed notebooks.
        entries: The ledger.
        repository_url: Address to put in the place of the one in _config.yml.
        runs: When the chapters ran, for the status page.
        warm: Where a warm process is asked for the ledger's picture; it is drawn here if None.

    Returns:
        Content by path.
    """
    home = repository(configuration(book, repository_url))
    cited = citation(book.require_checkout(), home.url if home else "")
    files = {
        path.relative_to(book.folder): path.read_bytes()
        for path in _tree(book.folder)
        if path.suffix != ".ipynb"
    }
    for chapter, path in executed.items():
        shown = frame.framed(notebooks.read(path), chapter, entries, home, cited)
        files[Path(f"{chapter.place}.ipynb")] = notebooks.dump(shown).encode()
    written: dict[str, Callable[[], str]] = {
        ledger.MARKER: lambda: ledger.page(entries, executed),
        "<!-- status -->": lambda: status.page(executed, entries, runs or {}, RENDERERS),
        "<!-- map -->": lambda: maps.main_map(executed),
        "<!-- rooms -->": api.contents,
        "<!-- uses -->": lambda: maps.uses_table(executed),
        "<!-- sharpened -->": lambda: maps.sharpened(executed),
        "<!-- letters -->": lambda: letters_table((c.name, c.place) for c in executed),
    }
    named = {chapter.name: path for chapter, path in executed.items()}
    for name in [name for name in files if name.suffix == ".md"]:
        for marker, write in written.items():
            if marker.encode() in files[name]:
                files[name] = files[name].replace(marker.encode(), write().encode())
        files[name] = with_controls(files[name].decode(), named).encode()
    files |= {Path(f"{name}.md"): text.encode() for name, text in _reference(book, executed).items()}
    files[ledger.PICTURE] = ledger.draw(entries, executed, warm).encode()
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


def _tree(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith((".", "__")) for part in path.parts):
            yield path


def _sync(folder: Path, files: Files) -> None:
    """Make a folder hold exactly these files, touching only those that differ, pages after what they load."""
    for name, content in sorted(files.items(), key=lambda item: item[0].suffix == ".html"):
        target = folder / name
        if not target.exists() or target.read_bytes() != content:
            write_whole(target, content)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder) not in files:
            path.unlink()


def _stamp(sources: Files, config: str) -> dict[str, str]:
    digest = hashlib.sha256(config.encode())
    for path in sorted(PACKAGE.rglob("*.py")):  # this program, and the docstrings that it shows
        digest.update(path.read_bytes())
    for name, content in sorted(sources.items()):
        digest.update(name.as_posix().encode() + content)
    return {"content": digest.hexdigest()} | {name: version(name) for name in (*RENDERERS, MATHJAX)}


def _hash_of(folder: Path) -> str:
    """Return a hash of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _is(file: Path, content: object) -> bool:
    """Return whether a file holds this as JSON; one that is damaged does not."""
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")) == content)
    except (OSError, ValueError):
        return False


def _jupyter_book(build: Path, target: Path, warm: Path | None) -> None:
    """Have Jupyter Book make the pages, in a process that ends with this one."""
    asked = command("ssl_theory.publishing.pages", warm)
    asked += ["build", "-W", "--keep-going", str(build / "book"), "--path-output", str(target)]
    asked += ["--config", str(build / "_config.yml")]
    asked += ["--toc", str((build / "book" / "_toc.yml").resolve())]
    path = build / "site.log"
    with (
        path.open("wb") as messages,
        subprocess.Popen(
            asked,
            env=os.environ | {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.PIPE,
            stdout=messages,
            stderr=messages,
            start_new_session=True,  # Ctrl-C reaches this process, which ends the other
        ) as process,
    ):
        try:
            process.wait()
        except BaseException:
            process.terminate()
            raise
    log = re.sub(r"\x1b\[[0-9;]*m", "", path.read_text(encoding="utf-8", errors="replace"))
    write_whole(path, log)
    if process.returncode != 0:
        lines = [line for line in log.splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
        told = "\n    ".join(dict.fromkeys(lines or log.splitlines()[-10:]))
        raise BuildError(f"Jupyter Book stopped; the whole log is {path}\n    {told}")
