from __future__ import annotations

from pathlib import Path

import pytest

from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.proofread import raw_markup, require_proofread

SOUND = r"""<html><head><title>$x$</title></head><body><nav>{eq}`menu`</nav><article>
<p>A variance <span class="math notranslate">\(\mathbb V\)</span> of 5 %, a <em>mean</em>.<br></p>
<div class="math">\[\hat v = {eq}\]</div><pre>{glue:text}`a` $b$ \mathbb</pre><p><code>$x$</code></p>
<figcaption class="tex2jax_process">\(\mathrm{OP}\)</figcaption>
<dl><dt class="sig sig-object">a='$s$'</dt></dl>
<p>ssl_theory, <i>V</i><sub>x</sub>, version 7c2445e696, a/b_c, 2.5.</p>
<img src="a.png"><script>"$$"</script></article><footer>\mathbb</footer></body></html>"""


def test_a_sound_page_has_nothing_raw() -> None:
    assert raw_markup(SOUND) == []


@pytest.mark.parametrize(
    "words",
    [
        r"2\,\mathbb E of it",
        r"so $x = 1$ holds",
        "so $$x$$ holds",
        r"half of it $\hat v",
        "by {eq}`eq-simple` it",
        "by {prf:ref}`t1` it",
        "is {glue:text}`a-b:.2f` times",
        "by (???) it",
        "::: {note}",
        "by (eq-simple-pairs) it",
        "at most 6e-05 of it",
        "between 1.5e+16 and it",
        "against V_x and it",
        "beyond φ_⋆ of it",
        "of K̄_{l} and it",
        "by a^2 and it",
    ],
)
def test_what_stays_raw_is_found_with_the_words_around_it(words: str) -> None:
    page = SOUND.replace("</article>", f"<ul><li>We see {words} here.</li></ul></article>")
    (found,) = raw_markup(page)[:1]
    assert "here" in found or "We see" in found


def test_the_pages_are_named(tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text(SOUND, encoding="utf-8")
    require_proofread(tmp_path)
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "theme.html").write_text("<article>$$</article>", encoding="utf-8")
    require_proofread(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.html").write_text("<article><p>is $x$.</p></article>", encoding="utf-8")
    with pytest.raises(BuildError, match=r"a/bad\.html: … is \$x\$"):
        require_proofread(tmp_path)
