"""The Pareto front of energy, latency and accuracy as a table."""

from collections.abc import Sequence

from greenbatch.analysis.findings.cells import AccuracyFigure
from greenbatch.analysis.findings.wording import DASH, Table, spread
from greenbatch.analysis.tradeoffs.accuracy_front import FrontCandidate


def accuracy_table(found: Sequence[FrontCandidate]) -> Table:
    """List the cells on the Pareto front, the most accurate first, then by rising latency."""
    on = [candidate for candidate in found if candidate.pareto_status == "front"]
    on.sort(key=lambda r: (-r.accuracy.top1, r.cell.model, r.latency_s.centre))
    several = len({candidate.cell.precision for candidate in on}) > 1
    kind = " (estimated)" if any(one.energy_source.in_part_estimated for one in on) else ""
    columns = (
        "model",
        "top-1 accuracy",
        "backend",
        *(["precision"] if several else []),
        "batch",
        f"energy/image{kind}",
        "latency p50",
    )
    body = tuple(
        (
            candidate.cell.model,
            accuracy_words(candidate.accuracy),
            candidate.cell.variant,
            *([candidate.cell.precision] if several else []),
            str(candidate.cell.batch_size),
            spread(candidate.energy_j, "J"),
            spread(candidate.latency_s, "s"),
        )
        for candidate in on
    )
    numeric = (False,) * (4 if several else 3) + (True,) * 3
    return Table("accuracy", "Pareto front of energy, latency and accuracy", columns, body, numeric)


def accuracy_words(found: AccuracyFigure | None) -> str:
    """Write an accuracy with how it was obtained: ``69.6 % (published)``."""
    if found is None:
        return DASH
    how = "published" if found.source == "published" else "measured here"
    return f"{found.top1:.1f} % ({how})"
