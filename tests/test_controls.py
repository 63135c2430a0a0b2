"""What the page's script computes, held against the library in double precision, and how controls move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page

from ssl_theory.controls import Beliefs, Lucky, Pulling, Ring, Strength, Vote
from ssl_theory.display import widgets
from ssl_theory.display.labels import formatted
from ssl_theory.display.scenes import Bars, Handle, Panel, Scene, Text, plain
from ssl_theory.flow import gradients
from ssl_theory.hltm import LatentTree, LevelState, Topology, augmentation_graph, exact_ceilings, lucky
from ssl_theory.losses import InfoNCE
from ssl_theory.networks import ReLUNetwork, vec
from ssl_theory.operators import covariance_operator, expected_loss
from ssl_theory.views import cyclic_translations, gaussian_views
from tests.browser import told
from tests.test_site import browser, found_wrong

__all__ = ["browser"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ASSETS = Path(__file__).parents[1] / "book" / "assets"
COMPUTE = (ASSETS / "compute.js").read_text(encoding="utf-8")
TOLERANCE = 1e-12

PICTURE = "([name, position, data]) => sslCompute.pictures[name](position, data)"
FORMULA = "([name, given]) => sslCompute.formulas[name](...given)"


def far(found: Any, expected: Any) -> float:
    """Return the largest error of numbers in some data, relative where they are large; infinite if texts or
    shapes differ."""
    if isinstance(expected, dict):
        return max((far(found[key], part) for key, part in expected.items()), default=0.0)
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return float("inf")
        size = max([1.0, *(abs(part) for part in expected if isinstance(part, (int, float)))])
        parts = zip(found, expected, strict=True)
        return max(
            (
                abs(one - other) / size
                if isinstance(one, (int, float)) and isinstance(other, (int, float))
                else far(one, other)
                for one, other in parts
            ),
            default=0.0,
        )
    if isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        return abs(found - expected) / max(1.0, abs(expected))
    return 0.0 if found == expected else float("inf")


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.set_content("<main></main>")
        yield page


@pytest.fixture
def page(blank: Page) -> Page:
    blank.evaluate(COMPUTE)
    return blank


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def state(seed: int) -> LevelState:
    """Return a level of random shares: six nodes, three neurons each, four outputs."""
    draws = generator(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draws, dtype=torch.float64)

    return LevelState(
        drawn(1, 6, 4, 3), drawn(1, 6, 3, 5), drawn(1, 6, 5), drawn(1, 6).tanh(), drawn(1).tanh() / 2
    )


def strength(seed: int) -> Strength:
    objects = normal(seed, 3, 4)
    noise = gaussian_views(0 * objects, 3, generator=generator(seed + 1))
    net = ReLUNetwork.random((4, 5, 3), generator=generator(seed + 2))
    return Strength(net, objects, noise, np.geomspace(0.05, 3, 6), np.geomspace(0.1, 3, 5))


def pulling(seed: int) -> Pulling:
    one, two = normal(seed, 4, 4), normal(seed + 1, 4, 4)
    return Pulling(
        one @ one.mT, two @ two.mT + 0.1 * torch.eye(4, dtype=torch.float64), normal(seed + 2, 3, 4)
    )


# Each picture with the positions at which it is compared.
CASES: dict[str, Callable[[np.random.Generator, int], tuple[Any, dict[str, Any]]]] = {
    "lucky": lambda draw, k: (
        Lucky(),
        {
            "fan": int(draw.integers(1, 40)) if k > 8 else k + 1,
            "neurons": int(10 ** draw.uniform(0, 4)),
            "threshold": float(draw.uniform(0, 5)),
        },
    ),
    "ring": lambda draw, k: (
        Ring(normal(k, 5 + k % 3), normal(k + 90, 5 + k % 3)),
        {"angle": float(draw.uniform(0, 360)), "steps": int(draw.integers(0, 150))},
    ),
    "beliefs": lambda draw, k: (
        Beliefs(Topology.regular(*((3, 2), (2, 2), (2, 3), (1, 2))[k % 4])),
        {
            "pixels": draw.integers(0, 2, (8, 4, 9, 2)[k % 4]).tolist(),
            "rho": float(draw.uniform(-0.95, 0.95)),
        },
    ),
    "strength": lambda draw, k: (
        strength(k),
        {"s": float(10 ** draw.uniform(-1.3, 0.5)), "tau": float(10 ** draw.uniform(-1, 0.5))},
    ),
    "vote": lambda draw, k: (
        Vote(state(k)),
        {
            "outputs": k % 4 + 1,
            "nodes": int(draw.integers(1, 7)),
            "law": ("coupled", "own")[k // 4 % 2],
            "time": float(draw.uniform(0, 3)),
        },
    ),
    "pulling": lambda draw, k: (pulling(k), {"beta": float(draw.uniform(0, 2))}),
}


def compared(page: Page, name: str, cases: int = 8) -> float:
    """Return the largest difference between what the page and the library show."""
    draw, errors = np.random.default_rng(0), []
    for k in range(cases):
        picture, position = CASES[name](draw, k)
        expected = {key: plain(value) for key, value in picture(**position).values.items()}
        known = {key: plain(value) for key, value in picture.data.items()}
        found = page.evaluate(PICTURE, [name, position, known])
        assert set(found) == set(expected), name
        condition = position.get("neurons", 1)  # what an error of p does to (1 − p)^M
        errors.append(max(far(found[key], expected[key]) for key in expected) / condition)
    return max(errors)


@pytest.mark.parametrize("name", CASES)
def test_the_page_shows_what_the_library_computes(page: Page, name: str):
    assert compared(page, name) < TOLERANCE


def test_every_picture_of_the_script_is_compared(page: Page):
    assert set(page.evaluate("Object.keys(sslCompute.pictures)")) == set(CASES)


def formula(page: Page, name: str, *given: Any) -> Any:
    return page.evaluate(FORMULA, [name, [plain(part) for part in given]])


def test_the_law_of_a_half_gap(page: Page):
    for fan in [*range(1, 13), 20, 40]:
        v = np.append(np.linspace(0, 6, 25), np.sqrt(3 * fan))
        expected = lucky.tail(torch.ones(fan, dtype=torch.float64), torch.from_numpy(v)).tolist()
        assert far([formula(page, "luckyTail", fan, point) for point in v.tolist()], expected) < TOLERANCE
    for p in (1e-9, 0.1, 0.9):
        assert formula(page, "neuronsEnough", p, 0.05) == lucky.neurons_enough(p, 0.05)
        assert far(formula(page, "noneLucky", p, 50), (1 - p) ** 50) < TOLERANCE
    assert formula(page, "noneLucky", 1.0, 3) == 0


def test_a_step_on_the_ring_is_a_step_of_descent(page: Page):
    for k in range(12):
        n = 4 + k % 5
        objects = torch.zeros(2, n, dtype=torch.float64)
        objects[0, [0, 1]] = objects[1, [0, 2]] = 1
        w, views = normal(k, 1, n), cyclic_translations(objects)
        (slope,) = gradients(
            lambda weights, views=views: expected_loss(
                ReLUNetwork([*weights, weights[0].new_ones(1, 1)]), views
            ),
            [w],
        )
        moved = w[0] - 0.4 * slope[0]
        assert far(formula(page, "ringStep", w[0], 0.4), (moved / moved.norm()).tolist()) < TOLERANCE


def test_beliefs_limits_and_the_eigenfunction(page: Page):
    draw = np.random.default_rng(1)
    for topology in (Topology.regular(2, 2), Topology.regular(2, 3), Topology([-1, 0, 0, 1, 1, 1, 2])):
        rho = [1.0, *draw.uniform(-0.95, 0.95, len(topology) - 1)]
        tree = LatentTree(topology.parents, rho)
        pixels = tree.enumerate_leaves()
        means = tree.belief_means(pixels)
        for pattern, expected in zip(pixels[::5].tolist(), means[::5].tolist(), strict=True):
            assert far(formula(page, "beliefMeans", topology.parents, rho, pattern), expected) < TOLERANCE
        graph = augmentation_graph(tree, [0])
        for pattern, expected in zip(pixels[::5].tolist(), graph.law[::5].tolist(), strict=True):
            assert far(formula(page, "patternLaw", topology.parents, rho, pattern), expected) < TOLERANCE
        found = formula(page, "beliefLimits", topology.parents, rho)
        values, functions = graph.eigenpairs()
        assert far(found["limits"], exact_ceilings(tree).value.tolist()) < TOLERANCE
        assert far(found["eigenvalue"], float(values[1])) < TOLERANCE
        sign = torch.sign(functions[0, 1]) * np.sign(found["eigenfunction"][0])
        assert far(found["eigenfunction"], (sign * functions[:, 1]).tolist()) < 1e-11  # of an SVD


def test_growth_is_the_form_of_every_layer(page: Page):
    for k in range(4):
        net = ReLUNetwork.random((3, 4, 3, 2), generator=generator(k))
        views = normal(k, 3, 1, 3) + 0.5 * normal(k + 50, 3, 3, 3)
        found = formula(page, "growth", net(views).detach(), 0.6)
        for layer, w in enumerate(net.weights, 1):
            form = vec(w) @ covariance_operator(net, views, layer, InfoNCE(0.6)) @ vec(w)
            assert far(found, float(form)) < TOLERANCE


def test_eigenvalues_of_symmetric_matrices(page: Page):
    half = normal(3, 5, 2)
    for matrix in (
        normal(1, 4, 4),
        half @ half.mT,
        torch.eye(3).double(),
        torch.diag(normal(2, 4)),
        normal(4, 1, 1),
    ):
        symmetric = matrix + matrix.mT
        found = formula(page, "symmetricEigen", symmetric)
        assert far(found["values"], torch.linalg.eigvalsh(symmetric).tolist()) < TOLERANCE
        vectors = torch.tensor(found["vectors"], dtype=torch.float64)
        rebuilt = vectors.mT @ torch.diag(torch.tensor(found["values"], dtype=torch.float64)) @ vectors
        assert far(rebuilt.tolist(), symmetric.tolist()) < TOLERANCE


def test_norms_of_a_linear_layer_under_its_flow(page: Page):
    picture = pulling(7)
    for factor in (0.0, 0.5, 1.5):
        form = picture.between - factor * picture.within
        found = formula(page, "normsUnder", formula(page, "pulled", picture.between, picture.within, factor),
                        picture.start, [0.0, 0.1, 0.3])  # fmt: skip
        paths = [picture.start @ torch.linalg.matrix_exp(2 * t * form) for t in (0.0, 0.1, 0.3)]
        sizes = torch.stack([path.square().sum() for path in paths])
        assert far(found, (sizes / sizes[0]).tolist()) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("lucky", "(2 * total) / factorial", "total / factorial"),
        ("lucky", "Math.sqrt(2 * Math.log(2 * neurons))", "Math.sqrt(2 * Math.log(neurons))"),
        ("ring", "0.5 * eta * gap * delta[k]", "eta * gap * delta[k]"),
        ("ring", "[[1, 1], [2, -1]]", "[[1, 1], [2, 1]]"),
        ("beliefs", "[(1 + rho) / 2, (1 - rho) / 2]", "[(1 + rho * rho) / 2, (1 - rho * rho) / 2]"),
        ("beliefs", "law * mean * mean", "mean * mean"),
        ("strength", "logistic(-(r - near) / tau) / tau", "logistic(-(r - near) / tau)"),
        ("strength", "Math.max(x, 0)", "x"),
        ("vote", "map((x) => 2 * x)", "map((x) => x + 1e-9)"),
        ("vote", "coupled ? integrated", "!coupled ? integrated"),
        ("pulling", "Math.exp(4 * t * values[k])", "Math.exp(2 * t * values[k])"),
        ("pulling", "x - beta * within[i][j]", "x - beta * within[i][i]"),
    ],
)
def test_a_wrong_formula_is_noticed(blank: Page, name: str, right: str, wrong: str):
    assert COMPUTE.count(right) == 1
    blank.evaluate(COMPUTE.replace(right, wrong))
    assert compared(blank, name, cases=4) > 1e-10


def test_numbers_are_written_as_in_python(blank: Page):
    blank.evaluate((ASSETS / "controls.js").read_text(encoding="utf-8"))
    draw = np.random.default_rng(0)
    for form in ("", ".2f", ".0f", ".3g", "g", ".1e", ".1%", "+.2f"):
        for value in [
            0.0,
            1.0,
            -2.0,
            1e-5,
            123456789.0,
            *(draw.normal(size=20) * 10 ** draw.uniform(-7, 7, 20)),
        ]:
            found = blank.evaluate("([value, form]) => sslScenes.format(value, form)", [float(value), form])
            assert found == formatted(float(value), form)
    assert blank.evaluate("sslScenes.format(-3, 'd')") == formatted(-3, "d") == "−3"


# How controls move


def drawn(height: float, kind: str) -> Scene:
    """Return a picture of bars, a text and a dot to be dragged up and down."""
    left = Panel(
        [Bars([0, 1], [height, 2.0], ["blue", "grey"], label="heights $h_1$"), Text([0], [5], [kind])]
    )
    right = Panel(
        [Handle([0.7, 1.3], list(range(7)), "kind", "height")], xlim=(0, 2), ylim=(0, 6), title="drag"
    )
    return Scene([left, right], height=150)


@pytest.fixture(scope="module")
def boxes() -> str:
    """Return a drawn and three computed controls as they stand in a page."""
    shown: list[str] = []
    with pytest.MonkeyPatch.context() as patch, mpl.rc_context({"backend": "agg"}):
        patch.setenv(widgets.STATIC_VARIABLE, "1")
        patch.setattr(widgets, "_show", shown.append)
        widgets.control(
            drawn,
            caption="Bars.",
            alt="height {height}, {kind}",
            height=range(7),
            kind=["a", "b"],
            start={"height": 3},
        )
        draw = np.random.default_rng(0)
        computed: dict[str, dict[str, Any]] = {
            "lucky": {"fan": range(1, 9), "neurons": [1, 10, 100], "threshold": np.linspace(0, 5, 26)},
            "beliefs": {
                "pixels": widgets.Toggles([0, 1, 1, 0, 1, 0, 0, 1]),
                "rho": [0.5, 0.6, 0.7, 0.8, 0.9],
            },
            "strength": {"s": np.geomspace(0.05, 3, 6), "tau": np.geomspace(0.1, 3, 5)},
        }
        for name, given in computed.items():
            picture, _ = CASES[name](draw, 0)
            fields = ", ".join(f"{axis} {{{axis}:.3g}}" for axis in given if axis != "pixels")
            alt = f"{name}: {fields}{', root {root:.3f}' * (name == 'beliefs')}"
            widgets.control(
                picture, caption="It computes.", alt=alt, compute=name, data=picture.data, **given
            )
    return "\n".join(shown)


def with_scripts(boxes: str) -> str:
    style, drawing = ((ASSETS / name).read_text(encoding="utf-8") for name in ("controls.css", "controls.js"))
    figures = "<style>figure { margin: 0 } figcaption { color: CanvasText }</style>"
    return f"{figures}<style>{style}</style>{boxes}<script>{COMPUTE}</script><script>{drawing}</script>"


FILLER = "<h1>A page</h1><p>" + "Some words to read. " * 300 + "</p>"


def test_controls_move_by_key_mouse_and_button_and_fit_a_phone(browser: Browser, boxes: str, tmp_path: Path):
    assert found_wrong(browser, tmp_path, FILLER + with_scripts(boxes)) == set()


def test_a_control_that_does_not_move_is_noticed(browser: Browser, boxes: str, tmp_path: Path):
    stuck = with_scripts(boxes).replace("place.replaceChildren(...drawn)", "place.append(...drawn)", 1)
    still = with_scripts(boxes).replace("1 - noneLucky(chance, neurons)", "NaN.x.y")
    assert "every slider moves its picture" in found_wrong(browser, tmp_path, FILLER + stuck.replace(
        'box.addEventListener("input", show)', ""))  # fmt: skip
    assert "no error in the console" in found_wrong(browser, tmp_path, FILLER + still)


@pytest.fixture
def opened(browser: Browser, boxes: str, tmp_path: Path) -> Iterator[Page]:
    """Yield the controls in a page opened from the file system, without network."""
    path = tmp_path / "page.html"
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><main>{with_scripts(boxes)}</main></html>',
        encoding="utf-8",
    )
    with browser.new_context(offline=True, viewport={"width": 900, "height": 1600}) as context:
        page = context.new_page()
        page.goto(path.as_uri())
        yield page


def test_dragging_moves_the_inputs(opened: Page):
    box = opened.locator(".ssl-control").first
    panel = box.locator(".ssl-scene svg").nth(1)
    for share in (0.3, 0.95):  # across a new drawing of the panel
        grip = panel.locator(".ssl-grip").last.bounding_box()
        place = panel.bounding_box()
        assert grip is not None
        assert place is not None
        opened.mouse.move(grip["x"] + 5, grip["y"] + 5)
        opened.mouse.down()
        for step in (0.5, share):
            opened.mouse.move(place["x"] + place["width"] / 2, place["y"] + step * place["height"])
        opened.mouse.up()
        height = int(box.locator("input[type=range]").input_value())
        assert height >= 4 if share < 0.5 else height == 0
        assert told(box) == f"height {height}, a"
    opened.mouse.move(0, 0)
    assert int(box.locator("input[type=range]").input_value()) == 0


def test_a_pixel_is_flipped_in_the_picture(opened: Page):
    box = opened.locator(".ssl-control").nth(2)
    before, switch = told(box), box.locator("input[type=checkbox]").nth(3)
    box.locator(".ssl-click").nth(3).click()
    assert switch.is_checked()
    assert told(box) != before
    switch.press("Space")
    assert told(box) == before


def test_what_a_control_shows_is_read_aloud_after_a_move(opened: Page):
    box = opened.locator(".ssl-control").first
    assert box.locator("[role=status]").inner_text() == ""
    box.locator("input[type=range]").press("ArrowRight")
    opened.wait_for_function("document.querySelector('.ssl-control [role=status]').textContent !== ''")
    assert box.locator("[role=status]").inner_text() == told(box) == "height 4, a"


def test_the_start_of_the_page_is_that_of_the_library(opened: Page):
    started = opened.evaluate("""() => [...document.querySelectorAll(".ssl-control")]
      .map((box) => box.sslControl).filter(({data}) => data.compute).map(({data, position}) =>
        [sslCompute.pictures[data.compute](position(), data.data), data.values])""")
    assert len(started) == 3
    for found, expected in started:
        assert far({name: found[name] for name in expected}, expected) < TOLERANCE


def test_panels_stand_side_by_side_where_there_is_room(opened: Page):
    panels = opened.locator(".ssl-control").first.locator(".ssl-scene svg")
    wide = [panel.bounding_box() for panel in panels.all()]
    opened.set_viewport_size({"width": 390, "height": 800})
    opened.wait_for_timeout(200)
    narrow = [panel.bounding_box() for panel in panels.all()]
    assert [box["y"] for box in wide if box] == [wide[0]["y"]] * 2  # type: ignore[index]
    assert narrow[0]["y"] + narrow[0]["height"] <= narrow[1]["y"]  # type: ignore[index]
    assert all(box["x"] + box["width"] <= 390 for box in narrow if box)


def test_without_scripts_a_still_is_shown(browser: Browser, boxes: str):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.set_content(boxes)
        stills = page.locator(".ssl-control img").all()
        assert [bool(still.is_visible()) for still in stills] == [True] * 4
        assert stills[0].get_attribute("alt") == "height 3, a"
        assert not page.locator(".ssl-control input").first.is_visible()
