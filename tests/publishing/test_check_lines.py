from __future__ import annotations

import re
from typing import Any

from ssl_theory.publishing.check_lines import check_anchor, check_line, code_anchor, with_lines
from ssl_theory.theorems import claims
from tests.publishing.books import checked, code, record


def words(line: str) -> str:
    return re.sub(r"<[^>]+>", "", line)


def test_a_line_shows_claim_error_control_and_cases() -> None:
    line = check_line(record("T3.operator", empty=1500), "../ledger.html")
    assert line.startswith('<p id="check-t3-operator" class="check">')
    assert '<a href="../ledger.html#check-t3-operator">T3.operator</a>: ' in line
    assert "<i>V</i><sub><i>x</i></sub>[<i>K̄</i><sub><i>l</i></sub>]" in line
    told = "Error 2\u00a0×\u00a010−15 ≤ 10−12; control, a wrong version: 0.5; 3 cases; "
    told += "1,500 more tell nothing; exact."
    assert words(line).endswith(told)
    assert "; 1 more tells nothing; " in words(check_line(record("T3.operator", empty=1), "l.html"))
    more = words(check_line(record("T3.psd", kind="bound", tightness=0.4, status="bound"), "l.html"))
    assert "left side at most 0.4 of the right; bound." in more
    more = words(check_line(record("T3.psd", kind="sampled", power=0.1), "l.html"))
    assert "10−12 standard errors; " in more
    assert "would notice 10\u00a0% of the effect" in more


def test_what_breaks_as_predicted_is_not_said_to_err() -> None:
    changed: dict[str, Any] = {"kind": "fails", "error": 0.3, "of": 4, "control_error": 1e-16}
    line = words(check_line(record("T5.own-unequal", **changed), "ledger.html"))
    assert line.startswith("✓ T5.own-unequal: breaks as predicted, ")
    told = "Outside the assumptions it is off by 0.3 or more in 3 of 4 cases; "
    told += "back inside, a wrong version: 10−16."
    assert line.endswith(told)
    assert ">" not in line
    assert "in 3 of" not in words(check_line(record("T5.own-unequal", **changed | {"of": 1}), "ledger.html"))


def test_the_first_line_of_a_claim_has_its_id_and_its_code_a_name() -> None:
    first, again = checked("T3.operator"), checked("T3.operator")
    first["outputs"].append(checked("T3.psd")["outputs"][0])
    plain = code("2") | {"outputs": [{"output_type": "stream", "text": "2"}]}
    cells = with_lines([plain, first, again, checked("T3.balance-step")], "../ledger.html")
    shown = [output["data"]["text/html"] for cell in cells[1:3] for output in cell["outputs"]]
    assert [re.findall(r' id="([\w-]+)"', line) for line in shown] == [
        ["check-t3-operator"],
        ["check-t3-psd"],
        [],
    ]
    assert cells[0] == plain
    assert cells[1]["metadata"]["tags"] == ["code-t3"]
    assert not cells[2]["metadata"].get("tags")
    own, _ = claims()["T3.balance-step"]
    leads = own.claims[0].id == "T3.balance-step"
    assert (cells[3]["metadata"].get("tags") == [code_anchor(own.id)]) == leads


def test_every_claim_has_an_anchor_of_its_own() -> None:
    assert len({check_anchor(claim) for claim in claims()}) == len(claims())
    assert len({code_anchor(t.id) for t, _ in claims().values()}) == len({t.id for t, _ in claims().values()})
