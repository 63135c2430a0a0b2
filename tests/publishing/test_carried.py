from __future__ import annotations

import json
import re
from pathlib import Path

from ssl_theory.publishing.carried import carry, carry_titles
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.theorems import theorems

CHAPTERS = find_book(Path(__file__)).chapters().values()


def test_a_page_carries_data_at_its_end(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for before, after in (("<body>a</body>b", "<body>a{}\n</body>b"), ("a", "a{}\n")):
        page.write_text(before, encoding="utf-8")
        carry(page, "some-data", {"x": "</script>é"})
        script = '<script type="application/json" id="some-data">{"x": "<\\/script>é"}</script>'
        assert page.read_text(encoding="utf-8") == after.format(script)


def test_the_search_knows_which_chapter_states_which_theorems(tmp_path: Path) -> None:
    carry_titles(tmp_path, CHAPTERS)
    assert not list(tmp_path.iterdir()), "where there is no page of a search"
    (tmp_path / "search.html").write_text("<body></body>", encoding="utf-8")
    carry_titles(tmp_path, CHAPTERS)
    found = re.search(r'id="theorem-titles">(.*)</script>', (tmp_path / "search.html").read_text("utf-8"))
    assert found is not None
    titles = [title for own in json.loads(found[1]).values() for title in own]
    stated = [t for t in theorems().values() if t.chapter in {c.name for c in CHAPTERS}]
    assert sorted(titles) == sorted([t.title for t in stated] + [t.id for t in stated])
