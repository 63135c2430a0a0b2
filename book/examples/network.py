"""A network, data, views and a loss of your own: what does the loss do to the weights?"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from ssl_theory.inspection import inspect, over_pairs, write_report

torch.manual_seed(0)
torch.set_num_threads(1)  # layers as small as these lose time on more
images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16


def view(x):  # shifted by a pixel at most, with another contrast and noise
    shift = torch.randint(-1, 2, (2,)).tolist()
    contrast = 1 + 0.2 * torch.randn(len(x), 1, 1, 1)
    return contrast * x.roll(shift, (2, 3)) + 0.1 * torch.randn_like(x)


def loss(first, second):  # pulls views of an object together, pushes objects apart
    squares = (first.unsqueeze(1) - first).square().sum(2)
    return (first - second).square().sum(1).mean() + (-squares).exp().mean().log()


layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3)]
model = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(256, 16))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for _ in range(60):
    batch = images[torch.randint(1000, (128,))]
    optimizer.zero_grad()
    loss(model(view(batch)), model(view(batch))).backward()
    optimizer.step()

views = torch.stack([view(images[-24:]) for _ in range(4)], 1)  # (objects, views, …)
found = inspect(model, views, loss=over_pairs(loss), directions=8)
print(found.table()[["layer", "cos_mixed", "null_object_mixed", "residue"]])
print(*found.advice, sep="\n")
write_report(found, "report")
