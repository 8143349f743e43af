"""The front of energy, latency and accuracy as a table."""

from collections.abc import Sequence

from greenbatch.analysis.findings.cells import AccuracyFigure
from greenbatch.analysis.findings.wording import DASH, Table, spread
from greenbatch.analysis.tradeoffs.accuracy_front import Rival


def accuracy_table(found: Sequence[Rival]) -> Table:
    """List the cells on the front, the most accurate first, then by rising latency."""
    on = [rival for rival in found if rival.standing == "front"]
    on.sort(key=lambda r: (-r.accuracy.top1, r.cell.model, r.latency_s.centre))
    several = len({rival.cell.precision for rival in on}) > 1
    kind = " (estimated)" if {rival.energy_source for rival in on} == {"estimated"} else ""
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
            rival.cell.model,
            accuracy_words(rival.accuracy),
            rival.cell.variant,
            *([rival.cell.precision] if several else []),
            str(rival.cell.batch_size),
            spread(rival.energy_j, "J"),
            spread(rival.latency_s, "s"),
        )
        for rival in on
    )
    numeric = (False,) * (4 if several else 3) + (True,) * 3
    return Table("accuracy", "Energy, latency and accuracy: the front", columns, body, numeric)


def accuracy_words(found: AccuracyFigure | None) -> str:
    """Write an accuracy with how it was obtained: ``69.6 % (published)``."""
    if found is None:
        return DASH
    how = "published" if found.source == "published" else "measured here"
    return f"{found.top1:.1f} % ({how})"
