"""The sections of the page that hold charts."""

from collections.abc import Sequence

from greenbatch.analysis.findings.caveat import Caveat
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.timeline import (
    TIMELINES,
    Timeline,
    growth_sentence,
    leaner_sentences,
    timeline_sentence,
)
from greenbatch.analysis.report.charts.charts import (
    accuracy_charts,
    energy_charts,
    latency_charts,
    power_cells,
    power_chart,
    timeline_charts,
    tradeoff_charts,
)
from greenbatch.analysis.report.charts.power_traces import PowerTrace
from greenbatch.analysis.report.findings import Tradeoffs
from greenbatch.analysis.report.page import Section
from greenbatch.analysis.tradeoffs.accuracy_front import FrontCandidate


def batch_sections(
    rows: Sequence[CellRow],
    found: Sequence[Caveat],
    tradeoffs: Tradeoffs,
    turns: Sequence[str],
    delays: Sequence[str] = (),
) -> list[Section]:
    """Energy, latency, and one against the other, over the batch size.

    Args:
        rows: Of the closed loop.
        found: The run's caveats: one says why energy is missing.
        tradeoffs: The run's Pareto fronts.
        turns: Sentences on saturation points, crossovers and the effect of the batch size.
        delays: Sentences on its effect on the latency.
    """
    missing = [caveat.sentence for caveat in found if caveat.code == "energy-missing"]
    why = missing[0] if missing else "No cell has energy per image."
    estimated = any(row.energy_source in ("estimated", "mixed") for row in rows)
    mark = " Estimates are dashed and hollow." if estimated else ""
    net = net_words(rows)
    return [
        Section(
            "energy",
            "Energy per image by batch size" + (" (estimated)" if estimated else ""),
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
            "Latency by batch size",
            "Time from submitting a batch to its result, against batch size; lower is better.",
            latency_charts(rows),
            "Nothing was measured.",
            per=(("batch", "of a batch"), ("image", "over its images")),
            second_line=True,
            sentences=delays,
        ),
        Section(
            "tradeoff",
            "Pareto front: energy against latency" + (" (energy estimated)" if estimated else ""),
            "Each point is a batch size; low and left is better. Large points, with their batch "
            "size, are on the Pareto front: no other cell of the model needs both less energy and "
            "less time. Pale ones are dominated, beyond the spread of the repetitions."
            f"{mark}",
            tradeoff_charts(rows, tradeoffs.pareto_status, tradeoffs.net_pareto_status),
            why,
            per=(("image", "per image"), ("batch", "per batch")),
            sentences=tradeoffs.refused,
            estimated=estimated,
            net=net,
        ),
    ]


def accuracy_sections(
    found: Sequence[FrontCandidate], weighed: Sequence[str], variants: Sequence[str]
) -> list[Section]:
    """Energy, latency and accuracy of all networks; none where too few have an accuracy.

    Args:
        found: The cells that are weighed.
        weighed: What they show, in sentences.
        variants: All of the run, in its order.
    """
    if not weighed:
        return []
    estimated = any(candidate.energy_source != "measured" for candidate in found)
    nets = any(candidate.net_pareto_status is not None for candidate in found)
    return [
        Section(
            "accuracy",
            "Pareto front: energy, latency and accuracy"
            + (" (energy estimated)" if estimated else ""),
            "Every cell of every network; low and left is better. A line joins the cells of a "
            "network that are on the Pareto front of all three, and the paler it is, the less "
            "accurate the network. Hollow where accuracy is as published, filled where it was "
            "measured here; grey points are dominated.",
            accuracy_charts(found, variants),
            absent=" ".join(weighed),
            sentences=weighed,
            estimated=estimated,
            key=False,
            net="Net: less idle power times duration; the Pareto front is by net energy."
            if nets
            else "",
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


_BY_YEAR = "Accuracy and energy by year of publication"


def timeline_sections(timelines: Sequence[Timeline]) -> list[Section]:
    """Networks by year, a section for each timeline; none where there is none."""
    return [
        _timeline_section(name, found)
        if found.networks
        else Section(name, _BY_YEAR, "", [], absent=found.left_out, key=False)
        for name, found in zip(TIMELINES, timelines, strict=False)
        if found.networks or found.left_out
    ]


def _timeline_section(name: str, found: Timeline) -> Section:
    networks = found.networks
    estimated = any(network.energy_source != "measured" for network in networks)
    sizes = [network.parameters for network in networks if network.parameters]
    sizes_text = f" ({min(sizes) / 1e6:.1f} to {max(sizes) / 1e6:.1f} million)" if sizes else ""
    return Section(
        name,
        _BY_YEAR
        + (f", {found.chosen}" if found.chosen else "")
        + (" (energy estimated)" if estimated else ""),
        f"A point for each network, its area by its parameters{sizes_text}; hollow where accuracy "
        f"is as published, filled where it was measured here. Energy per {networks[0].per} is "
        f"gross, of {found.where}. Lines join the best networks so far; green networks were on "
        "the Pareto front of accuracy and energy when they were published.",
        timeline_charts(networks, name),
        sentences=[
            *filter(None, [growth_sentence(networks)]),
            *leaner_sentences(networks),
            timeline_sentence(found),
            *filter(None, [found.left_out]),
        ],
        estimated=estimated,
        key=False,
    )


def power_sections(
    traces: Sequence[PowerTrace], rows: Sequence[CellRow], *, alone: bool = False
) -> list[Section]:
    """Power over time; none where no trace has it.

    Args:
        traces: Of the run.
        rows: Its cells.
        alone: Whether there is only a dataset, and the traces are elsewhere.
    """
    cells = power_cells(traces, rows)
    if alone:
        why = "Power traces are in the folder of the run; this report is of its dataset alone."
        return [Section("power", "Power over time", "", [], why, key=False)]
    if not cells:
        return []
    return [
        Section(
            "power",
            "Power over time",
            "Power in the repetitions of one cell, as the meters reported it; the measured window "
            "is shaded. Thinned for the page by merging steps, energy kept; all readings are in "
            "traces/.",
            [power_chart(cells)],
            key=False,
            cells=[(place, cell["model"], cell["how"]) for place, cell in enumerate(cells)],
        )
    ]
