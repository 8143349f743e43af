"""The figures of the page: a question each, with the charts that answer it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenbatch.analysis.findings.caveats import Caveat
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.serving import ServingPanel
from greenbatch.analysis.findings.timeline import Network, timeline_sentence
from greenbatch.analysis.report.charts.charts import (
    Chart,
    accuracy_charts,
    energy_charts,
    latency_charts,
    power_chart,
    serving_charts,
    timeline_charts,
    tradeoff_charts,
)
from greenbatch.analysis.report.charts.power_traces import PowerTrace
from greenbatch.analysis.tradeoffs.accuracy_front import Rival
from greenbatch.records import Cell


@dataclass(frozen=True, slots=True)
class Section:
    """Charts of one quantity, or why there are none.

    Attributes:
        per: What the reader may have the quantity counted by, value and words; the first stands.
        sentences: What the charts show, above them.
        second_line: Whether p50 and p99 are drawn.
        estimated: Whether an energy in it is an estimate.
        key: Whether it is drawn by backend.
        cells: Cells to choose from: place, model, and what else it is.
        net: What to know of it where net energy is chosen; empty where it shows no energy.
    """

    name: str
    title: str
    text: str
    charts: Sequence[Chart]
    absent: str = ""
    per: Sequence[tuple[str, str]] = ()
    sentences: Sequence[str] = ()
    second_line: bool = False
    estimated: bool = False
    key: bool = True
    cells: Sequence[tuple[int, str, str]] = ()
    net: str = ""


def batch_sections(
    rows: Sequence[CellRow],
    found: Sequence[Caveat],
    standing: Mapping[Cell, str],
    turns: Sequence[str] = (),
    refused: Sequence[str] = (),
    net_standing: Mapping[Cell, str] | None = None,
) -> list[Section]:
    """Energy, latency, and one against the other, over the batch size.

    Args:
        rows: Of the closed loop.
        found: The run's caveats: one says why energy is missing.
        standing: Of each cell against its model's front.
        turns: Sentences on where the curves of energy turn.
        refused: Sentences on models that have no front.
        net_standing: As ``standing``, by net energy.
    """
    missing = [caveat.sentence for caveat in found if caveat.code == "energy-missing"]
    why = missing[0] if missing else "No cell has energy per image."
    estimated = any(row.energy_source in ("estimated", "mixed") for row in rows)
    mark = " Estimates are dashed and hollow." if estimated else ""
    net = net_words(rows)
    return [
        Section(
            "energy",
            "Which batch size costs the least energy?" + (" (estimated)" if estimated else ""),
            f"{'Energy' if net else 'Gross energy'} in the window against batch size; lower is "
            f"better.{mark}",
            energy_charts(rows),
            why,
            per=(("image", "per image"), ("batch", "per batch")),
            sentences=turns,
            estimated=estimated,
            net=net,
        ),
        Section(
            "latency",
            "How long does a batch take?",
            "Time from submitting a batch to its result, against batch size; lower is better.",
            latency_charts(rows),
            "Nothing was measured.",
            per=(("batch", "of a batch"), ("image", "over its images")),
            second_line=True,
        ),
        Section(
            "tradeoff",
            "What does less energy cost in latency?" + (" (energy estimated)" if estimated else ""),
            "Each point is a batch size; low and left is better. Large points, with their batch "
            "size, are on the front: no other cell of the model needs both less energy and less "
            "time. Pale ones are beaten in both, beyond the spread of the repetitions."
            f"{mark}",
            tradeoff_charts(rows, standing, net_standing or {}),
            why,
            per=(("image", "per image"), ("batch", "per batch")),
            sentences=refused,
            estimated=estimated,
            net=net,
        ),
    ]


def serving_sections(panels: Sequence[ServingPanel], variants: Sequence[str]) -> list[Section]:
    """Energy against response time of servers; none where no server has both.

    Args:
        panels: The servers by model and traffic.
        variants: All of the run, in its order.
    """
    if not panels:
        return []
    drawn = [curve for panel in panels for curve in panel.curves]
    estimated = any(curve.estimated for curve in drawn)
    kinds = dict.fromkeys(curve.kind for curve in drawn)
    shapes = ", ".join(f"{kind} ({_SHAPES[kind]})" for kind in kinds)
    net = net_words([row for curve in drawn for row in curve.rows])
    return [
        Section(
            "serving",
            "What does less energy cost in response time?"
            + (" (energy estimated)" if estimated else ""),
            "Each point is a server under a batching policy; low and left is better. A line joins "
            f"the sizes of one kind of policy: {shapes}. Large points are on the front of energy "
            "and 99th percentile. Where no policy holds the rate, all points are pale: their "
            "response times only tell how long they were watched."
            + (" Estimates are dashed and hollow." if estimated else ""),
            serving_charts(panels, variants),
            per=(("p99", "99th percentile"), ("mean", "mean")),
            estimated=estimated,
            net=net,
        )
    ]


_SHAPES = {"greedy": "circles", "fixed": "squares", "dynamic": "diamonds"}


def accuracy_sections(
    found: Sequence[Rival], said: Sequence[str], variants: Sequence[str]
) -> list[Section]:
    """Energy, latency and accuracy of all networks; none where too few have an accuracy.

    Args:
        found: The cells that are weighed.
        said: What they show.
        variants: All of the run, in its order.
    """
    if not said:
        return []
    estimated = any(rival.energy_source != "measured" for rival in found)
    nets = any(rival.net_standing is not None for rival in found)
    return [
        Section(
            "accuracy",
            "Energy, latency and accuracy" + (" (energy estimated)" if estimated else ""),
            "Every cell of every network; low and left is better. A line joins the cells of a "
            "network that are on the front of all three, and the paler it is, the less accurate "
            "the network. Hollow where accuracy is as published, filled where it was measured "
            "here; grey points are beaten.",
            accuracy_charts(found, variants),
            absent=" ".join(said),
            sentences=said,
            estimated=estimated,
            key=False,
            net="Net: less idle power times duration; the front is by net energy." if nets else "",
        )
    ]


def net_words(rows: Sequence[CellRow]) -> str:
    """Say what net energy is, and of which backends it is not known; empty where of none."""
    measured = [row for row in rows if row.energy_per_image_j is not None]
    lacking = dict.fromkeys(r.cell.variant for r in measured if r.energy_per_image_net_j is None)
    if all(row.energy_per_image_net_j is None for row in measured):
        return ""
    words = "Net: less idle power (process alive, model loaded) times duration."
    if lacking:
        names = ", ".join(lacking)
        words += (
            f" Not known everywhere of {names}: idle power is missing there, or of another kind."
        )
    return f"{words} Sentences and tables are of gross energy."


def timeline_sections(networks: Sequence[Network], left_out: str) -> list[Section]:
    """Networks by year; none where there is no timeline."""
    if not networks:
        return []
    estimated = any(network.energy_source != "measured" for network in networks)
    sizes = [network.parameters for network in networks if network.parameters]
    span = f" ({min(sizes) / 1e6:.1f} to {max(sizes) / 1e6:.1f} million)" if sizes else ""
    return [
        Section(
            "timeline",
            "What did the years bring?" + (" (energy estimated)" if estimated else ""),
            f"A point for each network, its area by its parameters{span}; hollow where accuracy is "
            "as published, filled where it was measured here. Energy is gross. Lines join the best "
            "of each time; "
            "green networks were on the front of accuracy and energy when they came out.",
            timeline_charts(networks),
            sentences=[timeline_sentence(networks), *([left_out] if left_out else [])],
            estimated=estimated,
            key=False,
        )
    ]


def power_sections(
    traces: Sequence[PowerTrace], rows: Sequence[CellRow], *, alone: bool = False
) -> list[Section]:
    """Power over time; none where no trace has it.

    Args:
        traces: Of the run.
        rows: Its cells.
        alone: Whether there is only a dataset, and the traces are elsewhere.
    """
    charts = power_chart(traces, rows)
    if alone:
        why = "Power traces are in the folder of the run; this report is of its dataset alone."
        return [Section("power", "What did the meters see?", "", [], why, key=False)]
    if not charts:
        return []
    cells = charts[0].facts["cells"]
    return [
        Section(
            "power",
            "What did the meters see?",
            "Power over time in the repetitions of one cell; the window that counts is shaded. "
            "Thinned for the page by merging steps, energy kept; all readings are in traces/.",
            charts,
            key=False,
            cells=[(place, cell["model"], cell["how"]) for place, cell in enumerate(cells)],
        )
    ]
