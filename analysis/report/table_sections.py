"""The tables of a report of inference, in the order in which they are shown, with their notes."""

from greenbatch.analysis.findings.fairness import Fairness, factor_name
from greenbatch.analysis.findings.wording import Table
from greenbatch.analysis.report.findings import InferenceFindings
from greenbatch.analysis.report.page import TableSection
from greenbatch.analysis.report.tables import batching, device, paired
from greenbatch.analysis.report.tables.accuracy import accuracy_table
from greenbatch.analysis.report.tables.batching import batching_table
from greenbatch.analysis.report.tables.details import beside_ratios, fairness_table, outputs_table
from greenbatch.analysis.report.tables.paired import paired_table
from greenbatch.analysis.report.tables.serving import serving_table
from greenbatch.analysis.report.tables.startup import shown_starts, starts_table
from greenbatch.analysis.report.tables.text import best_table, cells_table, comparison_table
from greenbatch.analysis.report.tables.tradeoffs import (
    PERCENT_PER_DOUBLING,
    Footprint,
    footprint_table,
    front_table,
    has_knee,
    turning_table,
)
from greenbatch.records import FACTORS

_SERVING = (
    "Single requests arrive and a policy batches them. The response time of a request runs from "
    "its planned arrival to its result. The energy per request is the energy of the window over "
    "the results that came in it. The power while a batch runs is that energy, less idle power in "
    "the rest of the window, over the time in which batches ran; a study that gives a peak power "
    "as the mean of the samples above some watts means the same. A policy flagged overloaded does "
    "not sustain the rate: its queue only grows, and its response times depend on the length of "
    "the window."
)
_FRONT = (
    "No other cell of the model needs both less energy per image and less time (of the means). "
    "In the figure, cells are called dominated where that is shown; the chance of any false one is "
    "at most 5 %."
)
_ACCURACY = (
    "No other cell of any network is at least as accurate for as little energy and time (of the "
    "means)."
)
_OUTPUTS = (
    "Over the batch sizes of a cell: outputs against fp32 on ONNX Runtime’s CPU for the same "
    "images (largest difference over the largest value; lowest cosine of an image), and the peak "
    "memory of the measuring process."
)


def table_sections(found: InferenceFindings, footprint: Footprint | None) -> list[TableSection]:
    """Lay out the tables of a run; one with nothing to show has no rows.

    Args:
        found: Of the run.
        footprint: What the reader wants to know of a million images.

    Raises:
        UsageError: A number in ``footprint`` is not positive, or codecarbon is missing for a place.
        UnknownNameError: The place is not known.
    """
    loop, tradeoffs = found.loop, found.tradeoffs
    several = len({row.cell.variant for row in found.cells}) > 1
    most = max((row.ok for row in found.cells), default=0)
    marks, mismatched = beside_ratios(found.comparisons, found.settings)
    turnings = tradeoffs.turnings
    warm = any(start.warm for start in shown_starts(found.starts, found.break_evens))
    return [
        TableSection(serving_table(found.cells), _SERVING),
        TableSection(batching_table(found.batching), batching.NOTE),
        TableSection(best_table(found.best)),
        *_footprint(found, footprint),
        TableSection(front_table(loop, tradeoffs.pareto_status), _FRONT),
        TableSection(accuracy_table(tradeoffs.candidates), _ACCURACY),
        TableSection(turning_table(turnings), _turning(most, knees=has_knee(turnings))),
        TableSection(
            comparison_table(found.comparisons, marks),
            _comparison(most, marked=bool(mismatched)),
            mismatched,
        ),
        TableSection(paired_table(found.paired), paired.NOTE),
        _settings(found.settings, several=several, alone=found.alone),
        TableSection(
            starts_table(found.starts, found.break_evens), _starts(several=several, warm=warm)
        ),
        TableSection(outputs_table(loop), _OUTPUTS),
        TableSection(device.device_table(found.cells), device.NOTE),
        TableSection(cells_table(loop), _cells(most)),
    ]


def _footprint(found: InferenceFindings, footprint: Footprint | None) -> list[TableSection]:
    if footprint is None or (footprint.carbon_intensity is None and footprint.price is None):
        return [TableSection(Table("footprint", "", (), (), ()))]  # a file of it is removed
    return [TableSection(*footprint_table(found.tradeoffs.closed, found.best, footprint))]


def _turning(most: int, *, knees: bool) -> str:
    """Explain saturation point and knee.

    Args:
        most: Repetitions of a cell.
        knees: Whether a knee was found.
    """
    between = (
        "; in brackets the batch sizes between which the 95 % intervals of the steps put it"
        if most > 1
        else ""
    )
    resampled = (
        "; in brackets, where 95 % of the resamples of the blocks put it" if most > 1 else ""
    )
    knee = f" The knee (Kneedle) needs four batch sizes or more{resampled}." if knees else ""
    return (
        f"From the saturation point on, doubling the batch size saves less than "
        f"{PERCENT_PER_DOUBLING:g} % of the energy per image{between}.{knee}"
    )


def _comparison(most: int, *, marked: bool) -> str:
    interval = {
        1: ". One repetition has no interval: no difference is shown.",
        2: ", with the range of the two repetitions, which shows no difference.",
    }.get(
        most,
        ", with the 95 % interval of the mean ratio; where it includes 1 there is no significant "
        "difference.",
    )
    settings = " Settings: ≠ differ, ? not known to be the same; listed below." if marked else ""
    return (
        f"Each backend over the reference, block by block{interval} Below 1 is less energy, "
        f"shorter latency, lower throughput.{settings}"
    )


def _settings(found: Fairness, *, several: bool, alone: bool) -> TableSection:
    table = fairness_table(found)
    if alone:
        return TableSection(
            table,
            absent="The effective settings of each backend, and where its graph ran, are in the "
            "folder of the run; this report is of its dataset alone.",
        )
    marks = (
        " ≠ marks a value that differs from that of the first backend though it could be made "
        "equal, ? one that is not known to be equal. Layout and optimization are the runtime’s "
        "own, a part of what is compared."
        if several
        else ""
    )
    missing = [factor_name(factor) for factor in FACTORS if factor not in found.recorded]
    unrecorded = f" Not recorded: {', '.join(missing)}." if missing else ""
    return TableSection(
        table, f"What each backend ran with, as reported by its runtime.{marks}{unrecorded}"
    )


def _starts(*, several: bool, warm: bool) -> str:
    cached = "; warm: with what an earlier repetition compiled" if warm else ""
    break_even = (
        " Break-even: after how many images the backend with the higher start-up cost has cost as "
        "little as the reference of the ratios, or the reference as little as the backend; never "
        "where it is shown to cost no less per image, not known where there is no significant "
        "difference (corrected over the cells)."
        if several
        else ""
    )
    return (
        f"Once in the life of a process, with an empty compilation cache{cached}. The interpreter "
        f"and its imports are not included.{break_even}"
    )


def _cells(most: int) -> str:
    figures = {
        1: "Of one repetition: there is no interval.",
        2: "Geometric mean of two repetitions ± the wider side of their range (both where they are "
        "far from even).",
    }.get(
        most,
        "Geometric mean over repetitions ± the wider side of its 95 % interval (bounds where they "
        "are far from even).",
    )
    return f"{figures} Flagged repetitions are included."
