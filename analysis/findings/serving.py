"""Servers as curves: energy per request and response time, a curve for each kind of policy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenbatch.analysis.dataset.energy_basis import all_unlike
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.statistics.claims import FRONT, by_block, front_codes
from greenbatch.queueing.policies import parse_policy
from greenbatch.records import AS_RECORDED, Cell

OVERLOADED = "overloaded"
KINDS = ("fixed", "greedy", "dynamic")
"""Kinds of policies in the order in which they are drawn."""
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class PolicyCurve:
    """Servers of one backend under one kind of policy, by the size of their largest batch.

    Attributes:
        variant: The backend with what was set on it.
        label: The variant, with the factors that differ within the run.
        kind: ``greedy``, ``fixed`` or ``dynamic``.
        estimated: Whether an energy rests on an estimate, in part or whole.
        rows: Those whose energy per request and response time are known.
    """

    variant: str
    label: str
    kind: str
    estimated: bool
    rows: tuple[CellRow, ...]


@dataclass(frozen=True, slots=True)
class ServingPanel:
    """The servers of a model that meet the same requests.

    Attributes:
        model: Its name.
        traffic: What they meet, in words.
        curves: At least one; of those that sustain the rate, if any does.
        left_out: Policies that do not sustain the rate though others do.
        pareto_status: Of each cell in a curve: ``front`` (no other needs both less energy and less
            time, of the means), ``dominated`` (another is shown to), ``unsure`` (another does of
            the means only), or ``overloaded``. Empty where energies of several sources are not to
            be set against each other.
        net_pareto_status: The same by net energy, of the cells that have it.
    """

    model: str
    traffic: str
    curves: tuple[PolicyCurve, ...]
    left_out: tuple[str, ...]
    pareto_status: dict[Cell, str]
    net_pareto_status: dict[Cell, str]

    @property
    def policies(self) -> list[str]:
        """The policies that are drawn: by kind, each by its largest batch."""
        return sorted(
            {policy_of(row) for curve in self.curves for row in curve.rows}, key=policy_order
        )

    @property
    def words(self) -> str:
        """The traffic, and which policies do not sustain its rate."""
        return ", ".join(filter(None, [self.traffic, self.unsustained]))

    @property
    def unsustained(self) -> str:
        """Which policies do not sustain the rate though others do; may be empty."""
        if not self.left_out:
            return ""
        more = len(self.left_out) - _MOST_NAMED
        names = ", ".join(self.left_out[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"not sustained by {names}"


def serving_panels(rows: Iterable[CellRow]) -> list[ServingPanel]:
    """Gather the servers by traffic and model, each in the study's order.

    Args:
        rows: As `greenbatch.analysis.findings.cells.cell_rows` gives them, of any scenario.
    """
    known = [
        row for row in rows if row.cell.is_server and row.energy_per_image_j and row.response_p99_s
    ]
    labels = _labels(known)
    loads: dict[tuple[str, str, str], list[CellRow]] = {}
    for row in known:
        traffic = row.cell.served
        loads.setdefault((row.cell.model, traffic.arrivals, traffic.rate), []).append(row)
    several = len({arrivals for _, arrivals, _ in loads}) > 1
    traffics = {load: place for place, load in enumerate(dict.fromkeys(key[1:] for key in loads))}
    panels = []
    for model, arrivals, rate in sorted(loads, key=lambda load: traffics[load[1:]]):
        members = loads[model, arrivals, rate]
        words = "as recorded" if rate == AS_RECORDED else f"{rate} requests/s"
        held = [row for row in members if not row.flags.get("overloaded")]
        late = [row for row in members if row.flags.get("overloaded")]
        drawn = held or late
        panels.append(
            ServingPanel(
                model,
                f"{words}, {arrivals}" if several else words,
                _curves(drawn, labels),
                _names(late if held else (), labels),
                _pareto_status(drawn, "energy"),
                _pareto_status(drawn, "energy_net"),
            )
        )
    return panels


def policy_order(text: str) -> tuple[int, int, float]:
    """Return what sorts policies by kind, each by its largest batch and longest wait."""
    policy = parse_policy(text)
    return KINDS.index(policy.kind), policy.largest, policy.wait_s


def policy_of(row: CellRow) -> str:
    """Return a server's policy as it is written."""
    return row.cell.served.policy


def _names(rows: Sequence[CellRow], labels: dict[Cell, str]) -> tuple[str, ...]:
    several = len(set(labels.values())) > 1
    return tuple(
        f"{policy_of(row)} on {labels[row.cell]}" if several else policy_of(row) for row in rows
    )


def _curves(rows: Sequence[CellRow], labels: dict[Cell, str]) -> tuple[PolicyCurve, ...]:
    grouped: dict[tuple[str, str, str, float, bool], list[CellRow]] = {}
    for row in rows:
        policy = parse_policy(policy_of(row))
        kind = policy.text.partition(":")[0]
        estimated = row.energy_source.in_part_estimated
        key = (row.cell.variant, labels[row.cell], kind, policy.wait_s, estimated)
        grouped.setdefault(key, []).append(row)
    return tuple(
        PolicyCurve(
            variant,
            label,
            kind,
            estimated,
            tuple(sorted(members, key=lambda row: parse_policy(policy_of(row)).largest)),
        )
        for (variant, label, kind, _, estimated), members in grouped.items()
    )


def _labels(rows: Sequence[CellRow]) -> dict[Cell, str]:
    several = len({row.cell.precision for row in rows}) > 1
    return {
        row.cell: f"{row.cell.variant} {row.cell.precision}" if several else row.cell.variant
        for row in rows
    }


def _pareto_status(rows: Sequence[CellRow], energy: str) -> dict[Cell, str]:
    """Weigh servers that meet the same requests, by a series of energies and the p99."""
    known = [row for row in rows if row.series[energy].by_block and row.response_p99_s]
    if all_unlike(row.basis for row in known):
        return {}
    names = (energy, "response_p99")
    codes = front_codes([by_block([row.series[name].by_block for row in known]) for name in names])
    return {
        row.cell: OVERLOADED if row.flags.get("overloaded") else FRONT[code]
        for row, code in zip(known, codes.tolist(), strict=True)
    }
