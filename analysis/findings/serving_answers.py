"""For each model and traffic: which batching policy takes the least energy per request."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from greenbatch.analysis.dataset.energy_basis import all_unlike
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.wording import spread
from greenbatch.analysis.statistics.claims import by_block, least
from greenbatch.analysis.statistics.intervals import LEAST
from greenbatch.queueing.policies import parse_policy

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class ServingAnswer:
    """The best of the policies that sustained a rate in every repetition.

    Attributes:
        model: Of which model.
        arrivals, rate: Its traffic, as a study writes them; the rate in requests/s.
        best: The server of least energy per request; ``None`` where none sustained the rate.
        alike: Servers with no significant difference from it.
        measured, unmeasured: How many servers of that traffic were measured, and how many not.
    """

    model: str
    arrivals: str
    rate: str
    best: CellRow | None = None
    alike: tuple[CellRow, ...] = ()
    measured: int = 0
    unmeasured: int = 0

    @property
    def policy(self) -> str:
        """The best policy in short, and of how many where some were not measured."""
        if self.best is None:
            return f"none of {self.measured} measured" if self.unmeasured else "none sustained it"
        of = f", of {self.measured} measured" if self.unmeasured else ""
        return f"{self.best.cell.served.policy}{of}"

    @property
    def sentence(self) -> str:
        """The answer with its figures."""
        where = f"{self.model} at {self.rate} requests/s ({self.arrivals})"
        rest = f"; {self.unmeasured} of the design not measured" if self.unmeasured else ""
        if self.best is None:
            return f"{where}: no policy sustained the rate{rest}."
        row = self.best
        source = "" if row.energy_source == "measured" else f" ({row.energy_source})"
        tie = f" (no significant difference from {self.ties})" if self.alike else ""
        return (
            f"{where}: least energy per request{source} with {_named(row)}{tie}, "
            f"{spread(row.energy_per_image_j, 'J')}, "
            f"mean response {spread(row.response_mean_s, 's')}, "
            f"99th percentile {spread(row.response_p99_s, 's')}{rest}."
        )

    @property
    def ties(self) -> str:
        """The servers with no significant difference from the best; empty where there is none."""
        if not self.best or not self.alike:
            return ""
        names = ", ".join(_named(other) for other in self.alike[:_MOST_NAMED])
        more = len(self.alike) - _MOST_NAMED
        few = "" if self.best.ok >= LEAST else ": too few repetitions to be sure"
        rest = f" and {more} more" if more > 0 else ""
        return f"{names}{rest}{few}"


def serving_answers(rows: Sequence[CellRow]) -> list[ServingAnswer]:
    """Answer for each model and traffic of which that can be said.

    Only policies that sustained the rate in every repetition, and energies of one kind of source,
    are compared.

    Args:
        rows: As `greenbatch.analysis.findings.cells.cell_rows` gives them.
    """
    found = []
    for load, members in groupby(in_order(rows), key=_load):
        of_traffic = list(members)
        sustained = [row for row in of_traffic if row.ok and not row.flags.get("overloaded")]
        able = [row for row in sustained if row.energy_per_image_j is not None]
        measured = sum(row.ok > 0 for row in of_traffic)
        unmeasured = len(of_traffic) - measured
        if not sustained and measured:
            found.append(ServingAnswer(*load, measured=measured, unmeasured=unmeasured))
        elif able and not all_unlike(row.basis for row in able):
            found.append(ServingAnswer(*load, *_best(able), measured, unmeasured))
    return found


def in_order(rows: Sequence[CellRow]) -> list[CellRow]:
    """Return the servers among rows by model, traffic, variant and policy."""
    return sorted((row for row in rows if row.cell.is_server), key=_traffic)


def _best(rows: Sequence[CellRow]) -> tuple[CellRow, tuple[CellRow, ...]]:
    found = least(by_block([row.series["energy"].by_block for row in rows]))
    if found is None:
        return rows[0], ()
    return rows[found.best], tuple(rows[place] for place in found.alike)


def _named(row: CellRow) -> str:
    return f"{row.cell.served.policy} on {row.cell.variant}"


def _load(row: CellRow) -> tuple[str, str, str]:
    return row.cell.model, row.cell.served.arrivals, row.cell.served.rate


def _traffic(row: CellRow) -> tuple[str, str, float, str, str, int]:
    traffic = row.cell.served
    policy = parse_policy(traffic.policy)
    rate_hz = traffic.rate_hz or 0.0
    variant = row.cell.variant
    return row.cell.model, traffic.arrivals, rate_hz, variant, policy.kind, policy.largest
