"""Colours, fixed by backend, so that a backend looks the same in every figure of a study."""

from collections.abc import Iterable

# Okabe & Ito, "Color Universal Design" (2008): distinguishable under the common forms of colour
# blindness. Its yellow is left out and its light tones darkened: thin lines on white need a
# contrast of 3:1 (WCAG 2.2, criterion 1.4.11).
_FIXED = {
    "onnxruntime-cpu": "#0072b2",
    "torch-cpu": "#d55e00",
    "openvino-cpu": "#00875f",
    "torch-compile-cpu": "#b0568b",
    "onnxruntime-cuda": "#00875f",
    "torch-cuda": "#b0568b",
    "onnxruntime-tensorrt": "#2b2b2b",
    "torch-compile-cuda": "#a87000",
}
_OTHERS = ("#7a5195", "#5c7f00", "#006d77", "#8c564b", "#9d3c3c", "#2f7fb8")

_ON_DARK = {
    "#0072b2": "#56b4e9",
    "#d55e00": "#f0803c",
    "#00875f": "#2fbf94",
    "#b0568b": "#df8dbb",
    "#2b2b2b": "#d0d4d8",
    "#a87000": "#e6a817",
    "#7a5195": "#b694d6",
    "#5c7f00": "#9dc243",
    "#006d77": "#4bb3bd",
    "#8c564b": "#c98f83",
    "#9d3c3c": "#e07a7a",
    "#2f7fb8": "#7fb8e6",
}

IN_ORDER = (
    *("#0072b2", "#d55e00", "#00875f", "#b0568b", "#a87000", "#7a5195"),
    *("#2b2b2b", "#5c7f00", "#006d77", "#8c564b", "#9d3c3c", "#2f7fb8"),
)
"""By place in a legend, where what is compared has no colour of its own: networks, strategies."""

MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon")
"""Marker shapes in plotly's words, by position in the study: colour never stands alone."""

INK = "#1c2126"
MUTED = "#59636e"
GRID = "#e3e6ea"
ACCENT = "#1b6b43"


def colours(variants: Iterable[str]) -> dict[str, str]:
    """Give each variant its backend's colour; where that is taken, the next of a second list.

    Args:
        variants: Backends with what was set on them, as `greenbatch.records.Cell.variant` has it.
    """
    chosen: dict[str, str] = {}
    for variant in variants:
        colour = _FIXED.get(variant.partition(" (")[0])
        free = (other for other in _OTHERS if other not in chosen.values())
        if colour is None or colour in chosen.values():
            colour = next(free, _OTHERS[len(chosen) % len(_OTHERS)])
        chosen[variant] = colour
    return chosen


def on_dark(colour: str) -> str:
    """Give a colour of `colours` its lighter sister, for a dark ground at the same contrast."""
    return _ON_DARK[colour]


def markers(variants: Iterable[str]) -> dict[str, str]:
    """Give each variant its marker shape."""
    return {variant: MARKERS[i % len(MARKERS)] for i, variant in enumerate(variants)}


THEMES = {
    "light": {"ink": INK, "muted": MUTED, "grid": GRID, "paper": "#ffffff", "accent": ACCENT},
    "dark": {
        "ink": "#e8ebee",
        "muted": "#a3adb7",
        "grid": "#2c333a",
        "paper": "#14181c",
        "accent": "#5fc596",
    },
}
"""The page's colours: text, quiet text, lines, ground, and one that stands out."""
