"""Networks shaped like a latent tree, for an ensemble of seeds at once (T8).

Every inner node μ holds a set N_μ of neurons that read the neurons of μ's children, a leaf being one neuron
that holds its pixel:

    f̃_μ = W_μ f_{N_μ^ch} (+ b_μ),    f_μ = ReLU(f̃_μ) below the root,    f_L = f̃_0 at the root.

Tensors have the seeds first and the batch last. A level is one array (seeds·nodes, neurons, batch): putting
the children of a node side by side is then a reshape, and all nodes and seeds of a level are one batched
matrix product. Where nodes of a level differ in size they are padded by zeros, which stay zeros. A node
above few binary pixels sees few patterns, so that a large batch is worked out there pattern by pattern.

Source: Tian, Yu, Chen and Ganguli, arXiv:2010.00578, on networks for the hierarchical latent tree model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_theory.hltm.model import LatentModel
from ssl_theory.hltm.patterns import all_patterns, pattern_codes, pattern_level
from ssl_theory.hltm.topology import Topology
from ssl_theory.hltm.wiring import Level, check_widths, wire
from ssl_theory.validation import (
    require_device,
    require_dtype,
    require_finite,
    require_float_tensor,
    require_generator,
    require_integer,
    require_rank,
    require_real,
    require_same_device,
    require_same_kind,
)

__all__ = [
    "Trace",
    "TreeNetwork",
]

_EPSILON = 1e-12  # norms below it are replaced by it where the top is normalised

Init = Literal["uniform", "standard"]


class Trace(NamedTuple):
    """One pass through the network, level by level, the root's first."""

    inputs: list[Float[Tensor, "_ _ _"]]
    """What the nodes read, f_{N_μ^ch}: (S·nodes, inputs, batch)."""
    pre_activations: list[Float[Tensor, "_ _ _"]]
    """f̃_μ: (S·nodes, neurons, batch)."""
    output: Float[Tensor, "S n_L batch"]
    """f_L, normalised if the network normalises."""


class TreeNetwork(nn.Module):
    """S networks of one tree's shape, each with weights of its own.

    Args:
        tree: The tree, or its list of parents.
        weights: W_μ of every inner node, shape (S, |N_μ|, number of neurons of its children), children in
            ascending order; a leaf counts as one neuron. They are copied into one parameter per level.
        biases: None, the setting of the theory, or b_μ of every inner node, shape (S, |N_μ|).
        normalise: Whether f_L is divided by its Euclidean norm (by 1e-12 if that is larger).

    Raises:
        TypeError: If a weight is no float tensor or the dtypes differ.
        ValueError: If the tree has no inner node, the weights or biases are not those of its inner nodes, a
            shape is wrong, a number of neurons is 0, or an entry is not finite.
    """

    topology: Topology
    levels: tuple[Level, ...]
    weights: nn.ParameterList
    biases: nn.ParameterList | None
    normalise: bool

    def __init__(
        self,
        tree: LatentModel | Topology | Sequence[int],
        weights: Mapping[int, Tensor],
        biases: Mapping[int, Tensor] | None = None,
        *,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        self.topology = _topology(tree)
        self.seeds = _check_weights(self.topology, weights, biases)
        self.levels = wire(self.topology, {node: w.shape[1] for node, w in weights.items()})
        self.normalise = normalise
        self.weights = nn.ParameterList([_pack(level, weights, level.fan) for level in self.levels])
        self.biases = None
        if biases is not None:
            columns = {node: b.unsqueeze(-1) for node, b in biases.items()}
            self.biases = nn.ParameterList([_pack(level, columns, 1) for level in self.levels])

    @classmethod
    def random(
        cls,
        tree: LatentModel | Topology | Sequence[int],
        widths: int | Mapping[int, int],
        *,
        seeds: int = 1,
        init: Init = "uniform",
        scale: float = 1.0,
        bias: bool = False,
        normalise: bool = False,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> TreeNetwork:
        """Draw independent networks.

        Args:
            tree: The tree, or its list of parents.
            widths: |N_μ|, one number for all inner nodes or one for each of them.
            seeds: S, how many networks.
            init: "uniform" draws weights from Uniform[±σ_w√(3/fan-in)] with biases 0, as in T10;
                "standard" draws weights and biases from Uniform[±1/√fan-in], as torch's Linear does.
            scale: σ_w > 0; the weights of "uniform" have the variance σ_w²/fan-in.
            bias: Whether there are biases.
            normalise: Whether f_L is divided by its norm.
            generator: Source of randomness; numbers are drawn on its device.
            dtype: float32 or float64.
            device: Where the parameters end up; None for the generator's device.

        Returns:
            The networks.

        Raises:
            TypeError: If an argument is of another type.
            ValueError: If a width or `seeds` is not positive, the scale is not positive and finite, `init` is
                unknown, the device is not there, or the tree has no inner node.
        """
        topology = _topology(tree)
        sizes = check_widths(topology, widths)
        seeds = require_integer("seeds", seeds, 1)
        scale = require_real("scale", scale, above=0.0)
        require_generator("generator", generator)
        require_dtype("dtype", dtype)
        place = generator.device if device is None else require_device("device", device)
        if init not in ("uniform", "standard"):
            raise ValueError(f"init must be 'uniform' or 'standard', got {init!r}")
        weights, biases = {}, {}

        def draw(bound: float, *shape: int) -> Tensor:
            uniform = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
            return ((2.0 * uniform - 1.0) * bound).to(place)

        for node in topology.inner:
            fan = sum(sizes.get(child, 1) for child in topology.children[node])
            bound = scale * (3.0 / fan) ** 0.5 if init == "uniform" else fan**-0.5
            weights[node] = draw(bound, seeds, sizes[node], fan)
            biases[node] = draw(0.0 if init == "uniform" else bound, seeds, sizes[node])
        return cls(topology, weights, biases if bias else None, normalise=normalise)

    @classmethod
    def joined(cls, networks: Sequence[TreeNetwork]) -> TreeNetwork:
        """Return one ensemble of all networks, in their order, with copies of their weights.

        Args:
            networks: At least one; all of one tree, with the same numbers of neurons, alike in having biases
                and in normalising.

        Returns:
            The ensemble.

        Raises:
            ValueError: If there is no network, or they differ in more than their weights.
        """
        if not networks:
            raise ValueError("networks must hold at least one network, got none")
        first = networks[0]
        for index, net in enumerate(networks):
            if net._kind() != first._kind():
                raise ValueError(
                    f"networks[{index}] must be like networks[0] in tree, neurons, biases and normalisation, "
                    f"got {net._kind()} and {first._kind()}"
                )

        nodes = first.topology.inner
        weights = {node: torch.cat([net.weight(node) for net in networks]) for node in nodes}
        biases = None
        if first.biases is not None:
            biases = {node: torch.cat([net.bias(node) for net in networks]) for node in nodes}
        return cls(first.topology, weights, biases, normalise=first.normalise)

    def _kind(self) -> tuple[object, ...]:
        sizes = tuple(level.widths for level in self.levels)
        return self.topology.parents, sizes, self.biases is not None, self.normalise

    def forward(
        self, leaves: Float[Tensor, "S leaves batch"] | Bool[Tensor, "S leaves batch"]
    ) -> Float[Tensor, "S n_L batch"]:
        """Return f_L.

        Args:
            leaves: Pixels, in the order of `topology.leaves`, shape (S, leaves, batch), on the weights'
                device and of their dtype. Binary pixels may be bool, which is faster: a pattern that many
                columns share is worked out once.

        Returns:
            The neurons of the root, shape (S, |N_0|, batch).

        Raises:
            TypeError: If the pixels are neither bool nor of the weights' dtype.
            ValueError: If their shape or device is wrong.
        """
        self._check_leaves(leaves)
        if leaves.dtype == torch.bool:
            index, count = pattern_level(self.levels, *leaves.shape)
            if count:
                return self._top(self._ascend(self._looked_up(leaves, index, count), index, 0, leaves))
            leaves = leaves.to(self.weights[0].dtype)
        return self._top(self._ascend(*self._lowest(leaves), 0, leaves))

    def _lowest(self, leaves: Tensor) -> tuple[Tensor, int]:
        """Return f̃ of the last level, and which it is."""
        last = len(self.levels) - 1
        return self._combine(last, self._read(self.levels[last], None, leaves)), last

    def _ascend(self, pre_activation: Tensor, start: int, end: int, leaves: Tensor) -> Tensor:
        """Return f̃ of the level `end`, given that of the level `start`, which is overwritten."""
        for index in reversed(range(end, start)):
            inputs = self._read(self.levels[index], pre_activation.relu_(), leaves)
            pre_activation = self._combine(index, inputs)
        return pre_activation

    def _looked_up(self, leaves: Bool[Tensor, "S leaves batch"], index: int, count: int) -> Tensor:
        """Return f̃ of a level whose nodes' children have `count` leaves below them each.

        What a child adds to f̃_μ is worked out for each pattern of its leaves, then looked up.
        """
        below, weight = self.levels[index + 1], self.weights[index]
        (nodes, neurons), children = weight.shape[:2], len(below.nodes) // len(self.levels[index].nodes)
        patterns = all_patterns(count, len(below.nodes), weight.dtype, leaves.device)
        patterns = patterns.expand(self.seeds, -1, -1)
        values = self._ascend(*self._lowest(patterns), index + 1, patterns).relu_()
        parts = weight.view(nodes, neurons, children, below.width).transpose(1, 2).flatten(0, 1)
        tables = torch.bmm(parts, values).view(nodes, children, neurons, -1).unbind(1)
        codes = pattern_codes(leaves, count).view(nodes, children, 1, -1).expand(-1, -1, neurons, -1)
        total, *others = (t.gather(2, c) for t, c in zip(tables, codes.unbind(1), strict=True))
        for other in others:
            total += other
        return total if self.biases is None else total.add_(self.biases[index])

    def trace(self, leaves: Float[Tensor, "S leaves batch"]) -> Trace:
        """Return what every node reads and computes; arguments and errors as in `forward`."""
        self._check_leaves(leaves)
        inputs: list[Tensor] = []
        stack: list[Tensor] = []
        for index in reversed(range(len(self.levels))):
            below = torch.relu(stack[-1]) if stack else None
            inputs.append(self._read(self.levels[index], below, leaves))
            stack.append(self._combine(index, inputs[-1]))
        return Trace(inputs[::-1], stack[::-1], self._top(stack[-1]))

    def jacobians(self, trace: Trace) -> list[Float[Tensor, "_ _ _ _"]]:
        """Return J_μᵀ = (∂f_L/∂f̃_μ)ᵀ of every node, gate of the node included, in one pass downwards.

        Args:
            trace: A pass through this network.

        Returns:
            One tensor per level, the root's first, shape (S·nodes, neurons, n_L, batch).
        """
        result = [self._top_jacobian(trace)]
        for index, level in enumerate(self.levels[:-1]):
            back = torch.bmm(self.weights[index].mT, result[-1].flatten(2))
            rows = self._write_back(level, back)
            pre = trace.pre_activations[index + 1]
            gate = (pre > 0).to(pre.dtype).unsqueeze(2)
            result.append(rows.reshape(*pre.shape[:2], result[0].shape[2], pre.shape[-1]).mul_(gate))
        return result

    def weight(self, node: int) -> Float[Tensor, "S width fan"]:
        """Return W_μ, shape (S, |N_μ|, fan-in), a view; ValueError if μ is no inner node."""
        level, place = self._place(node)
        return self.of_node(list(self.weights), node)[..., : self.levels[level].fans[place]]

    def bias(self, node: int) -> Float[Tensor, "S width"]:
        """Return b_μ, shape (S, |N_μ|), a view; ValueError if μ is no inner node or there are no biases."""
        if self.biases is None:
            raise ValueError("the network must have biases, it was made without")
        return self.of_node(list(self.biases), node).squeeze(-1)

    def of_node(self, levels: Sequence[Tensor], node: int) -> Tensor:
        """Return one node's part of per-level tensors (S·nodes, neurons, …) as (S, |N_μ|, …), a view.

        Args:
            levels: Per level, such as `trace(...).pre_activations` or what `jacobians` returns.
            node: μ.

        Returns:
            The node's part without padded neurons.

        Raises:
            TypeError: If the node is not an integer.
            ValueError: If μ is no inner node.
        """
        index, place = self._place(node)
        blocks = levels[index].view(self.seeds, -1, *levels[index].shape[1:])
        return blocks[:, place, : self.levels[index].widths[place]]

    def _place(self, node: int) -> tuple[int, int]:
        node = self.topology.check_node("node", node)
        for index, level in enumerate(self.levels):
            if node in level.nodes:
                return index, level.nodes.index(node)
        raise ValueError(f"node must be an inner node, one of {self.topology.inner}, got {node}")

    def _combine(self, index: int, inputs: Tensor) -> Tensor:
        if self.biases is None:
            return torch.bmm(self.weights[index], inputs)
        return torch.baddbmm(self.biases[index], self.weights[index], inputs)

    def _top(self, pre_activation: Tensor) -> Tensor:
        if not self.normalise:
            return pre_activation
        return pre_activation / _norm(pre_activation)

    def _read(self, level: Level, below: Tensor | None, leaves: Tensor) -> Tensor:
        rows = leaves[:, level.leaf_rows]
        if below is not None:
            neurons = below.reshape(self.seeds, level.neurons_below, below.shape[-1])
            rows = torch.cat([neurons, rows], 1) if rows.shape[1] else neurons
        if level.gather is not None:
            rows = F.pad(rows, (0, 0, 0, 1))[:, level.gather]
        return rows.reshape(self.seeds * len(level.nodes), level.fan, rows.shape[-1])

    def _write_back(self, level: Level, read: Tensor) -> Tensor:
        """Return the transpose of `_read` for the neurons: (S·nodes, fan, b) to (S, neurons below, b)."""
        rows = read.reshape(self.seeds, len(level.nodes) * level.fan, read.shape[-1])
        if level.gather is None:
            return rows[:, : level.neurons_below]
        total = max(level.neurons_below, *(row + 1 for row in level.gather))
        index = torch.tensor(level.gather, device=rows.device)
        return rows.new_zeros(self.seeds, total, rows.shape[-1]).index_add(1, index, rows)[
            :, : level.neurons_below
        ]

    def _top_jacobian(self, trace: Trace) -> Tensor:
        """Return the root's J: the identity, or P⊥/‖f‖ where the top is normalised."""
        top = trace.pre_activations[0]
        eye = torch.eye(top.shape[1], dtype=top.dtype, device=top.device).unsqueeze(-1)
        if not self.normalise:
            return eye.expand(self.seeds, *eye.shape[:2], top.shape[-1])
        norm = _norm(top).unsqueeze(1)
        unit = torch.where(norm > _EPSILON, trace.output.unsqueeze(2), 0.0)
        jacobian: Tensor = (eye - unit * unit.transpose(1, 2)) / norm
        return jacobian

    def _check_leaves(self, leaves: Tensor) -> None:
        if isinstance(leaves, Tensor) and leaves.dtype == torch.bool:
            require_same_device("leaves", leaves, "the weights", self.weights[0])
        else:
            require_float_tensor("leaves", leaves)
            require_same_kind("leaves", leaves, "the weights", self.weights[0])
        expected = (self.seeds, len(self.topology.leaves))
        if leaves.ndim != 3 or leaves.shape[:2] != expected:
            raise ValueError(
                f"leaves must have shape (S = {expected[0]}, leaves = {expected[1]}, batch), "
                f"got {tuple(leaves.shape)}"
            )


def _norm(values: Tensor) -> Tensor:
    """Return Euclidean norms along dimension 1, at least `_EPSILON`; vector_norm is slow there."""
    return values.square().sum(1, keepdim=True).clamp_min(_EPSILON**2).sqrt()


def _topology(tree: LatentModel | Topology | Sequence[int]) -> Topology:
    if isinstance(tree, Topology):
        return tree
    return tree.topology if isinstance(tree, LatentModel) else Topology(tree)


def _pack(level: Level, blocks: Mapping[int, Tensor], columns: int) -> nn.Parameter:
    """Return the nodes' blocks (S, rows, columns) as one padded parameter (S·nodes, rows, columns)."""
    padded = [
        F.pad(
            blocks[node].detach(),
            (0, columns - blocks[node].shape[2], 0, level.width - blocks[node].shape[1]),
        )
        for node in level.nodes
    ]
    return nn.Parameter(torch.stack(padded, 1).flatten(0, 1).clone())


def _check_weights(
    topology: Topology, weights: Mapping[int, Tensor], biases: Mapping[int, Tensor] | None
) -> int:
    """Return the number of seeds, after checking all weights and biases."""
    for name, blocks in (("weights", weights), ("biases", biases)):
        if blocks is not None and set(blocks) != set(topology.inner):
            raise ValueError(f"{name} must name the inner nodes {topology.inner}, got {tuple(blocks)}")
    if not topology.inner:
        raise ValueError("tree must have a node with children to be given neurons, got a single root")
    first = require_float_tensor("weights[0]", weights[0])
    for node in topology.inner:
        name, weight = f"weights[{node}]", weights[node]
        require_float_tensor(name, weight)
        require_rank(name, weight, 3, "(S, neurons, fan-in)")
        require_same_kind(name, weight, "weights[0]", first)
        fan = sum(weights[c].shape[1] if c in weights else 1 for c in topology.children[node])
        if weight.shape[0] != first.shape[0] or weight.shape[2] != fan or 0 in weight.shape:
            raise ValueError(
                f"{name} must have shape (S = {first.shape[0]}, neurons ≥ 1, fan-in = {fan}), "
                f"got {tuple(weight.shape)}"
            )
        require_finite(name, weight)
        if biases is not None:
            require_float_tensor(f"biases[{node}]", biases[node])
            require_same_kind(f"biases[{node}]", biases[node], "weights[0]", first)
            if biases[node].shape != weight.shape[:2]:
                raise ValueError(
                    f"biases[{node}] must have shape {tuple(weight.shape[:2])}, "
                    f"got {tuple(biases[node].shape)}"
                )
            require_finite(f"biases[{node}]", biases[node])
    return first.shape[0]
