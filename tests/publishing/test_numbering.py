from __future__ import annotations

from ssl_theory.publishing.numbering import named


def test_theorems_keep_their_names_and_others_are_counted_among_themselves() -> None:
    numbers = {"t3": (3, 1), "a-lemma": (3, 2), "t3-growth": (3, 3), "another": (3, 4)}
    found = named(numbers, {"t3": "T3", "t3-growth": "T3.growth"})
    assert found == {"t3": ("T3",), "a-lemma": (3, 1), "t3-growth": ("T3.growth",), "another": (3, 2)}
    assert list(found) == list(numbers)
    assert named({}, {"t3": "T3"}) == {}
    assert named({"a": (2,)}, {}) == {"a": (1,)}, "a book without chapters' numbers"
