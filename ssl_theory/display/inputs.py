"""What a reader moves: sliders, buttons and switches, in Jupyter and as plain HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import ipywidgets

__all__ = ["Format", "Input", "Toggles", "as_html", "as_widgets", "inputs_of"]

Format = str | Callable[[Any], str]
MOST_BUTTONS, FEWEST_STOPS = 6, 5


@dataclass(frozen=True)
class Toggles:
    """Switches that make one argument of a drawing function, a list of zeros and ones.

    Attributes:
        start: The states at first.
        names: One for each switch, to be read aloud; their numbers from 1 on if empty.

    Raises:
        ValueError: If there is no switch, a state is not 0 or 1, or there are not as many names.
    """

    start: Sequence[int]
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the states and the names."""
        if not self.start or not set(self.start) <= {0, 1}:
            raise ValueError(f"start must hold zeros and ones, got {list(self.start)}")
        if self.names and len(self.names) != len(self.start):
            raise ValueError(f"names must hold {len(self.start)} texts, got {len(self.names)}")


@dataclass(frozen=True)
class Input:
    """One argument of a drawing function and how a reader sets it."""

    name: str
    label: str
    kind: Literal["slider", "choice", "toggles"]
    values: list[Any]
    """What it may be; for switches their states at first."""
    texts: list[str]
    start: int
    """The place of the value at first; 0 for switches."""

    def first(self) -> Any:
        """Return the value at first."""
        return list(self.values) if self.kind == "toggles" else self.values[self.start]

    def data(self) -> dict[str, Any]:
        """Return what the page's script needs to know."""
        return {"name": self.name, "kind": self.kind, "values": self.values, "texts": self.texts}


def inputs_of(
    axes: Mapping[str, Iterable[Any] | Toggles],
    labels: Mapping[str, str],
    formats: Mapping[str, Format],
    start: Mapping[str, Any],
) -> list[Input]:
    """Return the inputs for some arguments: buttons for few or worded values, else sliders.

    Raises:
        TypeError: If an axis is not a sequence.
        ValueError: If an axis is empty, or labels, formats or start name an unknown axis or a start that an
            axis has not.
    """
    for argument, given in (("labels", labels), ("formats", formats), ("start", start)):
        unknown = sorted(set(given) - set(axes))
        if unknown:
            raise ValueError(f"{argument} must name axes among {list(axes)}, got {unknown}")
    return [
        _input(name, axis, labels.get(name, name), formats.get(name), start) for name, axis in axes.items()
    ]


def _input(
    name: str, axis: Iterable[Any] | Toggles, label: str, form: Format | None, start: Mapping[str, Any]
) -> Input:
    if isinstance(axis, Toggles):
        names = list(axis.names) or [str(k) for k in range(1, len(axis.start) + 1)]
        return Input(name, label, "toggles", [int(state) for state in axis.start], names, 0)
    if not isinstance(axis, Iterable):
        raise TypeError(f"{name} must be a sequence of values, got {type(axis).__name__}")
    values = axis.tolist() if hasattr(axis, "tolist") else list(axis)
    if not values:
        raise ValueError(f"{name} must have at least one value, got none")
    texts = [_text(value, form) for value in values]
    worded = all(isinstance(value, (str, bool)) for value in values) and len(values) <= MOST_BUTTONS
    kind: Literal["slider", "choice"] = "choice" if worded or len(values) < FEWEST_STOPS else "slider"
    return Input(name, label, kind, values, texts, _place(name, values, start.get(name, values[0])))


def _place(name: str, values: Sequence[Any], wanted: Any) -> int:
    """Return the place of a value, for numbers of the nearest one."""
    if wanted in values:
        return values.index(wanted)
    if isinstance(wanted, str) or not all(isinstance(value, (int, float)) for value in values):
        raise ValueError(f"start of {name} must be one of {list(values)}, got {wanted!r}")
    if not min(values) <= wanted <= max(values):
        raise ValueError(f"start of {name} must lie in [{min(values)}, {max(values)}], got {wanted}")
    return min(range(len(values)), key=lambda k: abs(values[k] - wanted))


def _text(value: Any, form: Format | None) -> str:
    if callable(form):
        return form(value)
    if form is None:
        form = "g" if isinstance(value, float) else ""
    return format(value, form).replace("-", "−") if not isinstance(value, str) else value


def as_html(inputs: Sequence[Input], key: str) -> str:
    """Return the inputs as HTML; `key` keeps the buttons of two controls apart."""
    return "\n".join(_HTML[one.kind](one, f"{key}-{one.name}") for one in inputs)


def _slider(one: Input, _: str) -> str:
    label, text = escape(one.label), escape(one.texts[one.start])
    return (
        f'<label class="ssl-slider"><span>{label}</span><input type="range" min="0" '
        f'max="{len(one.values) - 1}" step="1" value="{one.start}" autocomplete="off" aria-label="{label}" '
        f'aria-valuetext="{text}" data-input="{one.name}"><output>{text}</output></label>'
    )


def _choice(one: Input, key: str) -> str:
    buttons = "".join(
        f'<label><input type="radio" name="{key}" value="{k}" autocomplete="off" data-input="{one.name}"'
        f"{' checked' if k == one.start else ''}><span>{escape(text)}</span></label>"
        for k, text in enumerate(one.texts)
    )
    return f'<fieldset class="ssl-choice"><legend>{escape(one.label)}</legend>{buttons}</fieldset>'


def _toggles(one: Input, _: str) -> str:
    switches = "".join(
        f'<label><input type="checkbox" value="{k}" autocomplete="off" data-input="{one.name}"'
        f"{' checked' if state else ''}><span>{escape(text)}</span></label>"
        for k, (state, text) in enumerate(zip(one.values, one.texts, strict=True))
    )
    return f'<fieldset class="ssl-choice"><legend>{escape(one.label)}</legend>{switches}</fieldset>'


_HTML = {"slider": _slider, "choice": _choice, "toggles": _toggles}


def as_widgets(
    inputs: Sequence[Input], draw: Callable[..., None]
) -> tuple[list[ipywidgets.Widget], ipywidgets.Widget]:
    """Return the inputs as ipywidgets, and the output in which `draw` draws whenever one of them changes."""
    parts: dict[str, ipywidgets.Widget] = {}
    rows: list[ipywidgets.Widget] = []
    for one in inputs:
        if one.kind == "toggles":
            switches = [
                ipywidgets.ToggleButton(bool(state), description=text, layout={"width": "4em"})
                for state, text in zip(one.values, one.texts, strict=True)
            ]
            parts |= {f"{one.name} {k}": switch for k, switch in enumerate(switches)}
            rows.append(ipywidgets.HBox([ipywidgets.Label(one.label), *switches]))
        else:
            parts[one.name] = _widget(one)
            rows.append(parts[one.name])

    def drawn(**given: Any) -> None:
        point = {}
        for one in inputs:
            many = range(len(one.values))
            states = [int(given[f"{one.name} {k}"]) for k in many] if one.kind == "toggles" else None
            point[one.name] = given[one.name] if states is None else states
        draw(**point)

    return rows, ipywidgets.interactive_output(drawn, parts)


def _widget(one: Input) -> ipywidgets.Widget:
    options = list(zip(one.texts, one.values, strict=True))
    look: dict[str, Any] = {"description": one.label, "style": {"description_width": "initial"}}
    if one.kind == "choice":
        return ipywidgets.ToggleButtons(options=options, value=one.first(), **look)
    look |= {"continuous_update": False, "layout": {"width": "32em"}}
    return ipywidgets.SelectionSlider(options=options, value=one.first(), **look)
