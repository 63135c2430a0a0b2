from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_theory.publishing import notebooks, reading
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.cli import main
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.reading import length, open_prose, reading_minutes, require_short, too_long
from tests.publishing.books import code, text, write_book, write_chapter

CHAPTERS = find_book(Path(__file__)).chapters()


def words(source: str) -> tuple[int, int, int]:
    return tuple(length({"cells": [text(source)]}))  # type: ignore[return-value]


def test_reading_takes_longer_with_words_and_formulas() -> None:
    def minutes(*cells: dict[str, Any]) -> int:
        return reading_minutes({"cells": cells})

    assert minutes() == reading.STEP
    assert minutes(text("word " * 4800)) == 20
    assert minutes(text("$x$ " * 400)) == 10
    assert minutes(text("$$x$$\n" * 80)) == 20
    assert minutes(code("x = 1\n" * 4000)) == reading.STEP, "which is folded"
    assert minutes(text("```{solution} a\n:class: dropdown\n\n" + "word " * 4800 + "\n```")) == reading.STEP


FOLDED = """\
One two.

````{prf:lemma} A title
:label: a-lemma
:class: dropdown

Not to be counted, $x$.

```{math}
x
```

Nor this.
````

Three $x$.
"""


def test_what_folds_away_does_not_count() -> None:
    assert words(FOLDED) == (3, 1, 0)
    assert words(FOLDED.replace(":class: dropdown\n", "")) == (3 + 2 + 4 + 2, 2, 1)
    assert words(FOLDED.replace("dropdown", "tip")) == (11, 2, 1)
    assert words("```{dropdown} A line\nInside.\n```\nAfter.") == (1, 0, 0)
    assert words("```{admonition} A line\n:class: tip dropdown\n\nInside.\n```\nAfter.") == (1, 0, 0)


@pytest.mark.parametrize(
    ("source", "counted"),
    [
        ("::::{div} one\n:::{div} two\n:::\nthree\n::::\nfour", 4),
        ("`````{solution} a\n:class: dropdown\n````{div}\n```bash\nx\n```\n````\nno\n`````\nyes", 1),
        (":::{admonition} Seen\n:class: note\n\nRead ```{a}``` too.\n:::", 4),
        ("```\ncode here\n```\nseen", 1),
        ("```{div} title\nnever closed", 3),
        ("  ```{div}\n  seen\n  ```", 1),
        ("```{solution} a\n:class: dropdown", 0),
    ],
)
def test_blocks_lie_within_blocks(source: str, counted: int) -> None:
    assert words(source)[0] == counted


def test_prose_without_blocks_stays_as_it_is() -> None:
    lines = ["# A title", "", "- :a: list", "`code` and ``` in it"]
    assert list(open_prose(lines)) == lines
    assert list(open_prose(["```{math}", ":label: eq-a", "x", "y", "```"])) == ["$$x y$$"]


def test_chapters_that_ask_for_too_much_are_named(tmp_path: Path) -> None:
    short, long, formal = (
        write_chapter(tmp_path, name, ["x = 'code has no words of prose'"])
        for name in ("one", "two", "three")
    )
    for chapter, added in ((long, "word " * reading.WORDS), (formal, "$$x$$\n" * 81)):
        notebook = notebooks.read(chapter.path)
        notebook["cells"].append(text(added))
        chapter.path.write_text(notebooks.canonical(notebook), encoding="utf-8")
    limits = "a chapter has at most 3,500 and 20"
    assert too_long([short, long, formal]) == [
        f"two: 3,503 open words and 14.6 minutes to read; {limits}",
        f"three: 3 open words and 20.3 minutes to read; {limits}",
    ]
    require_short([short])
    with pytest.raises(
        BuildError, match=rf"too long for one reading:\n    two: 3,503 open words .*; {limits}$"
    ):
        require_short([short, long])


def test_a_book_with_a_long_chapter_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chapter = write_book(tmp_path, {"one": ["1"]}).chapters()["one"]
    notebook = notebooks.read(chapter.path)
    notebook["cells"].append(text("word " * reading.WORDS))
    chapter.path.write_text(notebooks.canonical(notebook), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["build"]) == 1
    assert "\n    one: 3,503 open words" in capsys.readouterr().err
    assert not (tmp_path / "build").exists(), "before anything runs"


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_is_read_at_one_sitting(name: str) -> None:
    assert not too_long([CHAPTERS[name]])
