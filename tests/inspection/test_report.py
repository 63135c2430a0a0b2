"""The page, the table and the summary; the command; the script in the README."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from ssl_theory.inspection import inspect, named_loss, write_report
from ssl_theory.losses import InfoNCE, SimpleContrastive, SoftTriplet
from ssl_theory.publishing import cli

README = Path(__file__).parents[2] / "README.md"
MODULE = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
class Broken(nn.Module):
    def __init__(self, width): super().__init__()
def views(): return torch.randn(6, 1, 3, 4, 4) + 0.3 * torch.randn(6, 2, 3, 4, 4)
def spread(outputs): return -outputs.var()
number = 3
"""


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_encoder.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_encoder", raising=False)
    return tmp_path


class Balanced(HTMLParser):
    """Fails on tags that are not closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_command_writes_a_page_that_needs_nothing_else(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["inspect", "my_encoder:model", "my_encoder:views", "--temperature", "0.2", "--directions", "3"]
    assert cli.main([*command, "-o", "out"]) == 0
    assert "2 layers measured, 1 without an operator: out/index.html" in capsys.readouterr().out
    page = (inside / "out" / "index.html").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert not parser.open
    assert not re.search(r"(src|href)=|url\(|@import|<script", page)
    assert "prefers-color-scheme: dark" in page
    assert page.count("what direction") == 3  # of the first convolution
    found = json.loads((inside / "out" / "summary.json").read_text(encoding="utf-8"))
    assert found["complete"] is True
    assert found["setting"] == {"objects": 6, "views": 2, "outputs": 3, "temperature": 0.2, "mode": "batch"}
    assert found["outputs"]["rankme"]["value"] <= 3
    for line in found["advice"]:
        assert line.split(":")[0].split("'")[0] in page
    table = pd.read_csv(inside / "out" / "layers.csv")
    assert table["layer"].astype(str).tolist() == ["0", "4"]
    assert table["cos_mixed"].abs().max() <= 1 + 1e-6


def test_other_losses_and_chosen_layers(inside: Path) -> None:
    for loss in ("nt-xent", "simple", "triplet", "my_encoder:spread"):
        command = ["inspect", "my_encoder:model", "my_encoder:views", "--loss", loss, "--layer", "4"]
        assert cli.main([*command, "--directions", "2", "-o", "out"]) == 0
        assert len(json.loads((inside / "out" / "summary.json").read_text())["layers"]) == 1


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: "my_encodr:model"}, "unknown module: 'my_encodr'; did you mean 'my_encoder'?"),
        ({1: "my_encoder:modell"}, "unknown name in my_encoder: 'modell'; there are .*mean 'model'?"),
        ({1: "my_encoder"}, "give MODULE:NAME, such as encoder:model, got 'my_encoder'"),
        ({1: "my_encoder:number"}, "my_encoder:number must be a torch module, or make one, got int"),
        ({1: "my_encoder:Broken"}, "my_encoder:Broken must make the model without arguments"),
        ({1: "broken:model"}, "broken cannot be imported: ZeroDivisionError: division by zero"),
        ({1: "wanting:model"}, "wanting cannot be imported: No module named 'nowhere'"),
        ({2: "my_encoder:number"}, "views must be a tensor or batches of views, got int"),
        ({4: "infonec"}, "unknown loss: 'infonec'; there are .*; did you mean 'infonce'?"),
        ({6: "-1"}, "temperature must be finite and greater than 0, got -1"),
        ({8: "9"}, "unknown layer: '9'; there are 0, 4"),
        ({10: "trian"}, "mode must be one of batch, eval, got 'trian'"),
        ({12: "my_encoder.py"}, "output must be a folder, got the file my_encoder.py"),
    ],
)
def test_mistakes_end_with_one_line(
    inside: Path, capsys: pytest.CaptureFixture[str], change: dict[int, str], message: str
) -> None:
    (inside / "broken.py").write_text("1 / 0")
    (inside / "wanting.py").write_text("import nowhere")
    words = ["inspect", "my_encoder:model", "my_encoder:views", "--loss", "infonce", "--temperature", "0.5"]
    words += ["--layer", "0", "--mode", "batch", "-o", "out"]
    for place, word in change.items():
        words[place] = word
    assert cli.main(words) == 2
    printed = capsys.readouterr().err
    assert re.search(message.replace("?", r"\?"), printed)
    assert printed.count("\n") == 1


def test_ctrl_c_keeps_the_layers_that_were_measured(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl_theory.inspection import layers

    real, calls = layers.measure_layer, []

    def stopped(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sys.modules["ssl_theory.inspection.inspect"], "measure_layer", stopped)
    assert cli.main(["inspect", "my_encoder:model", "my_encoder:views", "-o", "out"]) == 130
    assert "interrupted; the layers that were measured" in capsys.readouterr().err
    assert json.loads((inside / "out" / "summary.json").read_text())["complete"] is False
    assert "Interrupted: not all layers were measured." in (inside / "out" / "index.html").read_text()


def test_a_page_of_what_vanishes(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    nn.init.zeros_(model[0].weight)
    found = inspect(model, torch.zeros(3, 2, 3), loss=InfoNCE(0.5))
    page = write_report(found, tmp_path, title="<b>").read_text(encoding="utf-8")
    assert "All eigenvalues vanish." in page
    assert "&lt;b&gt;" in page
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_losses_by_name() -> None:
    assert named_loss("infonce", temperature=0.2) == InfoNCE(0.2)
    assert named_loss("simple") == SimpleContrastive()
    assert named_loss("triplet", temperature=0.2, margin=1.0) == SoftTriplet(0.2, 1.0)
    with pytest.raises(ValueError, match="name must be one of infonce, nt-xent, simple, triplet, got 'x'"):
        named_loss("x")
    with pytest.raises(ValueError, match="temperature must be finite and greater than 0"):
        named_loss("nt-xent", temperature=0.0)


def test_the_script_in_the_readme(tmp_path: Path) -> None:
    script = re.search(r"## Your encoder.*?```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert script is not None
    assert len([line for line in script[1].splitlines() if line.strip()]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", script[1]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the median cosine of the step" in done.stdout.lower()
    assert (tmp_path / "report" / "index.html").is_file()
