"""The command line: ssl-theory list | run CHAPTER | build | ledger | serve | experiment | notebooks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ssl_theory.publishing import ledger, notebooks, parameters
from ssl_theory.publishing.catalogue import Book, Chapter, find_book
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.experiment import add_experiment
from ssl_theory.publishing.lock import lock

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: As on the command line; those of this process if None.

    Returns:
        The exit code: 0, 1 if the command failed, 2 if it was asked for what is not there.
    """
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except UsageError as error:
        print(f"ssl-theory: {error}", file=sys.stderr)
        return 2
    except BuildError as error:
        print(f"ssl-theory: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `ssl-theory list | head`
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def list_chapters(options: argparse.Namespace) -> None:
    """Print the chapters with their theorems and parameters."""
    for chapter in find_book().chapters().values():
        known = ", ".join(f"{name}={value!r}" for name, value in parameters.defaults(chapter).items())
        theorems = ", ".join(chapter.theorem_ids) or "–"
        print(f"{chapter.name:16} {chapter.title}\n{'':16} proves {theorems}; parameters {known}")


def run(options: argparse.Namespace) -> None:
    """Run one chapter with other parameters and write the executed notebook."""
    from ssl_theory.publishing.execute import CELL_SECONDS, execute
    from ssl_theory.publishing.runner import processors

    book = find_book()
    chapter = book.chapter(options.chapter)
    values = parameters.parse(chapter, options.parameter)
    output = options.output or Path()
    if output.suffix != ".ipynb":
        output = output / f"{chapter.name}.ipynb"
    if output.resolve().is_relative_to(book.folder.resolve()):
        raise UsageError(f"the output {output} would lie among the book's sources; choose another with -o")
    seconds = CELL_SECONDS[values.get("profile", "quick")]
    for warning in execute(chapter, output, values, seconds=seconds, threads=processors()):
        print(f"warned: {warning}")
    print(ledger.table(ledger.records(output)))
    print(f"{chapter.name} ran to its end: {output}")


def build(options: argparse.Namespace) -> None:
    """Execute what changed, write the ledger, and build the HTML."""
    book = find_book()
    folder = _build_folder(book)
    work = {chapter: parameters.parse(chapter, options.parameter) for chapter in book.chapters().values()}
    folder.mkdir(exist_ok=True)
    with lock(folder):
        _build(book, folder, work, options)


def _build(
    book: Book, folder: Path, work: Mapping[Chapter, Mapping[str, Any]], options: argparse.Namespace
) -> None:
    from ssl_theory.publishing.runner import Runner, processors

    runner = Runner(folder, report=lambda line: print(line, flush=True))
    failures = runner.run(work, jobs=options.jobs or processors(), force=options.force)
    if failures:
        raise BuildError("\n".join(["the book was not built", *failures]))
    executed = {chapter: runner.output(chapter) for chapter in work}
    keys = {name: run.key for name, run in runner.runs.items()}
    entries = [entry | {"inputs": keys[entry["chapter"]]} for entry in ledger.collect(executed)]
    ledger.write(entries, folder / "ledger.json")
    print(f"{'ledger':16} {len(entries)} checks hold, {folder / 'ledger.json'}")

    from ssl_theory.publishing.site import render

    index = render(book, executed, entries, folder, options.repository_url, runner.runs)
    print(f"{'book':16} {index}")


def show_ledger(options: argparse.Namespace) -> None:
    """Print the checks of the last build."""
    path = _build_folder(find_book()) / "ledger.json"
    if not path.exists():
        raise UsageError("there is no ledger yet; build the book first: ssl-theory build")
    text = path.read_text(encoding="utf-8")
    print(text.rstrip() if options.json else ledger.table(json.loads(text)))


def serve(options: argparse.Namespace) -> None:
    """Serve the built book on this machine until interrupted."""
    from ssl_theory.publishing.server import server

    with server(_build_folder(find_book()) / "_build" / "html", options.port) as running:
        print(f"the book is at http://127.0.0.1:{running.server_port}/ (Ctrl-C ends)", flush=True)
        with suppress(KeyboardInterrupt):
            running.serve_forever()


def check_notebooks(options: argparse.Namespace) -> None:
    """Name, or mend, the notebooks of the book that are not in canonical form."""
    book = find_book()
    home = book.repository
    wrong = notebooks.not_canonical(book.folder, fix=options.fix, install=home.install if home else None)
    for path in wrong:
        print(f"{'mended' if options.fix else 'not canonical'}: {path}")
    if wrong and not options.fix:
        raise BuildError(
            f"{len(wrong)} notebooks are not canonical; mend them with ssl-theory notebooks --fix"
        )


def _build_folder(book: Book) -> Path:
    return book.require_checkout() / "build"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ssl-theory", description="Run the chapters and build the book.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        sub.set_defaults(command=command)
        return sub

    add("list", list_chapters)
    one = add("run", run)
    one.add_argument("chapter")
    one.add_argument("-o", "--output", type=Path, help="file or folder of the executed notebook")
    whole = add("build", build)
    whole.add_argument("-j", "--jobs", type=_positive, help="chapters at a time; one for each processor")
    whole.add_argument("--force", action="store_true", help="execute chapters that are up to date too")
    whole.add_argument("--repository-url", help="address to put in the place of the one in _config.yml")
    for sub in (one, whole):
        sub.add_argument(
            "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="may be repeated"
        )
    add("ledger", show_ledger).add_argument("--json", action="store_true", help="for machines")
    add("serve", serve).add_argument("--port", type=_positive)
    add_experiment(commands)
    add("notebooks", check_notebooks).add_argument("--fix", action="store_true", help="mend them")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
