"""Start-up cost, as a table and as a sentence for the terminal."""

from collections.abc import Collection, Sequence

from greenbatch import units
from greenbatch.analysis.findings.answers import Answer
from greenbatch.analysis.findings.startup import BreakEven, Cost, PayBack, StartUp
from greenbatch.analysis.findings.wording import DASH, Table, spread
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.records import Cell

WORTH_SAYING_S = 60.0
"""A start-up cost that breaks even within a minute of work needs no word on the terminal."""


def starts_table(starts: Sequence[StartUp], against: Sequence[BreakEven]) -> Table:
    """Show cold and warm start-up cost, and the images to break-even.

    A line for each model, backend and precision: at the largest batch size that the reference was
    measured at too, or the largest of all where there is no reference.

    Args:
        starts: As `greenbatch.analysis.findings.startup.start_ups` gives them.
        against: Each against the reference, as `break_evens` gives them.
    """
    by_cell = {pair.cell: pair for pair in against}
    lines = shown_starts(starts, against)
    several = len({start.cell.precision for start in lines}) > 1
    kept = any(start.warm for start in lines)
    paired = any(start.cell in by_cell for start in lines)
    columns = ["model", "backend", *(["precision"] if several else []), "batch"]
    names = len(columns) - 1
    columns += ["load", "first inference", f"energy{_source(lines)}", *(["warm"] if kept else [])]
    prose = ["images to break-even, time", "images to break-even, energy"] if paired else []
    body = []
    for start in lines:
        cell, pair = start.cell, by_cell.get(start.cell)
        body.append(
            (
                cell.model,
                cell.variant,
                *([cell.precision] if several else []),
                str(cell.batch_size),
                *(_phase(start.cold, phase) for phase in ("load", "first")),
                spread(start.cold.energy_j, "J") if start.cold else DASH,
                *([_warm(start.warm)] if kept else []),
                *([verdict(pair.time, cell) if pair else DASH] if paired else []),
                *([verdict(pair.energy, cell) if pair else DASH] if paired else []),
            )
        )
    numeric = (False,) * names + (True,) * (len(columns) - names) + (False,) * len(prose)
    return Table("starts", "Start-up cost and break-even", (*columns, *prose), tuple(body), numeric)


def shown_starts(starts: Sequence[StartUp], against: Sequence[BreakEven]) -> list[StartUp]:
    """Choose the lines of `starts_table`, which takes the same."""
    known = [start for start in starts if start.cold or start.warm]
    return _largest(known, {pair.cell for pair in against})


def verdict(paid: PayBack, cell: Cell) -> str:
    """Say in a few words who is ahead, the cell or the reference, and for how many images."""
    if paid.verdict == "unknown":
        return f"not known: {paid.reason}"
    costly = paid.costly == cell
    if paid.verdict == "never":
        return "never" if costly else "always ahead"
    if paid.images is not None and paid.images < 1:
        at_once = f"{'ahead' if costly else 'behind'} from the start"
        late = paid.high is not None and 1 <= paid.high < float("inf")
        return f"{at_once} (at the latest after {count(paid.high)})" if late else at_once
    text = f"{'after' if costly else 'ahead for'} {count(paid.images)}"
    if paid.low is None or paid.high is None:
        return text
    if paid.high == float("inf"):  # of two blocks
        return f"{text} (from {count(paid.low)}, perhaps never)"
    return f"{text} ({count(paid.low)} … {count(paid.high)})"


def count(images: float | None) -> str:
    """Write a number of images to two digits: ``31,000``."""
    return DASH if images is None else f"{float(f'{images:.2g}'):,.0f}"


def slow_starts(
    answered: Sequence[Answer], starts: Sequence[StartUp], against: Sequence[BreakEven]
) -> list[str]:
    """Name the break-even of each model's best cell, where it is beyond a minute of work.

    Args:
        answered: As `greenbatch.analysis.findings.answers` gives them.
        starts: As for `starts_table`.
        against: As for `starts_table`.
    """
    by_cell = {pair.cell: pair for pair in against}
    per_image_s = {start.cell: start.per_image_s for start in starts}
    found: dict[str, list[str]] = {}
    for answer in answered:
        pair = by_cell.get(answer.best) if answer.best else None
        if pair is None or pair.time.verdict != "pays" or pair.time.costly != pair.cell:
            continue
        pace, images = per_image_s[pair.cell], pair.time.images
        if pace and images and (wait_s := images * pace.centre) > WORTH_SAYING_S:
            images_until = f"{answer.model} {count(images)} images ({units.duration(wait_s)})"
            who = f"{pair.cell.variant} costs more to start than {pair.reference_cell.variant}"
            found.setdefault(who, []).append(images_until)
    return [f"{who}; break-even: {', '.join(until)}" for who, until in found.items()]


def _largest(starts: Sequence[StartUp], paired: Collection[Cell]) -> list[StartUp]:
    chosen: dict[tuple[str, ...], StartUp] = {}
    for start in starts:
        cell = start.cell
        key = (cell.model, cell.variant, cell.precision, cell.io, cell.scenario)
        known = chosen.get(key)
        if known is None or (cell in paired, cell.batch_size) > (
            known.cell in paired,
            known.cell.batch_size,
        ):
            chosen[key] = start
    return list(chosen.values())


def _source(starts: Sequence[StartUp]) -> str:
    sources = {start.cold.energy_source for start in starts if start.cold} - {"missing"}
    return f" ({', '.join(sorted(sources))})" if sources else ""


def _phase(cost: Cost | None, phase: str) -> str:
    return _centre(cost.phases_s.get(phase), "s") if cost else DASH


def _warm(cost: Cost | None) -> str:
    if cost is None:
        return DASH
    return f"{_centre(cost.duration_s, 's')}, {_centre(cost.energy_j, 'J')}"


def _centre(value: Interval | None, unit: str) -> str:
    return units.si(value.centre, unit) if value else DASH
