from __future__ import annotations

import re

import pytest

from ssl_theory.publishing.typeset import spoken, typeset, typeset_numbers, typeset_page, unicode_number
from ssl_theory.theorems import claims


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        ("V_x[K̄_l]", "<i>V</i><sub><i>x</i></sub>[<i>K̄</i><sub><i>l</i></sub>]"),
        ("2.1e-15 ≤ 1e-12", "2.1\u00a0×\u00a010<sup>−15</sup> ≤ 10<sup>−12</sup>"),
        ("x1, x+ and x-.", "<i>x</i><sub>1</sub>, <i>x</i><sub>+</sub> and <i>x</i><sub>−</sub>."),
        ("r_-k, ρ_{0μ}²", "<i>r</i><sub>−<i>k</i></sub>, <i>ρ</i><sub>0μ</sub>²"),
        ("OP_l vec(W_l)", "OP<sub><i>l</i></sub> vec(<i>W</i><sub><i>l</i></sub>)"),
        ("(S/S_0)^L", "(<i>S</i>/<i>S</i><sub>0</sub>)<sup><i>L</i></sup>"),
        ("n^(−1/2), 2^|C|", "<i>n</i><sup>−1/2</sup>, 2<sup>|<i>C</i>|</sup>"),
        ("(8/15)^⌊m/5⌋", "(8/15)<sup>⌊<i>m</i>/5⌋</sup>"),
        ("e^n/N", "<i>e</i><sup><i>n</i></sup>/<i>N</i>"),
        ("2cλ_1", "2cλ<sub>1</sub>"),
        ("½ E[ξ̄ M]", '½ <i>E</i>[<i><span class="bar">ξ<span>\u0304</span></span></i> <i>M</i>]'),
        ("Cov_x[f̄]", "Cov<sub><i>x</i></sub>[<i>f̄</i>]"),
        ("V_{z_0}", "<i>V</i><sub><i>z</i><sub>0</sub></sub>"),
        ("a step, I think; A & B < c", "a step, I think; A &amp; <i>B</i> &lt; <i>c</i>"),
        ("scikit_learn and f'(a)", "scikit_learn and f'(a)"),
        ("N's share, one's", "N's share, one's"),
        (
            "p_-, φ_⋆, μ^⊥, OP^=",
            "<i>p</i><sub>−</sub>, <i>φ</i><sub>⋆</sub>, <i>μ</i><sup>⊥</sup>, OP<sup>=</sup>",
        ),
        (
            "Lead_l, v′_f, n_eff",
            "Lead<sub><i>l</i></sub>, <i>v</i>′<sub><i>f</i></sub>, <i>n</i><sub>eff</sub>",
        ),
        ("z_C′ and ⟨r⟩_τ", "<i>z</i><sub><i>C</i>′</sub> and ⟨<i>r</i>⟩<sub><i>τ</i></sub>"),
        ("below τ*", "below <i>τ</i><sup>∗</sup>"),
        ("1^(−1/(L−1)), (Σσ²)^½", "1<sup>−1/(<i>L</i>−1)</sup>, (Σ<i>σ</i>²)<sup>½</sup>"),
        ("the library’s `root_variance`", "the library’s <code>root_variance</code>"),
        ("no formula at all", "no formula at all"),
    ],
)
def test_plain_formulas_are_set_as_in_print(plain: str, shown: str) -> None:
    assert typeset(plain) == shown


def test_nothing_is_lost_or_added() -> None:
    for _, claim in claims().values():
        for words in (claim.what, claim.control):
            text = re.sub(r"</?code>", "`", typeset(words)).replace("∗", "*")
            text = re.sub(r"<[^>]+>", "", text)
            text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
            bare = [re.sub(r"[\s_^{}()\-−]|(?<!\d)1×|×|10|e|1", "", s) for s in (words, text)]
            assert bare[0] == bare[1]


@pytest.mark.parametrize(
    ("handed", "shown"),
    [
        ("6e-05", "6\u00a0×\u00a010⁻⁵"),
        ("-1.3e-16", "−1.3\u00a0×\u00a010⁻¹⁶"),
        ("1e-04", "10⁻⁴"),
        ("-1e-04", "−10⁻⁴"),
        ("1.0e-04", "1.0\u00a0×\u00a010⁻⁴"),
        ("1e+16", "10¹⁶"),
        ("1e16", "10¹⁶"),
        ("12e5", "12\u00a0×\u00a010⁵"),
        ("2.5e+00", "2.5"),
        ("0", "0"),
        ("0e+00", "0"),
        ("-0.5", "−0.5"),
        ("-3", "−3"),
        ("17,408", "17,408"),
        ("nan", "nan"),
        ("inf", "∞"),
        ("-inf", "−∞"),
        ("5%", "5\u00a0%"),
        ("1e-05 to 3e-04", "10⁻⁵ to 3\u00a0×\u00a010⁻⁴"),
        ("[1e-5, 2e-3]", "[10⁻⁵, 2\u00a0×\u00a010⁻³]"),
        ("0.898 ± 0.011", "0.898 ± 0.011"),
        ("[-0.09, 0.09], -3", "[−0.09, 0.09], −3"),
        ("0.5 to -1e-3", "0.5 to −10⁻³"),
        ("2e-shapes, v1.5e", "2e-shapes, v1.5e"),
    ],
)
def test_numbers_are_as_print_has_them(handed: str, shown: str) -> None:
    assert unicode_number(handed) == shown
    page = typeset_page(f'<p>It is <span class="pasted-text">{handed}</span>.</p>')
    plain = re.sub(
        r"<sup>(.*?)</sup>",
        lambda power: power[1].translate(str.maketrans("0123456789−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")),
        page,
    )
    assert plain == f'<p>It is <span class="pasted-text">{shown}</span>.</p>'


@pytest.mark.parametrize(
    "same",
    [
        "<pre>x_1 = 6e-05</pre>",
        "<p>the argument <code>n_l</code>, 1 <code>6e-05</code></p>",
        '<p><span class="math notranslate nohighlight">\\(x_1^2\\)</span></p>',
        '<div class="math notranslate" id="a">\\[x_1 = 10^{-5}\\]</div>',
        "<p>later \\(r_- - r_+\\) by a script</p>",
        "<svg><text>W_l 1e-5</text></svg>",
        '<dt class="sig sig-object py">f(n_l)</dt>',
        '<a href="x_1.html#a_b">ssl_theory and num_children=2</a>',
        '<script type="application/json">{"x_1": 6e-05}</script>',
    ],
)
def test_what_is_no_prose_stays(same: str) -> None:
    assert typeset_page(same) == same


def test_prose_around_what_stays_is_set() -> None:
    page = "<p>W_l, \\(W_l\\) and <code>W_l</code>: 6e-05.</p><pre>2e-3</pre><td>7.81e-27</td>"
    assert typeset_page(page) == (
        "<p><i>W</i><sub><i>l</i></sub>, \\(W_l\\) and <code>W_l</code>: 6\u00a0×\u00a010<sup>−5</sup>.</p>"
        "<pre>2e-3</pre><td>7.81\u00a0×\u00a010<sup>−27</sup></td>"
    )


def test_a_number_and_its_per_cent_stay_on_one_line() -> None:
    page = '<p>95 %, <span class="pasted-text">41</span> % <code>7 % 3</code></p><pre>7 % 3</pre>'
    assert typeset_page(page) == (
        '<p>95\u00a0%, <span class="pasted-text">41</span>\u00a0% <code>7 % 3</code></p><pre>7 % 3</pre>'
    )


def test_screen_readers_get_words() -> None:
    assert spoken("V_x over 1e-17, ssl_theory") == "V x over 10⁻¹⁷, ssl_theory"
    assert typeset_page('<img alt="size 1e+00 of W_l">') == '<img alt="size 1 of W l">'


def test_a_table_s_numbers_are_set() -> None:
    table = "<tr><th>2e-3</th><td>-7.81e-27</td><td>a_b 3</td></tr>"
    assert typeset_page("<td>-3.5 ± 1</td><td>--depth 5</td>") == "<td>−3.5 ± 1</td><td>--depth 5</td>"
    assert typeset_numbers(table) == "<tr><th>2e-3</th><td>−7.81\u00a0×\u00a010⁻²⁷</td><td>a_b 3</td></tr>"
