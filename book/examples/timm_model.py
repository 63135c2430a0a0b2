"""An encoder of timm that this library has never seen, in ten lines."""

import timm
import torch

from ssl_theory.inspection import inspect, named_loss, write_report

model = timm.create_model("resnet10t", zero_init_last=False, num_classes=0)
images = torch.randn(4, 1, 3, 32, 32)  # yours: (objects, 1, channels, height, width)
views = images + 0.5 * torch.randn(4, 2, 3, 32, 32)  # yours: two views of each
layers = ["layer3.0.conv1", "layer3.0.conv2"]  # None for all
loss = named_loss("nt-xent", temperature=0.2)
found = inspect(model, views, loss=loss, layers=layers, directions=2, temperature=0.2)
print(found)
write_report(found, "report")
