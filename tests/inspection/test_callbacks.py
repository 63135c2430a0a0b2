from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_theory.inspection import inspect, scalars
from ssl_theory.inspection.callbacks import InspectionCallback
from ssl_theory.losses import InfoNCE, mean_loss
from tests.publishing.test_extras import HIDE

LOSS = InfoNCE(0.5)


def test_numbers_for_a_logger() -> None:
    torch.manual_seed(0)
    found = inspect(nn.Sequential(nn.Linear(4, 2)), torch.randn(5, 2, 4), loss=LOSS)
    numbers = scalars(found)
    assert numbers["0/cos_mixed"] == found.layers["0"].against["mixed"].cosine.value
    assert numbers["outputs/rankme"] == found.outputs["rankme"].value
    assert all(isinstance(value, float) for value in numbers.values())


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_lightning_logs_the_same_views_every_so_many_steps(tmp_path: Any) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    views = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0))

    class Encoder(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))

        def training_step(self, batch: Tensor, _: int) -> Tensor:
            return mean_loss(self.net(batch.flatten(0, 1)).view(-1, 2, 3), LOSS)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    class Log(lightning.loggers.logger.DummyLogger):  # type: ignore[name-defined,misc]
        rows: list[tuple[int, dict[str, float]]] = []  # noqa: RUF012

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            self.rows.append((step, metrics))

    model, log = Encoder(), Log()
    start = scalars(inspect(model.net, views, loss=LOSS, directions=3, probes=8, nulls=2, splits=2))
    callback = InspectionCallback(views, LOSS, every=2, part=lambda module: module.net)
    trainer = lightning.Trainer(
        max_steps=5,
        accelerator="cpu",
        callbacks=[callback],
        logger=log,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, torch.utils.data.DataLoader(torch.randn(10, 2, 4), batch_size=2))
    assert callback.table["step"].tolist() == [0, 2, 4]
    first = callback.rows[0]
    same = [first[name] == value or math.isnan(value) for name, value in start.items()]
    assert all(same)
    assert callback.rows[2]["outputs/loss"] != first["outputs/loss"]
    assert [step for step, metrics in log.rows if "outputs/loss" in metrics] == [0, 2, 4]
    assert model.net.training


def test_without_lightning_the_callback_names_it() -> None:
    run = (
        "from ssl_theory.inspection.callbacks import InspectionCallback\n"
        "try:\n    InspectionCallback(None, None)\n"
        "except ModuleNotFoundError as error:\n    assert error.name == 'lightning', error\n"
        "else:\n    sys.exit(3)"
    )
    script = HIDE.format(names={"lightning"}) + run
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.bad_input
def test_bad_input() -> None:
    pytest.importorskip("lightning.pytorch")
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        InspectionCallback(torch.randn(3, 2, 2), LOSS, every=0)
