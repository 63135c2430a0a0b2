from __future__ import annotations

import re

import pytest

from ssl_theory.publishing.typeset import typeset
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
        ("Cov_x[f̄]", "Cov<sub><i>x</i></sub>[<i>f̄</i>]"),
        ("V_{z_0}", "<i>V</i><sub><i>z</i><sub>0</sub></sub>"),
        ("a step, I think; A & B < c", "a step, I think; A &amp; <i>B</i> &lt; <i>c</i>"),
        ("scikit_learn and f'(a)", "scikit_learn and f'(a)"),
        ("N's share, one's", "N's share, one's"),
        ("no formula at all", "no formula at all"),
    ],
)
def test_plain_formulas_are_set_as_in_print(plain: str, shown: str) -> None:
    assert typeset(plain) == shown


def test_nothing_is_lost_or_added() -> None:
    for _, claim in claims().values():
        for words in (claim.what, claim.control):
            text = re.sub(r"<[^>]+>", "", typeset(words))
            text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
            bare = [re.sub(r"[\s_^{}()\-−]|(?<!\d)1×|×|10|e|1", "", s) for s in (words, text)]
            assert bare[0] == bare[1]
