"""The letters come from the package, whatever the machine has, and their license lies beside them."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from fontTools.ttLib import TTFont
from matplotlib.font_manager import FontProperties, findfont, fontManager

from ssl_theory.display import fonts

FOLDER = Path(fonts.__file__).parent
PAGES = Path(__file__).parents[2] / "book" / "assets" / "fonts"
SIGNS = "0123456789.−×·±≤≥≠≈→←√∞∂∑′″…–—‖²³¹⁰⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂ℓ½¼ΔΘΛΠΣΦΩαβγδεζηθκλμνξπρστφχψωϕŴḡäéöø“”’✓"

pytestmark = pytest.mark.usefixtures("theme")


@pytest.mark.parametrize(
    ("weight", "style", "file"),
    [
        (400, "normal", "Inter-Regular.ttf"),
        (400, "italic", "Inter-Italic.ttf"),
        (600, "normal", "Inter-SemiBold.ttf"),
        ("bold", "normal", "Inter-SemiBold.ttf"),
    ],
)
def test_each_face_is_found_in_the_package(weight: int | str, style: str, file: str) -> None:
    properties = FontProperties(family=[fonts.FAMILY], weight=weight, style=style)
    assert Path(findfont(properties, fallback_to_default=False)) == FOLDER / file


def test_it_is_installed_once() -> None:
    fonts.install()
    assert len([entry for entry in fontManager.ttflist if entry.name == fonts.FAMILY]) == len(fonts.FACES)


@pytest.mark.parametrize(
    "path", sorted(chain(FOLDER.glob("*.ttf"), PAGES.glob("*.woff2"))), ids=lambda p: p.name
)
def test_every_face_has_the_signs_of_the_book_and_is_small(path: Path) -> None:
    assert path.stat().st_size < (30_000 if path.suffix == ".woff2" else 70_000)
    if path.suffix == ".ttf":
        assert not {sign for sign in SIGNS if ord(sign) not in TTFont(path).getBestCmap()}


def test_pages_have_the_same_faces_and_both_their_license() -> None:
    assert sorted(p.stem for p in PAGES.glob("*.woff2")) == sorted(p.stem for p in FOLDER.glob("*.ttf"))
    for folder in (FOLDER, PAGES):
        assert "SIL OPEN FONT LICENSE Version 1.1" in (folder / "OFL.txt").read_text(encoding="utf-8")


def test_words_numbers_and_exponents_of_axes_are_drawn_in_it(tmp_path: Path) -> None:
    figure, ax = plt.subplots()
    ax.loglog([1e-3, 1e3], [1, 10])
    ax.set(xlabel="size of μ", ylabel="xᵀ")
    figure.savefig(tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    letters = {
        part.partition("-")[0] for part in drawn.split('<path id="')[1:] if "scale" in part.partition(">")[0]
    }
    assert letters == {"Inter", "DejaVuSans"}  # the latter for ᵀ alone
    assert drawn.count('<path id="DejaVuSans-') == 1
