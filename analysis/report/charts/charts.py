"""What the figures on the page draw: numbers by model, backend and batch size, as plain JSON.

The page's script (``templates/report.js``) turns them into plotly figures, as its controls ask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.timeline import Network, fronts
from greenbatch.analysis.report.charts.curves import Curve, curve_labels, curves
from greenbatch.analysis.report.charts.facts import (
    AccuracyFacts,
    AccuracyPoint,
    BatchCurve,
    BatchFacts,
    Bounds,
    ChartFacts,
    PowerCell,
    TimelineFacts,
    TradeoffCurve,
    TradeoffFacts,
    YearFront,
    YearPoint,
    bounded,
)
from greenbatch.analysis.report.charts.palette import colours, markers, on_dark
from greenbatch.analysis.report.charts.power_traces import PowerTrace
from greenbatch.analysis.tradeoffs.accuracy_front import FrontCandidate
from greenbatch.records import Cell


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        name: Identifier in the page.
        title: The model.
        label: What is drawn, for those who do not see it.
        facts: What is drawn, for the page's script.
        note: Stands beside the title, where several charts are of one model.
        group: Heading above the first chart of those that have it; may be empty.
    """

    name: str
    title: str
    label: str
    facts: ChartFacts
    note: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Style:
    """How a page draws what it compares: colours on light and dark ground, and a marker."""

    name: str
    light: str
    dark: str
    symbol: str


def styles(rows: Sequence[CellRow]) -> list[Style]:
    """Give each variant its colours and marker."""
    variants = list(dict.fromkeys(row.cell.variant for row in rows))
    colour, marker = colours(variants), markers(variants)
    return [Style(v, colour[v], on_dark(colour[v]), marker[v]) for v in variants]


def energy_charts(rows: Sequence[CellRow]) -> list[Chart]:
    """Energy per image against batch size, gross and net; estimates are dashed and hollow."""
    return _over_batch(rows, "energy", [("energy", "energy")], "J")


def latency_charts(rows: Sequence[CellRow]) -> list[Chart]:
    """Latency of a batch against its size: p50, and p99 dotted."""
    return _over_batch(rows, "latency", [("latency_p50", "p50"), ("latency_p99", "p99")], "s")


def tradeoff_charts(
    rows: Sequence[CellRow],
    pareto_status: Mapping[Cell, str],
    net_pareto_status: Mapping[Cell, str],
) -> list[Chart]:
    """Energy per image against p50 latency, a point for each batch size: low and left is good.

    Args:
        rows: As `cell_rows` gives them.
        pareto_status: Of each cell among its model's: ``front``, ``unsure`` or ``dominated``.
        net_pareto_status: The same by net energy.
    """
    places, labels, nets = _places(rows), curve_labels(rows), _nets(rows)
    stands, net_stands = (
        {(c.model, labels[c], c.batch_size): text for c, text in found.items()}
        for found in (pareto_status, net_pareto_status)
    )
    energies, latencies = curves(rows, "energy"), curves(rows, "latency_p50")
    charts = []
    for number, (model, found) in enumerate(energies.items()):
        delays = {
            (curve.label, size): value
            for curve in latencies.get(model, ())
            for size, value in zip(curve.batch_sizes, curve.values, strict=True)
        }
        drawn: list[TradeoffCurve] = []
        for curve in found:
            points = [
                (size, delays[curve.label, size], value)
                for size, value in zip(curve.batch_sizes, curve.values, strict=True)
                if (curve.label, size) in delays
            ]
            if points:
                sizes, x, y = zip(*points, strict=True)
                keys = [(model, curve.label, size) for size in sizes]
                drawn.append(
                    {
                        "variant": places[curve.variant],
                        "label": curve.label,
                        "estimated": curve.estimated,
                        "sizes": sizes,
                        "y": [bounded(value) for value in y],
                        "x": [bounded(value) for value in x],
                        "pareto_status": [stands.get(key) for key in keys],
                        "net": [nets.get(key) for key in keys],
                        "net_pareto_status": [net_stands.get(key) for key in keys],
                    }
                )
        if drawn:
            label = f"Energy per image against latency of {model}, points labelled by batch size"
            facts: TradeoffFacts = {"kind": "tradeoff", "model": model, "curves": drawn}
            charts.append(Chart(f"tradeoff-{number}", model, label, facts))
    return charts


def timeline_charts(networks: Sequence[Network], name: str = "timeline") -> list[Chart]:
    """Accuracy and energy by year, and one against the other with the Pareto front by year.

    Args:
        networks: As a `greenbatch.analysis.findings.timeline.Timeline` has them.
        name: Of the section.
    """
    if not networks:
        return []
    points: list[YearPoint] = [
        {
            "model": network.model,
            "year": network.year,
            "parameters": network.parameters,
            "how": network.cell.how,
            "energy": bounded(network.energy_j),
            "per": network.per,
            "estimated": network.energy_source != "measured",
            "top1": (network.accuracy.top1, network.accuracy.low, network.accuracy.high),
            "measured": network.accuracy.source == "measured",
            "front": network.front,
        }
        for network in networks
    ]
    steps: list[YearFront] = [
        {"year": year, "models": [network.model for network in front]}
        for year, front in fronts(networks)
    ]
    names = ", ".join(network.model for network in networks)
    charts = []
    for view, title in (
        ("accuracy", "Top-1 accuracy by year"),
        ("energy", f"Energy per {networks[0].per} by year"),
        ("front", "Accuracy against energy: Pareto front by year"),
    ):
        facts: TimelineFacts = {
            "kind": "timeline",
            "view": view,
            "points": points,
            "fronts": steps,
        }
        charts.append(Chart(f"{name}-{view}", title, f"{title}: {names}", facts))
    return charts


def accuracy_charts(found: Sequence[FrontCandidate], variants: Sequence[str]) -> list[Chart]:
    """Energy against latency of all networks; a line for each along its part of the front.

    Args:
        found: As `greenbatch.analysis.tradeoffs.accuracy_front.accuracy_front` gives them.
        variants: All of the run, in its order.
    """
    if not found:
        return []
    points: list[AccuracyPoint] = [
        {
            "model": candidate.cell.model,
            "how": candidate.cell.how,
            "variant": variants.index(candidate.cell.variant),
            "estimated": candidate.energy_source != "measured",
            "energy": bounded(candidate.energy_j),
            "net": bounded(candidate.net_j) if candidate.net_j else None,
            "latency": bounded(candidate.latency_s),
            "top1": (
                candidate.accuracy.top1,
                candidate.accuracy.low,
                candidate.accuracy.high,
            ),
            "measured": candidate.accuracy.source == "measured",
            "pareto_status": candidate.pareto_status,
            "net_pareto_status": candidate.net_pareto_status,
        }
        for candidate in found
    ]
    names = ", ".join(dict.fromkeys(candidate.cell.model for candidate in found))
    label = f"Energy per image against latency of {names}; labelled by top-1 accuracy"
    facts: AccuracyFacts = {"kind": "accuracy", "points": points}
    return [Chart("accuracy-0", "", label, facts)]


def power_chart(cells: Sequence[PowerCell]) -> Chart:
    """Power over time of one cell at a time, as the page's selection asks."""
    return Chart(
        "power-0", "", "Power over time of the chosen cell", {"kind": "power", "cells": cells}
    )


def power_cells(traces: Sequence[PowerTrace], rows: Sequence[CellRow]) -> list[PowerCell]:
    """Gather the traces by cell, in the order of the rows."""
    variants = list(dict.fromkeys(row.cell.variant for row in rows))
    order = {row.cell: place for place, row in enumerate(rows)}
    cells: dict[int, PowerCell] = {}
    known = [trace for trace in traces if trace.cell in order]
    for trace in sorted(known, key=lambda t: (order[t.cell], t.block, t.domain)):
        cell = trace.cell
        entry = cells.setdefault(
            order[cell],
            {
                "model": cell.model,
                "how": cell.how,
                "variant": variants.index(cell.variant),
                "traces": [],
            },
        )
        entry["traces"].append(
            {
                "block": trace.block,
                "domain": trace.domain,
                "kind": trace.kind,
                "t": [round(t, 4) for t in trace.edges_s],
                "w": [float(f"{w:.4g}") for w in trace.power_w],
                "window": round(trace.window_s, 4),
            }
        )
    return list(cells.values())


def _over_batch(
    rows: Sequence[CellRow],
    kind: Literal["energy", "latency"],
    layers: Sequence[tuple[str, str]],
    unit: str,
) -> list[Chart]:
    places, nets = _places(rows), _nets(rows)
    found = [(curves(rows, quantity), words) for quantity, words in layers]
    charts = []
    for number, model in enumerate(found[0][0]):
        drawn = [
            _curve(curve, places, layer, words)
            for layer, (panels, words) in enumerate(found)
            for curve in panels[model]
        ]
        if kind == "energy":
            for curve in drawn:
                keys = [(model, curve["label"], size) for size in curve["sizes"]]
                curve["net"] = [nets.get(key) for key in keys]
        if drawn:
            words = " and ".join(words for _, words in layers)
            label = f"{kind.capitalize()} of {model} against batch size"
            label += f": {words}" if len(layers) > 1 else ""
            facts: BatchFacts = {"kind": kind, "model": model, "unit": unit, "curves": drawn}
            charts.append(Chart(f"{kind}-{number}", model, label, facts))
    return charts


def _curve(curve: Curve, places: Mapping[str, int], layer: int, words: str) -> BatchCurve:
    return {
        "variant": places[curve.variant],
        "label": curve.label,
        "estimated": curve.estimated,
        "sizes": list(curve.batch_sizes),
        "y": [bounded(value) for value in curve.values],
        "layer": layer,
        "words": words,
    }


def _nets(rows: Sequence[CellRow]) -> dict[tuple[str, str, int], Bounds]:
    """Net energy per image by model, curve and batch size."""
    labels = curve_labels(rows)
    return {
        (row.cell.model, labels[row.cell], row.cell.batch_size): bounded(row.energy_per_image_net_j)
        for row in rows
        if row.energy_per_image_net_j is not None
    }


def _places(rows: Sequence[CellRow]) -> dict[str, int]:
    variants = dict.fromkeys(row.cell.variant for row in rows)
    return {variant: place for place, variant in enumerate(variants)}
