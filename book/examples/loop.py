"""A loop written by hand: the same few objects are inspected every so many steps."""

import pandas as pd
import torch
from torch import nn

from ssl_theory.inspection import CHEAP, inspect, named_loss, scalars
from ssl_theory.losses import nt_xent

torch.manual_seed(0)
torch.set_num_threads(1)
layers = [nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 16)]
model = nn.Sequential(*layers)
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
centres = torch.randn(512, 20)
fixed = centres[:16].unsqueeze(1) + 0.5 * torch.randn(16, 4, 20)  # the same each time
loss, rows = named_loss("nt-xent", temperature=0.2), []
for step in range(201):
    if step % 100 == 0:
        rows.append(
            {"step": step, **scalars(inspect(model, fixed, loss=loss, **CHEAP))}
        )
    objects = centres[torch.randint(512, (128,))]
    first, second = (objects + 0.5 * torch.randn_like(objects) for _ in range(2))
    optimizer.zero_grad()
    nt_xent(model(first), model(second), temperature=0.2).backward()
    optimizer.step()
print(pd.DataFrame(rows).filter(regex="step|loss|rankme|mixed").T)
