"""Closed forms for tree networks: selectivities (T8) and the dynamics of a level (T9).

A level's arrays have the shapes J (S, nodes, n_L, width), W (S, nodes, width, fan), a (S, nodes, fan) and
ρ = ρ_{0μ} (S, nodes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.hltm.exact import ExactTree
from ssl_theory.hltm.network import Trace, TreeNetwork

__all__ = [
    "LevelState",
    "activation_covariance",
    "child_vectors",
    "level_state",
    "pre_activation_gap",
    "selectivities",
]


def selectivities(net: TreeNetwork, world: ExactTree, trace: Trace) -> dict[int, Float[Tensor, "S width"]]:
    """Return s_k = ½(E[f_k | z_ν=1] − E[f_k | z_ν=0]) of the neurons of every node but the root.

    Args:
        net: The networks.
        world: The exact tree.
        trace: `net.trace(world.pixels)`.

    Returns:
        Node to selectivities; a leaf is the one neuron that holds its pixel.
    """
    result = {}
    for node in range(1, len(net.topology)):
        if node in net.topology.leaves:
            place = net.topology.leaves.index(node)
            values = world.pixels[:, place : place + 1]
        else:
            values = torch.relu(net.of_node(trace.pre_activations, node))
        result[node] = 0.5 * world.gap(values, node)
    return result


def child_vectors(
    net: TreeNetwork, world: ExactTree, selectivity: dict[int, Float[Tensor, "S width"]]
) -> dict[int, Float[Tensor, "S fan"]]:
    """Return a_μ = [ρ_{μν(k)} s_k] over the neurons k of the children of every inner node μ."""
    return {
        node: torch.cat(
            [world.polarities[:, child, None] * selectivity[child] for child in net.topology.children[node]],
            1,
        )
        for node in net.topology.inner
    }


def activation_covariance(
    world: ExactTree, node: int, child_vector: Float[Tensor, "S fan"]
) -> Float[Tensor, "S fan fan"]:
    """Return V_{z_0}[E[f_{N_μ^ch} | z_0]] = ρ_{0μ}² (1 − ρ_0²) a_μ a_μᵀ (T8)."""
    size = world.path_polarities[:, node] ** 2 * (1.0 - world.root_polarity**2)
    return torch.einsum("s,si,sj->sij", size, child_vector, child_vector)


def pre_activation_gap(
    weight: Float[Tensor, "S width fan"], child_vector: Float[Tensor, "S fan"]
) -> Float[Tensor, "S width"]:
    """Return E[f̃_j | z_μ=1] − E[f̃_j | z_μ=0] = 2 w_jᵀ a_μ (T8)."""
    return 2.0 * torch.einsum("sij,sj->si", weight, child_vector)


class LevelState(NamedTuple):
    """What the dynamics of one level depends on while J_μ and a_μ are frozen."""

    jacobian: Float[Tensor, "S nodes n_L width"]
    """J_μ, the same for all samples."""
    weight: Float[Tensor, "S nodes width fan"]
    """W_μ."""
    child_vector: Float[Tensor, "S nodes fan"]
    """a_μ."""
    path_polarity: Float[Tensor, "S nodes"]
    """ρ_{0μ}."""
    root_polarity: Float[Tensor, " S"]
    """ρ_0."""

    def shares(self) -> Float[Tensor, "S nodes n_L"]:
        """Return g_μ = 2 ρ_{0μ} J_μ W_μ a_μ, what each node contributes to the gap of the output."""
        pull = torch.einsum("smoi,smij,smj->smo", self.jacobian, self.weight, self.child_vector)
        return 2.0 * self.path_polarity.unsqueeze(-1) * pull

    def output_gap(self) -> Float[Tensor, "S n_L"]:
        """Return E[f_L | z_0=1] − E[f_L | z_0=0] = Σ_μ g_μ, where all leaves lie below the level."""
        return self.shares().sum(1)

    def gap_vector(self) -> Float[Tensor, "S neurons"]:
        """Return u = [W_μ a_μ/‖a_μ‖], all nodes side by side; the gaps of the neurons are 2‖a_μ‖ u_μ."""
        return torch.einsum("smij,smj->smi", self.weight, self._direction()).flatten(1)

    def gap_to_output(self) -> Float[Tensor, "S n_L neurons"]:
        """Return B = [ρ_{0μ} ‖a_μ‖ J_μ], all nodes side by side, with which the output's gap is 2Bu."""
        length = self.path_polarity * self.child_vector.norm(dim=-1)
        return torch.einsum("sm,smoi->somi", length, self.jacobian).flatten(2)

    def update(self) -> Float[Tensor, "S nodes width fan"]:
        """Return (1−ρ_0²) ρ_{0μ} J_μᵀ [Σ_μ' ρ_{0μ'} J_μ' W_μ' a_μ'] a_μᵀ: one branch, simple loss (T9)."""
        strength = 0.5 * (1.0 - self.root_polarity**2).unsqueeze(1) * self.path_polarity
        return torch.einsum(
            "sm,smoi,so,smj->smij", strength, self.jacobian, self.output_gap(), self.child_vector
        )

    def own_update(self) -> Float[Tensor, "S nodes width fan"]:
        """Return ρ_{0μ}² (1−ρ_0²) J_μᵀ J_μ W_μ a_μ a_μᵀ: the node's own operator, the others left out."""
        strength = 0.5 * (1.0 - self.root_polarity**2).unsqueeze(1) * self.path_polarity
        return torch.einsum(
            "sm,smoi,smo,smj->smij", strength, self.jacobian, self.shares(), self.child_vector
        )

    def flow(self, times: Sequence[float]) -> Float[Tensor, "times S nodes width fan"]:
        """Return W_μ(t) of the flow dW_μ/dt = `update`, J_μ and a_μ frozen, in closed form.

        Only the direction a_μ of W_μ moves. With u_μ = W_μ a_μ/‖a_μ‖ and B = [ρ_{0μ} ‖a_μ‖ J_μ], all nodes
        side by side, du/dt = (1−ρ_0²) BᵀB u: the joint vector grows along the top eigenvectors of BᵀB.

        Args:
            times: In units of the step size; any signs.

        Returns:
            The weights at these times.
        """
        block = self.gap_to_output()
        rate, vectors = torch.linalg.eigh((1.0 - self.root_polarity**2).view(-1, 1, 1) * block.mT @ block)
        moments = torch.as_tensor(times, dtype=rate.dtype, device=rate.device).view(-1, 1, 1)
        growth = torch.expm1(rate * moments) * torch.einsum("sij,si->sj", vectors, self.gap_vector())
        moved = torch.einsum("sij,tsj->tsi", vectors, growth).view(len(moments), *self.weight.shape[:3])
        return self.weight + torch.einsum("tsmi,smj->tsmij", moved, self._direction())

    def own_flow(self, times: Sequence[float]) -> Float[Tensor, "times S nodes width fan"]:
        """Return W_μ(t) of the flow dW_μ/dt = `own_update`, every node as if it were alone; as `flow`."""
        nodes = self.weight.shape[1]
        parts = {name: getattr(self, name).flatten(0, 1).unsqueeze(1) for name in self._fields[:-1]}
        alone = self._replace(**parts, root_polarity=self.root_polarity.repeat_interleave(nodes))
        return alone.flow(times).view(-1, *self.weight.shape)

    def _direction(self) -> Tensor:
        length = self.child_vector.norm(dim=-1, keepdim=True)
        direction: Tensor = self.child_vector / length.clamp_min(torch.finfo(length.dtype).tiny)
        return direction


def level_state(net: TreeNetwork, world: ExactTree, level: int, gates: Trace | None = None) -> LevelState:
    """Gather J_μ, W_μ, a_μ and ρ_{0μ} of one level of a network whose nodes there have one size.

    Args:
        net: The networks, without normalised top.
        world: The exact tree.
        level: 0 for the root's level, then downwards.
        gates: A pass with a single input, batch 1, whose gates give J_μ; None for gates that do not depend on
            the picture because all weights into a neuron have one sign, that of their sum.

    Returns:
        The state, detached from the network.

    Raises:
        ValueError: If the nodes of the level differ in neurons or inputs.
    """
    nodes, widths, fans = net.levels[level].nodes, net.levels[level].widths, net.levels[level].fans
    if len(set(widths)) > 1 or len(set(fans)) > 1:
        raise ValueError(f"level must have nodes of one size, got neurons {widths} and inputs {fans}")
    with torch.no_grad():
        trace = net.trace(world.pixels)
        a = child_vectors(net, world, selectivities(net, world, trace))
        columns = net.jacobians(gates or _by_signs(net, trace))[level]
    return LevelState(
        jacobian=columns[..., 0].mT.reshape(world.seeds, len(nodes), -1, widths[0]),
        weight=torch.stack([net.weight(node).detach() for node in nodes], 1),
        child_vector=torch.stack([a[node] for node in nodes], 1),
        path_polarity=world.path_polarities[:, list(nodes)],
        root_polarity=world.root_polarity,
    )


def _by_signs(net: TreeNetwork, trace: Trace) -> Trace:
    return trace._replace(pre_activations=[weight.sum(-1, keepdim=True) for weight in net.weights])
