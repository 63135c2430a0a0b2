"""The stored tables by name, and the command that makes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ssl_theory.experiments import studies
from ssl_theory.experiments.studies import STUDIES, Study, main
from ssl_theory.publishing.catalogue import find_book

RESULTS = find_book(Path(__file__)).folder / "results"


def test_every_stored_table_of_images_has_its_study() -> None:
    assert {path.stem for path in RESULTS.glob("images*.csv")} <= set(STUDIES)
    assert all(study.about for study in STUDIES.values())


@pytest.mark.parametrize("name", [name for name in STUDIES if name.startswith("images-mechanism")])
def test_the_stored_mechanisms_are_what_the_studies_ask_for(name: str) -> None:
    table = pd.read_csv(RESULTS / f"{name}.csv")
    settings = STUDIES[name].make.args[0]  # type: ignore[attr-defined]
    asked = {(e.data, e.loss, e.batch_norm, e.epochs, e.seed + k) for e in settings for k in range(e.seeds)}
    columns = ["data", "loss_name", "batch_norm", "epochs", "seed"]
    assert set(table[columns].itertuples(index=False, name=None)) == asked
    assert not table.duplicated(["loss_name", "batch_norm", "seed", "layer", "epoch"]).any()


@pytest.mark.parametrize("name", ["trees-mechanism", "latents-shapes", "latents-widths"])
def test_the_stored_tables_of_trees_are_what_the_studies_ask_for(name: str) -> None:
    table = pd.read_csv(RESULTS / f"{name}.csv")
    settings = STUDIES[name].make.args[-1]  # type: ignore[attr-defined]
    for setting, experiment in settings.items():
        rows = table[table["setting"] == setting]
        assert set(rows["network"]) == set(range(experiment.seeds))
        for label, value in experiment.labels.items():
            assert rows[label].tolist() == [value] * len(rows), label
    assert set(table["setting"]) == set(settings)


def test_the_command_makes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, dict[str, Any]]] = []

    def make(folder: Path, **how: Any) -> pd.DataFrame:
        asked.append((folder, how))
        return pd.DataFrame()

    monkeypatch.setitem(studies.STUDIES, "images", Study("none", make))
    main(["images", "-o", str(tmp_path / "out"), "--device", "cpu"])
    ((folder, how),) = asked
    assert folder.is_dir()
    assert (how["device"], how["executor"]) == ("cpu", None)
    main(["images", "-o", str(tmp_path / "out"), "--processes", "2"])
    assert asked[1][1]["executor"] is not None


def test_an_unknown_study_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nothing", "-o", str(tmp_path)])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err
