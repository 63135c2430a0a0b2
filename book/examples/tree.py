"""An irregular tree of categorical latents: a network that learns it, and its limit."""

import torch

from ssl_theory import hltm
from ssl_theory.losses import nt_xent

torch.set_num_threads(1)
g = torch.Generator().manual_seed(0)
above = [-1, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]  # parents: above[v] < v; leaves from 3 on
states = [3, 2, 4] + 8 * [2]


def edge(parent, child):  # P(child = k | parent = i), one row for each i
    table = torch.randn(states[parent], states[child], generator=g)
    return (3 * table.double()).softmax(1)


edges = [None, *(edge(above[v], v) for v in range(1, len(above)))]
tree = hltm.CategoricalTree(above, edges, [1 / 3] * 3)
net = hltm.TreeNetwork.random(tree, 12, bias=True, generator=g, dtype=torch.float32)
optimizer = torch.optim.Adam(net.parameters(), 0.01)


def pixels(drawn):  # (draws, nodes) -> what a network reads, (networks, leaves, draws)
    return drawn[:, list(tree.leaves)].mT.float().unsqueeze(0)


for _ in range(300):
    first, second = (net(pixels(v))[0].mT for v in tree.views(256, generator=g))
    optimizer.zero_grad()
    nt_xent(first, second, temperature=0.3).backward()
    optimizer.step()
sample = tree.sample(20_000, generator=g)
wanted = torch.stack([(sample.mT == k).float().unsqueeze(0) for k in range(4)])
reached = hltm.best_correlations(net, net.trace(pixels(sample)), wanted)[:, 0]
limits = hltm.state_ceilings(tree).value  # κ: no function of the leaves does better
for v in net.topology.inner:
    for k in range(states[v]):
        print(f"node {v}, state {k}: {reached[k, v]:.3f} of {limits[v, k]:.3f}")
