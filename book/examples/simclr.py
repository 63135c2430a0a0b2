"""SimCLR by lightly, trained by Lightning, inspected at fixed steps."""

import torch
import torchvision
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from ssl_theory.inspection import over_pairs
from ssl_theory.inspection.callbacks import InspectionCallback


class SimCLR(LightningModule):
    def __init__(self):
        super().__init__()
        backbone = torchvision.models.resnet18(weights=None)
        backbone.fc = nn.Identity()
        self.net = nn.Sequential(backbone, SimCLRProjectionHead(512, 64, 16))
        self.criterion = NTXentLoss(temperature=0.5)

    def training_step(self, batch, _):
        first, second = (batch + 0.3 * torch.randn_like(batch) for _ in range(2))
        return self.criterion(self.net(first), self.net(second))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)


torch.manual_seed(0)
images = torch.randn(64, 3, 16, 16)  # yours
views = images[:6].unsqueeze(1) + 0.3 * torch.randn(6, 2, 3, 16, 16)
loss, layers = over_pairs(NTXentLoss(temperature=0.5)), ["1.layers.0", "1.layers.3"]
inspected = {"every": 2, "part": lambda module: module.net, "layers": layers}
watch = InspectionCallback(views, loss, **inspected)
here = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
trainer = Trainer(max_steps=4, callbacks=[watch], **here)
trainer.fit(SimCLR(), DataLoader(images, batch_size=32))
print(watch.table.filter(regex="step|loss|rankme|mixed|residue").T)
