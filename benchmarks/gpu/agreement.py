"""Does a GPU compute what the CPU computes? The same numbers go to both; draws are made on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.gpu.report import Report, distance
from benchmarks.gpu.setting import Setting
from ssl_theory.experiments.trees import TreeExperiment, ensemble_loss, run
from ssl_theory.hltm import (
    Topology,
    TreeEnsemble,
    TreeNetwork,
    best_correlations,
    node_operators,
    sample_contrast,
)
from ssl_theory.images import ConvEncoder, DigitViews, Projector, ResNet, SimCLRViews
from ssl_theory.images.randomness import drawing_from
from ssl_theory.losses import (
    InfoNCE,
    SimpleContrastive,
    SoftTriplet,
    covariance_loss,
    nt_xent,
    two_view_covariance_loss,
)
from ssl_theory.networks import ReLUNetwork
from ssl_theory.operators import operator
from ssl_theory.training import fit
from ssl_theory.views import gaussian_views

SEED = 0
DOUBLE, SINGLE = 1e-11, 2e-5  # bounds of relative errors: float64 on both sides, float32 against float64


def measure(setting: Setting, report: Report) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    for part in (operators, losses, tree_step, encoder_step, augmentations, tree_graph, encoder_graph):
        with report.guarded(part.__name__):
            part(setting, report)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


Results = Sequence[Tensor]


def both(setting: Setting, function: Callable[..., Results], *tensors: Tensor) -> float:
    """Return the largest distance of a result on the GPU from the one on the CPU."""
    return largest(function(*(t.to(setting.device) for t in tensors)), function(*tensors))


def largest(found: Results, known: Results) -> float:
    return max(distance(one, two) for one, two in zip(found, known, strict=True))


def operators(setting: Setting, report: Report) -> None:
    """Products, matrices and spectra of a layer's operators, for the book's networks and for a module."""
    g = generator()
    centres = torch.randn(*setting.pick((24, 32), (4, 8)), generator=g, dtype=torch.float64)
    net = ReLUNetwork.random([centres.shape[1], 48, 32, 10], generator=g)
    views = gaussian_views(centres, 8, 0.3, generator=g)
    there = ReLUNetwork([w.to(setting.device) for w in net.weights])
    vectors = torch.randn(48 * 32, 3, generator=g, dtype=torch.float64)
    loss = InfoNCE(0.5)
    for part in ("exact", "leading", "between", "within"):
        one, two = (
            operator(n, x, 2, part=part, loss=loss)
            for n, x in ((net, views), (there, views.to(setting.device)))
        )
        name = f"float64 operator, {part}"
        report.at_most(f"{name}: product", distance(two @ vectors.to(setting.device), one @ vectors), DOUBLE)
        report.at_most(f"{name}: spectrum", distance(two.spectrum(), one.spectrum()), DOUBLE)
        report.at_most(f"{name}: top 5", distance(two.top(5).values, one.top(5).values), 1e-9)
    with drawing_from(g):
        encoder = ConvEncoder((8, 16, 16), 3).double()
    images = torch.rand(6, 4, 3, 16, 16, generator=g, dtype=torch.float64)
    vector = torch.randn(16 * 8 * 9, generator=g, dtype=torch.float64)

    def product(x: Tensor, v: Tensor) -> Results:
        return [operator(encoder.to(x.device), x, "layers.1.0", part="between", mode="batch") @ v]

    report.at_most(
        "float64 operator of a convolution under BatchNorm", both(setting, product, images, vector), DOUBLE
    )


def losses(setting: Setting, report: Report) -> None:
    """Every loss and its gradient, in float64."""
    g = generator()
    outputs = torch.randn(2, setting.pick(256, 16), 64, generator=g, dtype=torch.float64)
    distances = torch.rand(65, 128, generator=g, dtype=torch.float64)
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        f"loss {type(kind).__name__}": partial(pairwise, kind)
        for kind in (InfoNCE(0.3), SimpleContrastive(), SoftTriplet(0.3, 0.1))
    }
    for name, function in kinds.items():
        report.at_most(
            f"float64 {name}: value and gradient", both(setting, with_gradient(function), distances), DOUBLE
        )
    for name, pair in (
        ("NT-Xent", partial(nt_xent, temperature=0.1)),
        ("covariance loss", partial(two_view_covariance_loss, loss=InfoNCE(0.3))),
        ("exact covariance loss", lambda a, b: covariance_loss(torch.stack([a, b], 1), InfoNCE(0.3))),
    ):
        function = with_gradient(lambda x, pair=pair: pair(x[0], x[1]))
        report.at_most(f"float64 {name}: value and gradient", both(setting, function, outputs), DOUBLE)
        report.at_most(
            f"float32 {name} without TF32 against float64",
            largest(function(outputs.float().to(setting.device)), function(outputs.float().double())),
            SINGLE,
        )


def pairwise(loss: InfoNCE | SimpleContrastive | SoftTriplet, r: Tensor) -> Tensor:
    return loss(r[0], r[1:].mT).mean()


def with_gradient(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Results]:
    """Return a function that returns a scalar function's value and its gradient."""

    def evaluated(x: Tensor) -> Results:
        x = x.detach().requires_grad_()
        value = function(x)
        return [value, *torch.autograd.grad(value, x)]

    return evaluated


def tree_step(setting: Setting, report: Report) -> None:
    """Some updates of tree networks on given batches, and what is measured of them, in float64."""
    g = generator()
    depth, seeds, batch = setting.pick((5, 8, 128), (3, 2, 64))
    trees = TreeEnsemble.regular(seeds, depth, polarity=(0.8, 1.0), generator=g)
    net = TreeNetwork.random(
        Topology.regular(depth, 2), 10, seeds=seeds, init="standard", bias=True, normalise=True, generator=g
    )
    leaves = list(trees.leaves)
    batches = [trees.triples(batch, generator=g, dtype=torch.uint8).states for _ in range(4)]
    states = trees.sample(256, generator=g).mT.double()
    state = {name: value.clone() for name, value in net.state_dict().items()}

    def trained(device: torch.device) -> Results:
        net.load_state_dict(state)
        net.to(device)
        optimizer, loss = torch.optim.SGD(net.parameters(), 0.1), ensemble_loss("infonce", 0.1)
        for drawn in batches:
            pixels = drawn.mT[:, leaves].bool().to(device)
            anchor, others = net(pixels).unflatten(-1, (3, batch)).split((1, 2), -2)
            r_pos, r_neg = ((others - anchor).square().sum(1) / 2).unbind(1)
            optimizer.zero_grad()
            loss(r_pos, r_neg).sum().backward()
            optimizer.step()
        there = states.to(device)
        shown = there[:, leaves]
        with torch.no_grad():
            found = best_correlations(net, net.trace(shown), there)
            contrast = sample_contrast(there[:, 0].long(), there.dtype)
            norms = node_operators(net, shown, contrast, trees.root_polarity.to(device), InfoNCE(0.1)).norms()
        return torch.cat([p.detach().flatten() for p in net.parameters()]), found, norms

    here, there = trained(torch.device("cpu")), trained(setting.device)
    for name, one, two in zip(("weights", "correlations", "norms of operators"), here, there, strict=True):
        report.at_most(f"float64 tree networks after 4 updates: {name}", distance(two, one), 1e-9)


def encoder_step(setting: Setting, report: Report) -> None:
    """A ResNet-18, its projector and NT-Xent: gradients in float64, float32 and bfloat16."""
    g = generator()
    blocks, count = setting.pick(((2, 2, 2, 2), 16), ((1, 1), 4))
    with drawing_from(g):
        encoder = ResNet(blocks)
        model = nn.Sequential(encoder, Projector(encoder.features, 512, 128)).double()
    images = torch.rand(2 * count, 3, 32, 32, generator=g, dtype=torch.float64)
    state = {name: value.clone() for name, value in model.state_dict().items()}

    def gradients(device: torch.device, dtype: torch.dtype, autocast: bool = False) -> Results:
        model.load_state_dict(state)
        model.to(device, dtype)
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            first, second = model(images.to(device, dtype)).chunk(2)
        loss = nt_xent(first.to(dtype), second.to(dtype), 0.5)
        found = torch.autograd.grad(loss, list(model.parameters()))
        return [loss, torch.cat([x.flatten() for x in found]).double().cpu()]

    known = gradients(torch.device("cpu"), torch.float64)
    found = gradients(setting.device, torch.float64)
    report.at_most("float64 ResNet-18: loss and gradient", largest(found, known), 1e-9)
    single = gradients(setting.device, torch.float32)
    here = gradients(torch.device("cpu"), torch.float32)
    report.number("float32 ResNet-18 on the CPU against float64", largest(here, known))
    report.number("float32 ResNet-18 without TF32 against float64", largest(single, known))
    ratio = largest(single, known) / largest(here, known)
    report.at_most("float32 ResNet-18 without TF32: its error over the CPU's", ratio, 10.0)
    half = gradients(setting.device, torch.float32, autocast=True)
    report.number("bfloat16 ResNet-18: relative error of the loss", distance(half[0], known[0]))
    report.number("bfloat16 ResNet-18: relative error of the gradient", distance(half[1], known[1]))


def augmentations(setting: Setting, report: Report) -> None:
    """Views drawn from one seed are the same on every device."""
    colours = torch.rand(setting.pick(64, 4), 3, 48, 48, generator=generator())
    digits = torch.rand(setting.pick(64, 4), 1, 8, 8, generator=generator())
    for name, images in (("SimCLR's views", colours), ("views of digits", digits)):
        moments = torch.full((2, images.shape[1]), 0.5)
        view = SimCLRViews(*moments, blur=0.5) if images.shape[1] == 3 else DigitViews(*moments)
        error = both(setting, lambda x, view=view: [view(x, generator=generator())], images)
        report.at_most(f"float32 {name} of one seed", error, SINGLE)


def tree_graph(setting: Setting, report: Report) -> None:
    """Training as one CUDA graph and one kernel after another, from the same random numbers."""
    experiment = TreeExperiment(
        depth=setting.pick(5, 2),
        seeds=setting.pick(4, 2),
        steps=setting.pick(50, 3),
        epochs=1,
        evaluation=256,
    )
    eager, graph = (
        run(experiment, device=setting.name, graph=graph and not setting.rehearsal) for graph in (False, True)
    )
    report.number("tree networks by a CUDA graph: equal bit for bit", bool(eager.equals(graph)))
    found, known = (torch.tensor(rows["correlation"].to_numpy()) for rows in (graph, eager))
    report.at_most("tree networks after 50 updates, CUDA graph against kernels", distance(found, known), 1e-4)


def encoder_graph(setting: Setting, report: Report) -> None:
    """The same for an encoder in float32."""
    g = generator()
    with drawing_from(g):
        encoder = ConvEncoder(in_channels=3)
        model = nn.Sequential(encoder, Projector(encoder.features, 128, 64)).to(setting.device)
    views = torch.rand(2 * setting.pick(64, 4), 3, 32, 32, generator=g).to(setting.device)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    weights = []
    for graph in (False, True):
        model.load_state_dict(state)
        fit(
            model,
            lambda _: nt_xent(*model(views).chunk(2), 0.5),
            steps=5,
            optimizer=partial(torch.optim.SGD, lr=0.1),
            graph=graph and not setting.rehearsal,
        )
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    report.at_most(
        "float32 encoder after 5 updates, CUDA graph against kernels", distance(weights[1], weights[0]), 1e-5
    )
