"""The commands, and the parser of their arguments; what a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_theory import __version__
from ssl_theory.publishing.console import example, spell_out
from ssl_theory.publishing.errors import BuildError, UsageError, lacking

if TYPE_CHECKING:
    from ssl_theory.publishing.catalogue import Book, Chapter
    from ssl_theory.publishing.runner import Runner

Command = Callable[[argparse.Namespace], None]


def answer(arguments: Sequence[str] | None, kept: list[str]) -> int:
    """Run a command, and tell in one line what went wrong.

    Args:
        arguments: As on the command line; those of this process if None.
        kept: Receives what to tell if the command is interrupted.

    Returns:
        The exit code.
    """
    spell_out()
    options = _parser().parse_args(arguments)
    kept.append(options.interrupted)
    try:
        options.command(options)
        sys.stdout.flush()
    except UsageError as error:
        print(f"ssl-theory: {error}", file=sys.stderr)
        return 2
    except BuildError as error:
        print(f"ssl-theory: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (told := lacking(error)) is None:
            raise
        print(f"ssl-theory: {told}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `ssl-theory list | head`
        sys.stderr.close()
        return 1
    except OSError as error:  # no room, no rights, something else in the way
        place = f"{error.filename}: " if error.filename else ""
        print(f"ssl-theory: {place}{error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def list_chapters(options: argparse.Namespace) -> None:
    """Print the chapters with their theorems and parameters, and how long they took here."""
    from ssl_theory.publishing import parameters
    from ssl_theory.publishing.catalogue import find_book

    book = find_book()
    for chapter in book.chapters().values():
        known = ", ".join(f"{name}={value!r}" for name, value in parameters.defaults(chapter).items())
        theorems = ", ".join(chapter.theorem_ids) or "–"
        print(f"{chapter.name:16} {chapter.title}\n{'':16} proves {theorems}; parameters {known}")
        if took := _took(book, chapter):
            print(f"{'':16} {took}")


def run(options: argparse.Namespace) -> None:
    """Run one chapter with other parameters and write the executed notebook, in plain Markdown."""
    from ssl_theory.publishing import ledger, notebooks, parameters
    from ssl_theory.publishing.catalogue import find_book
    from ssl_theory.publishing.execute import CELL_SECONDS, execute
    from ssl_theory.publishing.files import write_whole
    from ssl_theory.publishing.plain import known, plain
    from ssl_theory.publishing.runner import processors

    book = find_book()
    chapter = book.chapter(options.chapter)
    values = parameters.parse(chapter, options.parameter)
    output = options.output or Path()
    if output.suffix != ".ipynb":
        output = output / f"{chapter.name}.ipynb"
    if output.resolve().is_relative_to(book.folder.resolve()):
        raise UsageError(f"the output {output} would lie among the book's sources; choose another with -o")
    watched = sys.stdout.isatty()
    if watched and (took := _took(book, chapter)):
        print(f"{chapter.name} {took}", flush=True)

    def progress(cell: int, of: int, spent: float) -> None:
        if watched and cell <= of:
            print(f"cell {cell} of {of}", flush=True)

    warnings = execute(
        chapter,
        output,
        values,
        seconds=CELL_SECONDS[values.get("profile", "quick")],
        threads=processors(),
        progress=progress,
    )
    for warning in warnings:
        print(f"warned: {warning}")
    ran = notebooks.read(output)
    write_whole(output, notebooks.dump(plain(ran, chapter, known(book))))
    print(ledger.table(ledger.records(output)))
    print(f"{chapter.name} ran to its end: {output}")


def build(options: argparse.Namespace) -> None:
    """Execute what changed, write the ledger, and build the HTML."""
    from ssl_theory.publishing import parameters
    from ssl_theory.publishing.catalogue import find_book, known_theorems
    from ssl_theory.publishing.lock import lock
    from ssl_theory.publishing.reading import require_short
    from ssl_theory.publishing.repository import placed, repository

    book = find_book()
    folder = _build_folder(book)
    config = (book.require_checkout() / "_config.yml").read_text(encoding="utf-8")
    repository(config if options.repository_url is None else placed(config, options.repository_url))
    known_theorems()
    work = {chapter: parameters.parse(chapter, options.parameter) for chapter in book.chapters().values()}
    require_short(work)
    folder.mkdir(exist_ok=True)
    with lock(folder, _report):
        _build(book, folder, work, options)


def _build(
    book: Book, folder: Path, work: Mapping[Chapter, Mapping[str, Any]], options: argparse.Namespace
) -> None:
    from ssl_theory.publishing.runner import Runner, processors

    runner = Runner(folder, report=_report)
    with ExitStack() as kept:
        failures = runner.run(work, jobs=options.jobs or processors(), force=options.force, kept=kept)
        if failures:
            raise BuildError("\n".join(["the book was not built", *failures]))
        _publish(book, folder, runner, work, options)


def _publish(
    book: Book, folder: Path, runner: Runner, work: Iterable[Chapter], options: argparse.Namespace
) -> None:
    from ssl_theory.publishing import ledger

    executed = {chapter: runner.output(chapter) for chapter in work}
    keys = {name: run.key for name, run in runner.runs.items()}
    entries = [entry | {"inputs": keys[entry["chapter"]]} for entry in ledger.collect(executed)]
    ledger.write(entries, folder / "ledger.json")
    _report(f"{'ledger':16} {len(entries)} checks hold, {folder / 'ledger.json'}")

    from ssl_theory.publishing.site import render

    _report(f"{'book':16} making the pages")
    how: dict[str, Any] = {"force": options.force, "warm": runner.warm and runner.warm.door}
    index = render(book, executed, entries, folder, options.repository_url, runner.runs, **how)
    _report(f"{'book':16} {index}")


def show_ledger(options: argparse.Namespace) -> None:
    """Print the checks of the last build."""
    from ssl_theory.publishing import ledger
    from ssl_theory.publishing.catalogue import find_book

    path = _build_folder(find_book()) / "ledger.json"
    if not path.exists():
        raise UsageError("there is no ledger yet; build the book first: ssl-theory build")
    entries = ledger.read(path)
    print(ledger.dump(entries).rstrip() if options.json else ledger.table(entries))


def serve(options: argparse.Namespace) -> None:
    """Serve the built book on this machine until interrupted."""
    from ssl_theory.publishing.catalogue import find_book
    from ssl_theory.publishing.server import server

    with server(_build_folder(find_book()) / "_build" / "html", options.port) as running:
        _report(f"the book is at http://127.0.0.1:{running.server_port}/ (Ctrl-C ends)")
        with suppress(KeyboardInterrupt):
            running.serve_forever()


def print_book(options: argparse.Namespace) -> None:
    """Print the built book as one PDF, by Chromium."""
    import json

    from ssl_theory.publishing.catalogue import find_book
    from ssl_theory.publishing.files import require_writable
    from ssl_theory.publishing.printing import front, pdf

    book = find_book()
    folder = _build_folder(book)
    stamp = folder / "site.json"
    if not stamp.exists():
        raise UsageError("there are no pages yet; build the book first: ssl-theory build")
    try:
        content = json.loads(stamp.read_text(encoding="utf-8"))["content"][:10]
    except (ValueError, KeyError, TypeError) as error:
        raise BuildError(f"{stamp} is damaged; build the book again: ssl-theory build") from error
    target = options.output or folder / "ssl_theory.pdf"
    require_writable(target)
    _report("printing, which takes minutes")
    count = pdf(folder / "_build" / "html", front(book, content), target)
    _report(f"{target}, {count} pages")


def sheet(options: argparse.Namespace) -> None:
    """Put all figures and controls of the built book on one page, to be looked at together."""
    from ssl_theory.publishing.catalogue import find_book
    from ssl_theory.publishing.figure_sheet import figure_sheet
    from ssl_theory.publishing.files import write_whole

    book = find_book()
    folder = _build_folder(book)
    text, count = figure_sheet(folder / "_build" / "html", book.files(), "_build/html/")
    write_whole(folder / "figures.html", text)
    _report(f"{folder / 'figures.html'}, {count} figures and controls")


def check_notebooks(options: argparse.Namespace) -> None:
    """Name, or mend, the notebooks of the book that are not in canonical form."""
    from ssl_theory.publishing import notebooks
    from ssl_theory.publishing.catalogue import find_book

    book = find_book()
    home = book.repository
    wrong = notebooks.not_canonical(book.folder, fix=options.fix, install=home.install if home else None)
    for path in wrong:
        print(f"{'mended' if options.fix else 'not canonical'}: {path}")
    if wrong and not options.fix:
        raise BuildError(
            f"{len(wrong)} notebooks are not canonical; mend them with ssl-theory notebooks --fix"
        )


def _report(line: str) -> None:
    print(line, flush=True)


def _build_folder(book: Book) -> Path:
    return book.require_checkout() / "build"


def _took(book: Book, chapter: Chapter) -> str:
    """Return how long a chapter took in the last build, in words; empty if that is not known."""
    from ssl_theory.publishing.runner import Runner

    if book.checkout is None:
        return ""
    last = Runner(_build_folder(book)).runs.get(chapter.name)
    if last is None:
        return ""
    profile = last.parameters.get("profile", "quick")
    return f"took {last.seconds:.0f} s in the last build, in the {profile} profile"


def _parser() -> argparse.ArgumentParser:
    from ssl_theory.publishing import inspection
    from ssl_theory.publishing.experiment import add_experiment

    parser = argparse.ArgumentParser(
        prog="ssl-theory", description="Run the chapters and build the book.", **example("build")
    )
    parser.add_argument("--version", action="version", version=f"ssl-theory {__version__}")
    parser.set_defaults(interrupted="; what is complete is kept, and the same command goes on from there")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, shown: str, interrupted: str = "") -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=command.__doc__, description=command.__doc__, **example(f"{name} {shown}".rstrip())
        )
        sub.set_defaults(command=command, interrupted=interrupted)
        return sub

    add("list", list_chapters, "")
    one = add("run", run, "simple -p seed=7 -o simple.ipynb", "; no notebook was written")
    one.add_argument("chapter", help="one of those that ssl-theory list prints")
    one.add_argument(
        "-o",
        "--output",
        type=Path,
        help="file (*.ipynb) or folder of the executed notebook (default: the working directory)",
    )
    kept = "; chapters that are done are kept, and the next build goes on from there"
    whole = add("build", build, "-p profile=paper --jobs 2", kept)
    whole.add_argument(
        "-j", "--jobs", type=_positive, help="chapters at a time (default: one for each processor)"
    )
    whole.add_argument(
        "--force", action="store_true", help="execute chapters and make pages that are up to date too"
    )
    whole.add_argument(
        "--repository-url", metavar="URL", help="address to put in the place of the one in _config.yml"
    )
    for sub in (one, whole):
        sub.add_argument(
            "-p",
            "--parameter",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a parameter of the chapter, such as profile=quick or profile=paper, seed=7, device=cuda; "
            "may be repeated (default: the values that ssl-theory list prints)",
        )
    add("ledger", show_ledger, "--json").add_argument("--json", action="store_true", help="for machines")
    add("serve", serve, "--port 8080").add_argument(
        "--port", type=_positive, help="1 to 65535 (default: the first free one from 8000)"
    )
    add("figures", sheet, "")
    add("pdf", print_book, "-o book.pdf").add_argument(
        "-o", "--output", type=Path, help="the file (default: build/ssl_theory.pdf)"
    )
    add_experiment(commands)
    shown = "encoder:model encoder:views --loss infonce --temperature 0.2 -o report/"
    kept = "; the layers that were measured, if any, are in the report"
    inspection.add_arguments(add("inspect", inspection.inspect, shown, kept))
    fixing = add("notebooks", check_notebooks, "--fix")
    fixing.add_argument("--fix", action="store_true", help="mend them")
    return parser


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number
