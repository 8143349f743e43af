"""The figures on the page: plotly charts as plain JSON, one for each model and quantity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from greenbatch import units
from greenbatch.analysis.curves import Curve, bounds, curves, log_range, log_ticks
from greenbatch.analysis.palette import GRID, INK, MUTED, colours, markers
from greenbatch.analysis.statistics import Summary
from greenbatch.analysis.tables import CellRow

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        name: Identifier in the page.
        title: The model.
        label: What is drawn, for those who do not see it.
        figure: ``data`` and ``layout`` as plotly.js takes them.
    """

    name: str
    title: str
    label: str
    figure: Mapping[str, Any]


def energy_charts(rows: Sequence[CellRow]) -> list[Chart]:
    """Energy per image against batch size; estimates are dashed and hollow."""
    return _over_batch(rows, "energy", [("energy", "energy per image")], "J")


def latency_charts(rows: Sequence[CellRow]) -> list[Chart]:
    """Latency of a batch against its size: p50, and p99 dotted."""
    layers = [("latency_p50", "p50 latency"), ("latency_p99", "p99 latency")]
    return _over_batch(rows, "latency", layers, "s")


def tradeoff_charts(rows: Sequence[CellRow]) -> list[Chart]:
    """Energy per image against p50 latency, a point for each batch size: low and left is good."""
    energies, latencies = curves(rows, "energy"), curves(rows, "latency_p50")
    charts = []
    for number, (model, found) in enumerate(energies.items()):
        delays = {
            (curve.label, size): value
            for curve in latencies.get(model, ())
            for size, value in zip(curve.batch_sizes, curve.values, strict=True)
        }
        traces, xs, ys = [], [], []
        style = _Styles(rows)
        for curve in found:
            points = [
                (size, delays[curve.label, size], value)
                for size, value in zip(curve.batch_sizes, curve.values, strict=True)
                if (curve.label, size) in delays
            ]
            if not points:
                continue
            x, y = [p[1].centre for p in points], [p[2].centre for p in points]
            xs += x
            ys += [end for p in points for end in bounds(p[2])]
            notes = [
                f"<b>batch {size}</b><br>{_said(delay, 's')} p50<br>{_said(value, 'J')} per image"
                for size, delay, value in points
            ]
            trace = style.trace(curve, x, y, notes)
            trace |= {
                "cliponaxis": False,  # labels may stand beyond the last point
                "mode": "lines+markers+text",
                "text": [str(size) for size, _, _ in points],
                "textposition": "top right",
                "textfont": {"size": 10.5, "color": style.colours[curve.variant]},
            }
            traces.append(trace | {"error_y": _errors([p[2] for p in points])})
        if not traces:
            continue
        layout = _layout(_log_axis(xs, "s", "p50 latency of a batch"), _log_axis(ys, "J"))
        label = f"Energy per image against latency of {model}, points labelled by batch size"
        charts.append(Chart(f"tradeoff-{number}", model, label, {"data": traces, "layout": layout}))
    return charts


def _over_batch(
    rows: Sequence[CellRow], name: str, layers: Sequence[tuple[str, str]], unit: str
) -> list[Chart]:
    found = [(curves(rows, quantity), words) for quantity, words in layers]
    style = _Styles(rows)
    charts = []
    for number, model in enumerate(found[0][0]):
        traces: list[dict[str, Any]] = []
        ends: list[float] = []
        sizes: set[int] = set()
        for layer, (panels, words) in enumerate(found):
            for curve in panels[model]:
                notes = [
                    f"<b>batch {size}</b><br>{_said(value, unit)} {words}"
                    for size, value in zip(curve.batch_sizes, curve.values, strict=True)
                ]
                centres = [value.centre for value in curve.values]
                trace = style.trace(curve, curve.batch_sizes, centres, notes, second=layer > 0)
                traces.append(trace | {"error_y": _errors(curve.values)})
                ends += [end for value in curve.values for end in bounds(value)]
                sizes |= set(curve.batch_sizes)
        if not traces:
            continue
        layout = _layout(_batch_axis(sorted(sizes)), _log_axis(ends, unit))
        label = f"{' and '.join(words for _, words in layers)} of {model} against batch size"
        charts.append(Chart(f"{name}-{number}", model, label, {"data": traces, "layout": layout}))
    return charts


class _Styles:
    """How each backend, with what was set on it, is drawn."""

    def __init__(self, rows: Sequence[CellRow]) -> None:
        variants = list(dict.fromkeys(row.cell.variant for row in rows))
        self.colours, self.markers = colours(variants), markers(variants)

    def trace(
        self,
        curve: Curve,
        x: Sequence[float],
        y: Sequence[float],
        notes: Sequence[str],
        *,
        second: bool = False,
    ) -> dict[str, Any]:
        colour = self.colours[curve.variant]
        symbol = self.markers[curve.variant] + ("-open" if curve.estimated else "")
        label = curve.label + (" (estimated)" if curve.estimated else "")
        line = {"width": 2, "color": colour}
        return {
            "type": "scatter",
            "mode": "lines" if second else "lines+markers",
            "name": escape(label),
            "x": list(x),
            "y": list(y),
            "customdata": list(notes),
            "hovertemplate": "%{customdata}<extra>" + escape(label) + "</extra>",
            "line": {
                "color": colour,
                "width": 1.4 if second else 2.2,
                "dash": "dot" if second else "dash" if curve.estimated else "solid",
            },
            "marker": {"symbol": symbol, "size": 8, "color": colour, "line": line},
        }


def _errors(values: Sequence[Summary]) -> dict[str, Any]:
    ends = [bounds(value) for value in values]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value.centre for value, (_, high) in zip(values, ends, strict=True)],
        "arrayminus": [value.centre - low for value, (low, _) in zip(values, ends, strict=True)],
        "thickness": 1.2,
        "width": 3,
    }


def _said(value: Summary, unit: str) -> str:
    text = units.si(value.centre, unit)
    if value.low is None or value.high is None:
        return text
    kind = "95 %" if value.kind == "t" else "range"
    return f"{text} ({kind}: {units.si(value.low, unit)} … {units.si(value.high, unit)})"


def _batch_axis(sizes: Sequence[int]) -> dict[str, Any]:
    return _axis(sizes[0] / 1.35, sizes[-1] * 1.35) | {
        "tickvals": list(sizes),
        "ticktext": [str(size) for size in sizes],
        "title": {"text": "batch size", "font": {"size": 11.5}, "standoff": 6},
        "showgrid": False,
    }


def _log_axis(values: Sequence[float], unit: str, title: str = "") -> dict[str, Any]:
    low, high = log_range(values)
    # Labels beside each other need more room than labels above each other.
    tickvals, ticktext = log_ticks(low, high, unit, most=4 if title else 7)
    axis = _axis(low, high) | {"tickvals": tickvals, "ticktext": ticktext, "tickangle": 0}
    return axis | (
        {"title": {"text": title, "font": {"size": 11.5}, "standoff": 6}} if title else {}
    )


def _axis(low: float, high: float) -> dict[str, Any]:
    from math import log10

    return {
        "type": "log",
        "range": [log10(low), log10(high)],
        "gridcolor": GRID,
        "linecolor": MUTED,
        "zeroline": False,
        "showline": False,
        "fixedrange": True,  # a page that scrolls must not zoom a chart
        "automargin": True,
    }


def _layout(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    return {
        "xaxis": x | {"showline": True},
        "yaxis": y,
        "height": 270,
        "margin": {"l": 56, "r": 10, "t": 8, "b": 44},
        "showlegend": False,
        "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 11.5, "color": MUTED},
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": GRID, "font": {"color": INK}},
    }
