from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.errors import BuildError
from ssl_theory.theorems import theorems
from tests.publishing.books import code, text, write_chapter

BOOK = find_book(Path(__file__))
CHAPTERS = BOOK.chapters()
HEADING = re.compile(r"^## ", re.M)


def test_every_notebook_is_a_chapter_of_the_table_of_contents() -> None:
    listed = {chapter.path for chapter in CHAPTERS.values()}
    unlisted = [str(p) for p in BOOK.folder.rglob("*.ipynb") if p not in listed and ".ipynb_" not in str(p)]
    assert not unlisted, "book/_toc.yml does not list these"


def test_every_theorem_has_its_chapter_in_the_book() -> None:
    homeless = {theorem.id: theorem.chapter for theorem in theorems().values()}
    assert not {name: chapter for name, chapter in homeless.items() if chapter not in CHAPTERS}


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapters_in_the_repository_are_canonical(name: str) -> None:
    path = CHAPTERS[name].path
    assert BOOK.repository is not None
    canonical = notebooks.canonical(notebooks.read(path), BOOK.repository.install)
    same = path.read_text(encoding="utf-8") == canonical
    assert same, f"{path} has outputs or is not canonical: run ssl-theory notebooks --fix"


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapters_declare_their_scale_and_state_their_theorems(name: str) -> None:
    cells = notebooks.read(CHAPTERS[name].path)["cells"]
    tagged = ["".join(c["source"]) for c in cells if "parameters" in notebooks.tags(c)]
    assert len(tagged) == 1
    assert [notebooks.tags(cell)[:1] for cell in cells[:3]] == [[], [notebooks.INSTALL], ["parameters"]]
    assert all(f"{parameter} = " in tagged[0] for parameter in ("profile", "seed", "device"))
    prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    for theorem in CHAPTERS[name].theorem_ids:
        assert f":label: {theorem.lower().replace('.', '-')}\n" in prose, theorem
    assert CHAPTERS[name].theorem_ids
    assert "{prf:proof}" in prose
    assert prose.count("{prf:theorem}") <= 1, (
        "a chapter has one theorem; what else it proves are propositions"
    )
    folded = re.search(r"\{prf:proof\}[^\n]*\n(:\w+:[^\n]*\n)*:class:[^\n]*dropdown", prose)
    assert not folded, "a proof does not fold by its class; put it into an admonition that does"
    assert prose.count("{exercise}") >= 2
    assert prose.count("{solution}") == prose.count("{exercise}")
    assert prose.count(":class: dropdown") >= prose.count("{solution}")
    assert any(f"{{cite{kind}}}" in prose for kind in ("", ":t", ":p"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_code_cells_are_short_and_pictures_described(name: str) -> None:
    for index, cell in enumerate(notebooks.read(CHAPTERS[name].path)["cells"]):
        if cell["cell_type"] == "code":
            assert len(cell["source"]) <= 40, f"cell {index} has {len(cell['source'])} lines"
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        if figure:
            assert figure["caption"], index
            assert figure["name"].startswith("fig-"), index
            assert cell["metadata"]["mystnb"]["image"]["alt"], index


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_first_screen_tells_the_theorem_and_shows_picture_and_control(name: str) -> None:
    cells = notebooks.read(CHAPTERS[name].path)["cells"]
    first = notebooks.source(cells[0]).split("\n\n")[1]
    told = re.fullmatch(r"\*\*(?P<bold>[^*].*)\*\*", first, re.S)
    assert told is not None, "the title, then a paragraph in bold"
    assert len(told["bold"].split()) < 90, "a sentence or two"
    heads = [
        k for k, c in enumerate(cells) if c["cell_type"] == "markdown" and HEADING.search(notebooks.source(c))
    ]
    before = [cell for cell in cells[: heads[0]] if cell["cell_type"] == "code"]
    assert any(cell["metadata"].get("mystnb", {}).get("figure") for cell in before), "the figure"
    assert any(re.search(r"\bcontrol\(", notebooks.source(cell)) for cell in before), "the control"


@pytest.mark.parametrize("name", CHAPTERS)
def test_cells_that_announce_a_figure_show_nothing_else(name: str) -> None:
    for index, cell in enumerate(notebooks.read(CHAPTERS[name].path)["cells"]):
        if cell["metadata"].get("mystnb", {}).get("figure"):
            shows = re.search(r"\b(check|control|print|display)\(", notebooks.source(cell))
            assert shows is None, f"cell {index}: each of its outputs would be the figure"


@pytest.mark.parametrize("name", CHAPTERS)
def test_code_is_no_wider_than_its_column(name: str) -> None:
    cells = notebooks.read(CHAPTERS[name].path)["cells"]
    shown = [c for c in cells if c["cell_type"] == "code" and notebooks.INSTALL not in notebooks.tags(c)]
    lines = [line.partition("  # noqa")[0] for c in shown for line in notebooks.source(c).splitlines()]
    assert not [line for line in lines if len(line) > 88]


def test_an_executed_notebook_is_restored_byte_for_byte(tmp_path: Path) -> None:
    chapter = write_chapter(tmp_path, "one", ["print(1)", "x = 'ü'\n\n\nx"])
    source = chapter.path.read_text(encoding="utf-8")
    ran = json.loads(source)
    ran["cells"].insert(2, code("seed = 5", notebooks.INJECTED) | {"id": "abc"})
    for cell in ran["cells"]:
        cell["metadata"]["papermill"] = {"start_time": "2020-01-01"}
        cell["metadata"]["execution"] = {"iopub.status.idle": "2020"}
        if cell["cell_type"] == "code":
            cell |= {
                "execution_count": 3,
                "outputs": [{"output_type": "stream", "name": "stdout", "text": "1"}],
            }
    ran["metadata"]["papermill"] = {"input_path": "/somewhere"}
    assert notebooks.canonical(ran) == source
    scrubbed = notebooks.dump(notebooks.scrub(ran))
    assert notebooks.canonical(json.loads(scrubbed)) == source
    assert not any(trace in scrubbed for trace in ("2020", "/somewhere", "start_time", '"execution"'))
    assert '"remove-cell"' in scrubbed


def test_captions_and_tags_survive() -> None:
    cell = code("1", "hide-input") | {
        "metadata": {"tags": ["hide-input"], "mystnb": {"image": {"alt": "a"}}, "x": 1}
    }
    kept = json.loads(notebooks.canonical({"cells": [text("# A\n\n"), cell]}))["cells"]
    assert kept[0]["source"] == ["# A"]
    assert kept[1]["metadata"] == {"tags": ["hide-input"], "mystnb": {"image": {"alt": "a"}}}
    assert [c["id"] for c in kept] == ["cell-00", "cell-01"]


def test_the_install_cell_is_written_once_behind_the_title() -> None:
    cells = [text("# A"), code("a = 1", "parameters"), code("old", notebooks.INSTALL), code("b")]
    mended = notebooks.canonical({"cells": cells}, install="new\nlines")
    found = json.loads(mended)["cells"]
    assert ["".join(c["source"]) for c in found] == ["# A", "new\nlines", "a = 1", "b"]
    assert found[1]["metadata"] == {"tags": ["install", "remove-cell"]}
    assert notebooks.canonical(json.loads(mended), install="new\nlines") == mended
    assert notebooks.canonical(json.loads(mended)) == mended, "left alone when nothing is known of it"


def test_what_is_not_canonical_is_named_and_mended(tmp_path: Path) -> None:
    good = write_chapter(tmp_path, "good", ["1"])
    bad = write_chapter(tmp_path, "part/bad", ["1"])
    bad.path.write_text(bad.path.read_text(encoding="utf-8").replace("null", "3"), encoding="utf-8")
    assert notebooks.not_canonical(tmp_path) == [bad.path]
    assert notebooks.not_canonical(tmp_path, fix=True) == [bad.path]
    assert notebooks.not_canonical(tmp_path) == []
    assert good.path.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b'{"cells": [', "Expecting value"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "it is a pointer of Git LFS",
        ),
        (b'{"cells": [\n<<<<<<< HEAD\n1\n>>>>>>> other\n]}', "it holds the marks of a merge conflict"),
        ('{"cells": ["ü"]}'.encode("latin-1"), "it is not in UTF-8"),
        (b'{"worksheets": [], "nbformat": 3}', "it is of format 3; jupyter nbconvert"),
        (b"[]", "it has no list of cells"),
        (b'{"cells": 3}', "it has no list of cells"),
        (b'{"cells": [3]}', "cell 1 is damaged"),
        (b'{"cells": [{"cell_type": "raw"}, {"cell_type": "code", "source": 3}]}', "cell 2 is damaged"),
        (b'{"cells": [{"cell_type": "code", "outputs": [1]}]}', "cell 1 is damaged"),
        (b'{"cells": [{"cell_type": "code", "metadata": []}]}', "cell 1 is damaged"),
    ],
)
def test_what_is_no_notebook_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "one.ipynb"
    path.write_bytes(data)
    with pytest.raises(BuildError, match=rf"one\.ipynb is not a notebook: {message}"):
        notebooks.read(path)


def test_a_byte_order_mark_and_other_line_ends_are_read_and_mended(tmp_path: Path) -> None:
    path = write_chapter(tmp_path, "one", ["1"]).path
    sound = path.read_bytes()
    for spoiled in (b"\xef\xbb\xbf" + sound, sound.replace(b"\n", b"\r\n")):
        path.write_bytes(spoiled)
        assert notebooks.not_canonical(tmp_path, fix=True) == [path]
        assert path.read_bytes() == sound


def test_figures_that_are_announced_and_not_shown_are_found() -> None:
    def cell(name: str, *kinds: str) -> dict[str, Any]:
        outputs = [{"output_type": "display_data", "data": {kind: ""}} for kind in kinds]
        return code("1") | {"metadata": {"mystnb": {"figure": {"name": name}}}, "outputs": outputs}

    glued = "application/papermill.record/image/svg+xml"
    cells = [cell("a", "text/plain", "image/svg+xml"), cell("b"), cell("c", "text/html", glued), code("1")]
    assert notebooks.missing_figures({"cells": cells}) == ["b", "c"]
