from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from torch import Tensor

from ssl_theory.images import DigitViews, SimCLRViews, drawing_from, load_images, two_views

ZERO, ONE = torch.zeros(1), torch.ones(1)
GREY_WEIGHTS = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
NOTHING = {"crop": 0.0, "flip": 0.0, "colour": 0.0, "grey": 0.0, "blur": 0.0}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def raw_digit_views(**options: float) -> DigitViews:
    """Return views with a mean of 0 and, for 8 × 8 on 16 × 16, a deviation of ½, which is easily undone."""
    return DigitViews(ZERO, ONE, **options)


def simclr(**options: float) -> SimCLRViews:
    return SimCLRViews(torch.zeros(3), torch.ones(3), **{**NOTHING, **options})


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return load_images("digits", "test").images


@pytest.fixture
def colours(generator: torch.Generator) -> Tensor:
    return torch.rand(64, 3, 32, 32, generator=generator)


def pose_by_hand(
    draws: np.ndarray, height: int, width: int, view: DigitViews
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix and the shift that carry the pixels of a digit to the canvas, both from centres."""
    turn, grow, right, down = draws
    angle, factor = 0.25 * turn, 1 + 0.15 * grow
    matrix = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[sx * (width - 1) / 2, sy * (height - 1) / 2] for sx in (-1, 1) for sy in (-1, 1)])
    reach = np.abs(corners @ matrix.T).max(0)
    room = np.clip((view.size - 1) / 2 - reach, 0, view.size / 4)
    return matrix, room * np.array([right, down])


def place_by_hand(image: np.ndarray, draws: np.ndarray, view: DigitViews) -> np.ndarray:
    """Return the canvas, asking for each pixel where on the digit it lies; scipy interpolates."""
    height, width = image.shape
    matrix, shift = pose_by_hand(draws, height, width, view)
    canvas = np.zeros((view.size, view.size))
    for row in range(view.size):
        for column in range(view.size):
            place = np.array([column, row]) - (view.size - 1) / 2 - shift
            x, y = np.linalg.solve(matrix, place) + np.array([width - 1, height - 1]) / 2
            canvas[row, column] = map_coordinates(image, [[y], [x]], order=1, mode="grid-constant")[0]
    return canvas


@pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 16), (6, 8, 16), (5, 3, 11), (1, 4, 6)])
def test_a_digit_lies_where_scipy_puts_it(height: int, width: int, size: int) -> None:
    images = torch.rand(6, 1, height, width, generator=seeded(1))
    view = raw_digit_views(size=size)
    found = view(images, generator=seeded(2))[:, 0] * math.sqrt(height * width) / size
    draws = 2 * torch.rand(4, 6, generator=seeded(2)) - 1
    for i in range(6):
        expected = place_by_hand(images[i, 0].double().numpy(), draws[:, i].double().numpy(), view)
        assert np.abs(found[i].numpy() - expected).max() < 1e-5


@given(st.tuples(*[st.floats(-1, 1)] * 4), st.integers(2, 8), st.integers(2, 8), st.integers(8, 20))
def test_the_pixels_of_a_digit_stay_on_the_canvas(
    draws: tuple[float, ...], height: int, width: int, size: int
) -> None:
    matrix, shift = pose_by_hand(np.array(draws), height, width, raw_digit_views(size=size))
    corners = np.array([[sx * (width - 1) / 2, sy * (height - 1) / 2] for sx in (-1, 1) for sy in (-1, 1)])
    reach = np.abs(corners @ matrix.T + shift).max()
    fits = np.abs(corners @ matrix.T).max() <= (size - 1) / 2
    assert reach <= (size - 1) / 2 + 1e-9 or not fits


def test_digits_reach_half_way_to_the_edge_and_are_spread_evenly(digits: Tensor) -> None:
    dot = torch.zeros(4000, 1, 3, 3)
    dot[:, :, 1, 1] = 1
    views = raw_digit_views(rotation=0.0, scale=0.0)(dot, generator=seeded(3))[:, 0] * 3 / 16
    assert torch.allclose(views.sum((1, 2)), torch.ones(4000), atol=1e-5)
    places = torch.arange(16) - 7.5
    centres = torch.stack([views.sum(1) @ places, views.sum(2) @ places])
    assert centres.abs().max() <= 4 + 1e-4
    assert centres.abs().max() > 3.99
    six = 6 / math.sqrt(4000)
    assert (centres.mean(1).abs() < six * 4 / math.sqrt(3)).all()
    assert (centres.square().mean(1) - 16 / 3).abs().max() < six * 16 * math.sqrt(4 / 45)
    assert (centres[0] * centres[1]).mean().abs() < six * 16 / 3


def test_without_strength_a_digit_stands_upright_in_the_middle(digits: Tensor) -> None:
    view = raw_digit_views(strength=0.0)
    plain = view.plain(digits)
    assert torch.equal(view(digits, generator=seeded(1)), plain)
    expected = torch.zeros(len(digits), 1, 16, 16)
    expected[:, :, 4:12, 4:12] = digits
    assert torch.allclose(plain / 2, expected, atol=1e-6)
    assert torch.equal(raw_digit_views().plain(digits), plain)


def test_views_of_digits_are_normalised() -> None:
    data = load_images("digits")
    view = DigitViews(data.mean, data.std)
    plain = view.plain(data.images)
    assert plain.mean().abs() < 1e-5
    assert (plain.std() - 1).abs() < 1e-4
    drawn = view(data.images, generator=seeded(1))
    assert drawn.mean().abs() < 0.01
    assert (drawn.std() - 1).abs() < 0.15  # interpolation smooths


def test_strength_scales_every_part(digits: Tensor) -> None:
    half = DigitViews(ZERO, ONE, strength=0.5)
    same = DigitViews(ZERO, ONE, rotation=0.125, scale=0.075, shift=0.25)
    assert torch.equal(half(digits, generator=seeded(1)), same(digits, generator=seeded(1)))


def test_views_do_not_mix_images(digits: Tensor) -> None:
    spoilt = digits.clone()
    spoilt[3] = torch.nan
    view = raw_digit_views()
    found, clean = view(spoilt, generator=seeded(1)), view(digits, generator=seeded(1))
    assert not found[3].isfinite().any(0).all()
    found[3] = clean[3]
    assert torch.equal(found, clean)


@pytest.mark.parametrize(
    "view", [raw_digit_views(), simclr(crop=1.0, flip=0.5, colour=0.5, grey=0.2, blur=0.5)]
)
def test_views_depend_on_the_generator_alone(view: DigitViews | SimCLRViews) -> None:
    images = torch.rand(8, 1 if isinstance(view, DigitViews) else 3, 16, 16, generator=seeded(1))
    before = torch.get_rng_state()
    first, second = two_views(images, view, generator=seeded(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    again = two_views(images, view, generator=seeded(5))
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert (first - second).abs().amax((1, 2, 3)).min() > 0.01
    assert not torch.equal(first, view(images, generator=seeded(6)))
    assert first.dtype == torch.float32
    assert first.device == images.device


@pytest.mark.parametrize(
    "view", [raw_digit_views(), simclr(crop=1.0, flip=0.5, colour=0.5, grey=0.2, blur=0.5)]
)
def test_views_keep_float32_under_autocast_and_take_bytes(view: DigitViews | SimCLRViews) -> None:
    generator = seeded(1)
    images = torch.randint(256, (4, 1 if isinstance(view, DigitViews) else 3, 16, 16), generator=generator)
    expected = view(images.float() / 255, generator=seeded(2))
    with torch.autocast("cpu", torch.bfloat16):
        found = view(images.byte(), generator=seeded(2))
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "view", [raw_digit_views(), simclr(crop=1.0, flip=0.5, colour=0.5, grey=0.2, blur=0.5)]
)
def test_views_are_the_same_on_a_gpu(view: DigitViews | SimCLRViews) -> None:
    images = torch.rand(8, 1 if isinstance(view, DigitViews) else 3, 16, 16, generator=seeded(1))
    found = view(images.cuda(), generator=seeded(2))
    assert found.is_cuda
    assert torch.allclose(found.cpu(), view(images, generator=seeded(2)), atol=1e-4)


def test_a_batch_of_one() -> None:
    assert raw_digit_views()(torch.rand(1, 1, 8, 8), generator=seeded(1)).shape == (1, 1, 16, 16)
    full = simclr(crop=1.0, flip=0.5, colour=0.5, grey=0.2, blur=0.5)
    assert full(torch.rand(1, 3, 32, 32), generator=seeded(1)).shape == (1, 3, 32, 32)


def test_without_strength_simclr_shows_the_image(colours: Tensor) -> None:
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 3.0])
    view = SimCLRViews(mean, std, blur=0.5, strength=0.0)
    expected = (colours - mean[:, None, None]) / std[:, None, None]
    assert torch.equal(view(colours, generator=seeded(1)), expected)
    assert torch.equal(SimCLRViews(mean, std).plain(colours), expected)


def test_the_whole_image_is_resized_to_the_view() -> None:
    view = SimCLRViews(torch.zeros(3), torch.ones(3), size=32)
    ramp = torch.linspace(0, 1, 96).expand(2, 3, 96, 96)
    found = view.plain(ramp)
    assert found.shape == (2, 3, 32, 32)
    inner = found[:, :, 2:-2, 2:-2]
    assert torch.allclose(inner, ramp[:, :, 7:-7:3, 7:-7:3], atol=1e-5)


def test_crops_have_simclrs_areas_and_shapes() -> None:
    """On pictures of the coordinates the first and last pixels tell which crop was taken."""
    count = 3000
    ramp = torch.linspace(0, 1, 32)
    picture = torch.stack([ramp.expand(32, 32), ramp.expand(32, 32).mT, torch.zeros(32, 32)])
    found = simclr(crop=1.0)(picture.expand(count, 3, 32, 32), generator=seeded(4))
    left, right, top, bottom = found[:, 0, 5, 0], found[:, 0, 5, -1], found[:, 1, 0, 5], found[:, 1, -1, 5]
    straight = left[:, None] + (right - left)[:, None] * ramp
    assert torch.allclose(found[:, 0, 5], straight, atol=1e-4)  # a crop is linear in the coordinates
    widths, heights = (right - left) * 31 + 1, (bottom - top) * 31 + 1
    assert torch.allclose(widths, widths.round(), atol=1e-2)
    area, shape = widths * heights / 32**2, widths / heights
    assert area.max() <= 1 + 1e-3
    assert area.min() > 0.06  # 0.08 before sides are rounded to pixels
    limit = (-torch.linspace(0, math.log(4 / 3), 1001)).exp()  # of the area of the shapes that fit
    mean = (limit.square() - 0.08**2).sum() / 2 / (limit - 0.08).sum()
    assert abs(area.mean() - mean) < 0.03
    assert 0.65 < shape.min() < 0.8
    assert 1.25 < shape.max() < 1.55
    assert abs(shape.log().mean()) < 0.02
    assert abs(((left + right) / 2).mean() - 0.5) < 0.01


def test_half_a_crop_keeps_more() -> None:
    picture = torch.linspace(0, 1, 32).expand(500, 3, 32, 32)
    found = simclr(crop=0.5)(picture, generator=seeded(4))
    widths = (found[:, 0, 0, -1] - found[:, 0, 0, 0]) * 31 + 1
    assert widths.min() / 32 > math.sqrt(0.54 * 0.75**0.5) - 0.05


def test_a_flip_mirrors_left_and_right(colours: Tensor) -> None:
    assert torch.equal(simclr(flip=1.0)(colours, generator=seeded(1)), colours.flip(-1))
    found = simclr(flip=0.5)(colours.repeat(32, 1, 1, 1), generator=seeded(1))
    flipped = (found == colours.flip(-1).repeat(32, 1, 1, 1)).all((1, 2, 3))
    assert ((found == colours.repeat(32, 1, 1, 1)).all((1, 2, 3)) | flipped).all()
    assert abs(flipped.float().mean() - 0.5) < 6 * 0.5 / math.sqrt(2048)


def test_grey_keeps_the_luminance(colours: Tensor) -> None:
    found = simclr(grey=1.0)(colours, generator=seeded(1))
    luminance = torch.einsum("c,nchw->nhw", GREY_WEIGHTS, colours)
    assert torch.allclose(found, luminance[:, None].expand_as(found), atol=1e-5)


def test_colour_changes_brightness_alone_of_a_plain_grey_image() -> None:
    """Hue, saturation and contrast leave it as it is."""
    count, grey = 4000, 0.3
    found = simclr(colour=0.5, size=4)(torch.full((count, 3, 4, 4), grey), generator=seeded(1))
    assert torch.allclose(found, found[:, :1, :1, :1].expand_as(found), atol=1e-5)
    factor = found[:, 0, 0, 0] / grey
    changed = (factor - 1).abs() > 1e-6
    assert abs(changed.float().mean() - 0.8) < 6 * 0.4 / math.sqrt(count)
    factor = factor[changed]
    assert 0.6 - 1e-4 < factor.min() < 0.61
    assert 1.39 < factor.max() < 1.4 + 1e-4
    assert abs(factor.mean() - 1) < 6 * 0.4 / math.sqrt(3 * len(factor))


def test_colour_keeps_values_in_range_and_varies_hue(colours: Tensor) -> None:
    found = simclr(colour=1.0)(colours, generator=seeded(1))
    assert found.min() >= 0
    assert found.max() <= 1
    red = torch.tensor([0.5, 0.1, 0.1])[:, None, None].expand(500, 3, 4, 4)
    views = simclr(colour=1.0, size=4)(red, generator=seeded(1))[:, :, 0, 0]
    assert (views[:, 1] - views[:, 2]).abs().max() > 0.1
    weak = simclr(colour=0.01)(colours, generator=seeded(1))
    assert 0 < (weak - colours).abs().max() < 0.05


def test_blur_is_gaussian(colours: Tensor) -> None:
    dot = torch.zeros(200, 3, 96, 96)
    dot[:, :, 48, 48] = 1
    view = SimCLRViews(torch.zeros(3), torch.ones(3), size=96, **{**NOTHING, "blur": 1.0})
    found = view(dot, generator=seeded(1))[:, 0].double()
    assert torch.allclose(found.sum((1, 2)), torch.ones(200, dtype=torch.float64), atol=1e-5)
    profile = found[:, 48] / found[:, 48, 48:49]
    assert torch.allclose(found, found[:, 48:49, 48:49] * profile[:, None] * profile[:, :, None], atol=1e-5)
    wide = profile[:, 49] > 1e-3
    one, two = -profile[wide][:, 49].log(), -profile[wide][:, 50].log()
    assert torch.allclose(two, 4 * one, rtol=1e-2)
    sigma = (2 * one).rsqrt()
    assert 1.9 < sigma.max() < 2 + 1e-3
    assert sigma.min() < 0.4
    places = torch.arange(96.0, dtype=torch.float64) - 48
    spread = (found[wide][:, 48] * places.square()).sum(1) / found[wide][:, 48].sum(1)
    large = sigma > 1
    assert torch.allclose(spread.sqrt()[large], sigma[large], rtol=2e-3)  # nothing is cut off


@pytest.mark.parametrize("size", [2, 5, 9, 32])
def test_small_views_can_be_blurred(size: int) -> None:
    flat = torch.full((3, 3, size, size), 0.25)
    found = simclr(size=size, blur=1.0)(flat, generator=seeded(1))
    assert torch.allclose(found, flat, atol=1e-6)


def test_parts_can_be_drawn_for_some_images_only(colours: Tensor) -> None:
    found = simclr(blur=0.5)(colours, generator=seeded(1))
    kept = (found == colours).all((1, 2, 3)).sum()
    assert 10 < kept < 54


def test_draws_do_not_disturb_the_global_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with drawing_from(seeded(1)):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with drawing_from(seeded(1)):
        assert torch.equal(torch.rand(2), inside)
    generator = seeded(1)
    with drawing_from(generator), pytest.raises(RuntimeError), drawing_from(generator):
        raise RuntimeError
    with drawing_from(generator):
        assert not torch.equal(torch.rand(2), inside)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1}, "strength must not be negative, got -1"),
        ({"rotation": math.nan}, "rotation must be finite, got nan"),
        ({"scale": 0.5, "strength": 2}, r"strength·scale must be below 1, got 1"),
        ({"shift": "far"}, "shift must be a real number, got 'far'"),
        ({"size": 1}, "size must be at least 2, got 1"),
    ],
)
def test_bad_digit_views(options: dict[str, float], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        DigitViews(ZERO, ONE, **options)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 1.5}, "crop must be from 0 to 1, got 1.5"),
        ({"flip": -0.1}, "flip must be from 0 to 1, got -0.1"),
        ({"colour": None}, "colour must be a real number, got None"),
        ({"grey": 2}, "grey must be from 0 to 1, got 2"),
        ({"blur": math.inf}, "blur must be finite, got inf"),
        ({"strength": 1.1}, "strength must be from 0 to 1, got 1.1"),
        ({"size": 3.5}, "size must be an integer, got 3.5"),
    ],
)
def test_bad_simclr_views(options: dict[str, float], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        SimCLRViews(torch.zeros(3), torch.ones(3), **options)


@pytest.mark.bad_input
def test_bad_images() -> None:
    view, generator = raw_digit_views(), seeded(1)
    with pytest.raises(TypeError, match="images must be float32 or uint8, got torch.float64"):
        view(torch.rand(2, 1, 8, 8, dtype=torch.float64), generator=generator)
    with pytest.raises(ValueError, match=r"images must have 4 dimensions \(N, C, H, W\), got shape \(8, 8\)"):
        view(torch.rand(8, 8), generator=generator)
    with pytest.raises(ValueError, match=r"at least one image and pixel, got shape \(0, 1, 8, 8\)"):
        view(torch.rand(0, 1, 8, 8), generator=generator)
    with pytest.raises(ValueError, match="images must fit on a canvas of 16 pixels, got 8 × 17"):
        view(torch.rand(2, 1, 8, 17), generator=generator)
    with pytest.raises(ValueError, match="images must have 3 channels, got 1"):
        simclr()(torch.rand(2, 1, 32, 32), generator=generator)
