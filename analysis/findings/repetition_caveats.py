"""What a reader must know of the repetitions of a run: few, failed, flagged, or left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.groups import values_of
from greenbatch.analysis.dataset.variables import STOPS
from greenbatch.analysis.findings.caveat import Caveat, Severity
from greenbatch.analysis.findings.cells import SLOW, CellRow
from greenbatch.analysis.statistics.intervals import LEAST
from greenbatch.design.recorded import RecordedStudy

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.records import Cell

_FLAG_MEANINGS = {
    "unsteady": "latencies had not settled when measuring began",
    "throttled": "the device lowered its clocks",
    "power_capped": "the power limit held the clocks down, as is usual at full load",
    "disturbed": "other work took part of the machine",
    "meter_disagrees": "two ways of metering the same device differ",
    "fallback": "part of the graph ran on another provider than the requested one",
    "overloaded": "the server did not sustain the rate, and its response times grow with the "
    "window",
    "late": "requests were handed over later than planned",
}
_FLAG_SEVERITIES = {"fallback": Severity.SERIOUS, "power_capped": Severity.NOTE}


def repetition_caveats(rows: Sequence[CellRow]) -> Iterator[Caveat]:
    """Say that repetitions are few, that some were not run, and which cells failed."""
    yield from few_repetitions(rows[0].planned if rows else 0, [row.ok for row in rows], "cell")
    not_run = sum(row.statuses.get("not_run", 0) for row in rows)
    if not_run:
        total = sum(row.planned for row in rows)
        yield Caveat(
            "incomplete",
            Severity.CAUTION,
            f"The run is incomplete: {units.part(not_run, total, 'repetition', 'were')} not run.",
        )
    yield from _failures(rows)


def few_repetitions(planned: int, finished: Sequence[int], noun: str) -> Iterator[Caveat]:
    """Say that repetitions are too few for intervals, of inference or of training.

    Args:
        planned: Repetitions in the design.
        finished: How many ended well, for each of what was repeated.
        noun: What was repeated, e.g. ``cell``.
    """
    if planned < LEAST:
        count = {0: "No repetition was", 1: "One repetition was"}.get(
            planned, "Two repetitions were"
        )
        shown = "no spread is known" if planned < 2 else "ranges are shown, not intervals"
        yield Caveat("few-repetitions", Severity.CAUTION, f"{count} requested, so {shown}.")
    elif few := sum(0 < ok < LEAST for ok in finished):
        yield Caveat(
            "few-repetitions",
            Severity.CAUTION,
            f"{units.part(few, len(finished), noun, 'have')} fewer than {LEAST} finished "
            "repetitions and therefore no confidence interval.",
        )


def budget_caveats(rows: Sequence[CellRow], study: RecordedStudy) -> Iterator[Caveat]:
    """Say which cells a run with a budget measured less than others, or not at all."""
    early = sum(row.ok > 0 and bool(row.left) for row in rows)
    absent = sum(not row.ok and bool(row.left) for row in rows)
    if early or absent:
        yield Caveat(
            "budget",
            Severity.CAUTION,
            f"The run had a budget: of {units.count(len(rows), 'cell')}, it left {early} before "
            f"the end and did not measure {absent}; the table of all cells says why. The intervals "
            "of these are wide or missing, so ratios, fronts, knees, recommendations and "
            "comparisons that involve them rest on less than those of the other cells.",
        )
    if late := sum(row.left == "not measured: time" for row in rows):
        yield Caveat(
            "budget-spent",
            Severity.CAUTION,
            f"The budget of {units.duration(study.budget or 0)} had no time for "
            f"{units.count(late, 'cell')} that may change the answer; use a larger one, e.g. "
            "--budget 1h.",
        )
    if slow := sum(row.left == SLOW for row in rows):
        yield Caveat(
            "budget-slow",
            Severity.CAUTION,
            f"In {units.count(slow, 'cell')} a batch takes too long for the budget of "
            f"{units.duration(study.budget or 0)}: the answers hold for the other batch sizes; use "
            "a larger one, e.g. --budget 1h.",
        )
    yield from _failures(rows)


def repeat_caveats(dataset: "xr.Dataset", study: RecordedStudy) -> Iterator[Caveat]:
    """Report superseded attempts, and cells that are less precise than was requested."""
    import numpy as np

    if not {"stopped", "stopped_half_width", "disturbed_attempts", "in_design"} <= dataset.keys():
        return
    if again := int(np.nansum(values_of(dataset, "disturbed_attempts"))):
        yield Caveat(
            "disturbed-attempts",
            Severity.NOTE,
            f"{units.are(again, 'repetition')} superseded: disturbed, and measured again at the "
            "end of the block; the journal keeps both.",
        )
    wide = values_of(dataset, "stopped") == STOPS.index("maximum")
    if count := int(wide.sum()):
        designed = int((values_of(dataset, "in_design") == 1).sum())
        widest = float(np.nanmax(values_of(dataset, "stopped_half_width")[wide]))
        yield Caveat(
            "target-missed",
            Severity.CAUTION,
            f"{units.part(count, designed, 'cell')} not within ± "
            f"{study.precision_target or 0:.2g} of their mean after {study.max_repetitions} "
            "repetitions; the widest is "
            f"{f'± {widest:.2g}' if widest <= 1 else 'not known within 100 %'}.",
        )


def _failures(rows: Sequence[CellRow]) -> Iterator[Caveat]:
    """Name the cells that failed; batch sizes that failed in the same way share a sentence."""
    alike: dict[tuple[Cell, str, str], list[int]] = {}
    for row in rows:
        failed = {s: n for s, n in row.statuses.items() if s not in ("ok", "not_run")}
        if failed:
            how = ", ".join(f"{name} {count}×" for name, count in failed.items())
            why = "; ".join(reason.rstrip(".") for reason in row.failures)
            alike.setdefault((replace(row.cell, batch_size=1), how, why), []).append(
                row.cell.batch_size
            )
    for (cell, how, why), sizes in alike.items():
        name = f"{cell.model} on {cell.how_at(*sizes)}"
        each = ", each" if len(sizes) > 1 else ""
        yield Caveat("failed", Severity.CAUTION, f"Failed: {name} ({how}{each}): {why}.")


def flag_caveats(rows: Sequence[CellRow]) -> Iterator[Caveat]:
    """Count the repetitions that carry each flag."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.flags)
    for name, count in counts.items():
        severity = _FLAG_SEVERITIES.get(name, Severity.CAUTION)
        meaning = _FLAG_MEANINGS.get(name, name)
        word = name.replace("_", " ")
        yield Caveat(
            f"flag-{name.replace('_', '-')}",
            severity,
            f"{units.are(count, 'repetition')} flagged as {word} ({meaning}); "
            f"{'it is' if count == 1 else 'they are'} included.",
        )
