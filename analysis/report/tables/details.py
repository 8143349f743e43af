"""Tables behind the answer: effective settings, and what each backend computes and needs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from greenbatch import units
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.comparisons import ComparisonRow
from greenbatch.analysis.findings.fairness import (
    NOT_RECORDED,
    Fairness,
    Kind,
    Mismatch,
    factor_name,
    in_words,
    mismatches,
)
from greenbatch.analysis.findings.wording import DASH, Table

DIFFERS, UNKNOWN = "≠", "?"
"""Marks before an entry: it differs from the reference's; it is not known to be the same."""


def fairness_table(found: Fairness) -> Table:
    """Lay out factors by backend; what differs from the first backend is marked."""
    variants = found.variants
    by_variant = [
        {mismatch.factor: mismatch.kind for mismatch in mismatches(variant, variants[0])}
        for variant in variants
    ]
    marks = {Kind.DIFFERS: f"{DIFFERS} ", Kind.UNKNOWN: f"{UNKNOWN} "}
    body = [
        (
            factor_name(factor),
            *(
                marks.get(marked[factor], "") + variant.text(factor)
                if factor in marked
                else variant.text(factor)
                for variant, marked in zip(variants, by_variant, strict=True)
            ),
        )
        for factor in found.recorded
    ]
    if found.libraries:
        entries = []
        for variant, marked in zip(variants, by_variant, strict=True):
            mark = marks[Kind.DIFFERS] if set(variant.libraries) & set(marked) else ""
            versions = (f"{name} {variant.text(name)}" for name in variant.libraries)
            entries.append(mark + (", ".join(versions) or NOT_RECORDED))
        body.append(("versions as loaded", *entries))
    columns = ("factor", *(variant.label for variant in variants))
    title = "Effective settings"
    return Table("fairness", title, columns, tuple(body), (False,) * len(columns), wraps=True)


def beside_ratios(
    compared: Sequence[ComparisonRow], found: Fairness
) -> tuple[list[str], list[str]]:
    """Say for each ratio what of the two backends' settings differs, and list it in full.

    Returns:
        An entry for each row of ``compared`` (``≠ threads, ? spinning``), and a sentence for each
        pair of backends that has a mismatch. Both are empty where nothing was recorded.
    """
    if not found.variants:
        return [], []
    marks = []
    pairs: dict[tuple[str, str], list[str]] = {}
    for row in compared:
        if not any(ratio.interval for ratio in (row.energy, row.latency, row.throughput)):
            marks.append(DASH)
            continue
        touching = found.between(row.cell, row.reference_cell)
        marks.append(_mark(touching))
        words = NOT_RECORDED if touching is None else in_words(touching)
        pairs.setdefault((row.cell.variant, row.reference), []).append(words)
    notes = []
    for (variant, reference), clauses in pairs.items():
        for clause in filter(None, dict.fromkeys(clauses)):
            count = clauses.count(clause)
            where = (
                "" if count == len(clauses) else f" ({count} of {units.count(len(clauses), 'row')})"
            )
            notes.append(f"{variant} against {reference}{where}: {clause}")
    return marks, notes


def _mark(touching: Sequence[Mismatch] | None) -> str:
    if touching is None:
        return f"{UNKNOWN}\N{NO-BREAK SPACE}{NOT_RECORDED}"
    parts = []
    for mark, kind in ((DIFFERS, Kind.DIFFERS), (UNKNOWN, Kind.UNKNOWN)):
        members = [mismatch for mismatch in touching if mismatch.kind is kind]
        if not members:
            continue
        what = ", ".join(mismatch.name for mismatch in members)
        if kind is Kind.UNKNOWN and len(members) > 3:
            texts = {mismatch.text for mismatch in members}
            what = NOT_RECORDED if texts == {NOT_RECORDED} else f"{len(members)} unknown"
        parts.append(f"{mark}\N{NO-BREAK SPACE}{what}")
    return "; ".join(parts) or "equal"


def outputs_table(rows: Sequence[CellRow]) -> Table:
    """Show agreement with the reference, peak memory, largest batch and accuracy.

    A line for each model, backend and precision, over its batch sizes: the worst agreement and the
    highest memory. A column in which no line has an entry is left out.
    """
    groups: dict[tuple[str, str, str], list[CellRow]] = {}
    for row in rows:
        key = (row.cell.model, row.cell.variant, row.cell.precision)
        groups.setdefault(key, []).append(row)
    several = len({row.cell.precision for row in rows}) > 1
    columns = ["model", "backend", *(["precision"] if several else [])]
    body = [list(key[: 2 + several]) for key in groups]
    numeric = [False] * len(columns)
    for column, entry in _OUTPUTS.items():
        entries = [entry(members) for members in groups.values()]
        if any(entries):
            columns.append(column)
            numeric.append(column != "top-1 accuracy")
            for line, text in zip(body, entries, strict=True):
                line.append(text or DASH)
    lines = tuple(map(tuple, body)) if len(columns) > 2 + several else ()
    return Table(
        "outputs",
        "Agreement with the reference, memory, accuracy",
        tuple(columns),
        lines,
        tuple(numeric),
    )


def _difference(rows: Sequence[CellRow]) -> str:
    found = [row.agreement_max_rel for row in rows if row.agreement_max_rel is not None]
    return f"{max(found):.1e}" if found else ""


def _cosine(rows: Sequence[CellRow]) -> str:
    found = [row.agreement_cosine for row in rows if row.agreement_cosine is not None]
    return f"{min(found):.5f}" if found else ""


def _equal(rows: Sequence[CellRow]) -> str:
    found = [row.agreement_equal for row in rows if row.agreement_equal is not None]
    return f"{100 * min(found):.1f} %" if found else ""


def _peak(rows: Sequence[CellRow], name: str) -> str:
    """Name the most bytes and the batch they were needed at; nothing where there were none."""
    found = [(known, row.cell.batch_size) for row in rows if (known := getattr(row, name))]
    if not found:
        return ""
    most, batch = max(found)
    return f"{units.si(most, 'B')} (batch {batch})"


def _largest(rows: Sequence[CellRow]) -> str:
    """Say which batch fits: as probed, else below which memory ran out."""
    for row in rows:
        if row.max_batch_size is not None:
            probed = f"{row.max_batch_size:.0f}"
            if not row.max_batch_size:
                return "none fits"
            return probed if row.min_failing_batch_size else f"≥ {probed}"
    failing = [row.cell.batch_size for row in rows if row.statuses.get("oom")]
    return f"< {min(failing)}" if failing else ""


def _top1(rows: Sequence[CellRow]) -> str:
    for row in rows:
        if found := row.accuracy:
            if found.source == "published":
                return f"{found.top1:.1f} % (published)"
            images = (
                f"{units.count(found.images, 'image')}"
                if found.images
                else "number of images not reported"
            )
            return f"{found.top1:.1f} % (measured here, {images})"
    return ""


_OUTPUTS: Mapping[str, Callable[[Sequence[CellRow]], str]] = {
    "largest difference": _difference,
    "lowest cosine": _cosine,
    "same positions": _equal,
    "memory": partial(_peak, name="memory_host_bytes"),
    "of its children": partial(_peak, name="memory_children_bytes"),
    "of the device": partial(_peak, name="memory_device_bytes"),
    "largest batch": _largest,
    "top-1 accuracy": _top1,
}
