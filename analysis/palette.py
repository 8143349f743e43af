"""Colours, fixed by backend, so that a backend looks the same in every figure of every run."""

from collections.abc import Iterable

# Okabe & Ito, "Color Universal Design" (2008): told apart under the common forms of colour
# blindness. Its yellow is left out and its light tones darkened: thin lines on white need a
# contrast of 3:1 (WCAG 2.2, criterion 1.4.11).
_FIXED = {
    "onnxruntime-cpu": "#0072b2",
    "torch-cpu": "#d55e00",
    "onnxruntime-cuda": "#00875f",
    "torch-cuda": "#b0568b",
    "onnxruntime-tensorrt": "#2b2b2b",
    "torch-compile-cuda": "#a87000",
}
_OTHERS = ("#2f7fb8", "#7a5195", "#5c7f00", "#8c564b", "#006d77", "#9d3c3c")

MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon")
"""Marker shapes in plotly's words, by position in the study: colour never stands alone."""

INK = "#1c2126"
MUTED = "#59636e"
GRID = "#e3e6ea"


def colours(backends: Iterable[str]) -> dict[str, str]:
    """Give each backend its colour; unknown ones take the next of a second list."""
    others = 0
    chosen = {}
    for backend in backends:
        if backend in _FIXED:
            chosen[backend] = _FIXED[backend]
        else:
            chosen[backend] = _OTHERS[others % len(_OTHERS)]
            others += 1
    return chosen


def markers(backends: Iterable[str]) -> dict[str, str]:
    """Give each backend its marker shape."""
    return {backend: MARKERS[i % len(MARKERS)] for i, backend in enumerate(backends)}
