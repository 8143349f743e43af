"""Networks by year: accuracy, energy per image, and the Pareto front of each time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.energy_basis import Basis, all_unlike
from greenbatch.analysis.findings.cells import AccuracyFigure, CellRow
from greenbatch.analysis.statistics.dominance import on_front
from greenbatch.analysis.statistics.intervals import Interval, ratio
from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.records import Cell
from greenbatch.records.provenance import Provenance

if TYPE_CHECKING:
    import xarray as xr

MOST_NAMED = 14
"""Networks that are all named in a figure; of more, those on the Pareto front of their time."""
TIMELINES = ("timeline", "timeline-chosen")
"""Names of the timeline of each network's best cell, and of the one that a reader chose."""
FEWEST = 2
"""Networks that make a timeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network, at its cell of least energy per image.

    Attributes:
        year: Of publication.
        parameters: ``None`` where unknown.
        cell: Where it needs least energy per image.
        energy_j: Per image, gross.
        by_block: The same by block.
        front: Whether no other network of its year or before has at least its accuracy for at
            most its energy. Of the means: their intervals may overlap.
    """

    model: str
    year: int
    parameters: float | None
    cell: Cell
    energy_j: Interval
    by_block: Mapping[int, float] = field(repr=False)
    energy_source: Provenance
    accuracy: AccuracyFigure
    front: bool = False

    @property
    def per(self) -> str:
        """What the energy is of: an ``image``, or a ``request`` of a server."""
        return "request" if self.cell.is_server else "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineChoice:
    """Which cells a timeline may take; where nothing is chosen, each network has its best.

    Attributes:
        batch_size: Of a server the largest batch of its policy.
        backend: Its name, or with what was set on it.
    """

    batch_size: int | None = None
    backend: str | None = None

    def __bool__(self) -> bool:
        return self.batch_size is not None or self.backend is not None

    @property
    def words(self) -> str:
        """What is chosen: ``at batch 8 on torch-cpu``; empty where nothing is."""
        batch = "" if self.batch_size is None else f"at batch {self.batch_size}"
        backend = "" if self.backend is None else f"on {self.backend}"
        return " ".join(filter(None, [batch, backend]))

    def of(self, rows: Sequence[CellRow]) -> list[CellRow]:
        """Take the cells that are chosen.

        Raises:
            UsageError: No cell has this batch size.
            UnknownNameError: No cell has this backend.
        """
        sizes = sorted({row.cell.batch_size for row in rows})
        if self.batch_size is not None and self.batch_size not in sizes:
            raise UsageError(
                f"no cell has batch {self.batch_size}, so there is no timeline at it; the run has "
                f"{', '.join(map(str, sizes)) or 'none'}"
            )
        names = dict.fromkeys(n for row in rows for n in (row.cell.backend, row.cell.variant))
        if self.backend is not None and self.backend not in names:
            raise UnknownNameError("backend of the run", self.backend, list(names))
        return [
            row
            for row in rows
            if self.batch_size in (None, row.cell.batch_size)
            and self.backend in (None, row.cell.backend, row.cell.variant)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The networks of a run by year.

    Attributes:
        networks: None where fewer than ``FEWEST`` have year, accuracy and energy, or where their
            energies do not rest on one kind of source.
        left_out: What to say of their weights and of those that are left out; or why there are no
            networks: servers do not sustain their rates, energies are not alike, or too few have
            what a reader chose.
        chosen: The batch and backend that were asked for, in words; empty: each network's best.
        traffic: Of servers, which requests arrive, in words.
    """

    networks: Sequence[Network] = ()
    left_out: str = ""
    chosen: str = ""
    traffic: str = ""

    @property
    def where(self) -> str:
        """Which cell of a network is shown."""
        own = "policy" if self.traffic else "batch size"
        best = f"each network at its own best backend and {own}"
        if self.chosen:
            best = f"every network {self.chosen}"
        return ", ".join(filter(None, [best, self.traffic]))


def timeline(
    dataset: "xr.Dataset",
    rows: Sequence[CellRow],
    choice: TimelineChoice | None = None,
) -> Timeline:
    """Gather the networks of a run by year, each at its cell of least energy per image.

    Servers are shown where there is no closed loop: those that sustain the rate, under the one
    traffic that most networks sustain (of several the one of the highest rate).

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it.
        rows: Its cells, as `cell_rows` gives them.
        choice: Which cells are taken.

    Raises:
        UsageError: The run has no cell of the batch size of ``choice``.
        UnknownNameError: The run has no cell of its backend.
    """
    choice = choice or TimelineChoice()
    rows = [row for row in rows if not row.cell.is_server] or list(rows)
    rows, traffic = _one_traffic(choice.of(rows))
    sustained = {row.cell.model for row in rows if not row.flags.get("overloaded")}
    unsustained = dict.fromkeys(r.cell.model for r in rows if r.cell.model not in sustained)
    years = along_models(dataset, "year")
    parameters = along_models(dataset, "parameters")
    published = along_models(dataset, "top1")
    weights = dict(zip(dataset["model"].values, dataset["weights"].values, strict=True))
    found: list[Network] = []
    without: list[str] = []
    untrained: list[str] = []
    bases: list[Basis] = []
    for model in dict.fromkeys(row.cell.model for row in rows):
        of_model = [row for row in rows if row.cell.model == model]
        known = [
            (energy.centre, place, accuracy)
            for place, row in enumerate(of_model)
            if (energy := row.energy_per_image_j) is not None
            and (accuracy := row.accuracy or published_accuracy(row, published.get(model)))
            is not None
        ]
        if model not in years or not known:
            without.append(model)
            continue
        _, place, accuracy = min(known, key=lambda entry: entry[:2])
        row = of_model[place]
        energy_j = row.energy_per_image_j
        assert energy_j is not None
        if weights.get(model) == "random":
            untrained.append(model)
        bases.append(row.basis)
        found.append(
            Network(
                model=model,
                year=int(years[model]),
                parameters=parameters.get(model),
                cell=row.cell,
                energy_j=energy_j,
                by_block=row.series["energy"].by_block,
                energy_source=row.energy_source,
                accuracy=accuracy,
            )
        )
    found.sort(key=lambda network: network.year)
    why = ""
    if len(found) < FEWEST and unsustained:
        why = f"too few networks sustain a rate; under no policy do {', '.join(unsustained)}"
    elif len(found) < FEWEST and (choice or any(row.flags.get("overloaded") for row in rows)):
        why = f"it takes {FEWEST} networks with year, accuracy and energy; here are {len(found)}"
    elif len(found) >= FEWEST and (unlike := all_unlike(bases)):
        why = f"the energies of the networks are not alike ({unlike})"
    if why or len(found) < FEWEST:
        return _none(choice, why)
    notes = []
    if untrained:
        notes.append(
            f"Ran with random weights, and are shown at the accuracy published for trained ones: "
            f"{', '.join(untrained)}."
        )
    if without:
        notes.append(f"Left out, without year, accuracy or energy: {', '.join(without)}.")
    return Timeline(
        networks=[_with_front(network, found) for network in found],
        left_out=" ".join(notes),
        chosen=choice.words,
        traffic=traffic,
    )


def _none(choice: TimelineChoice, why: str) -> Timeline:
    """Return a timeline without networks, and why it has none; empty: there is nothing to say."""
    what = " ".join(filter(None, ["networks by year", choice.words]))
    return Timeline(left_out=f"There is no figure of {what}: {why}." if why else "")


def _one_traffic(rows: Sequence[CellRow]) -> tuple[list[CellRow], str]:
    """Take the servers of one traffic that sustain it; a closed loop has none, and stays whole."""
    if not rows or not rows[0].cell.is_server:
        return list(rows), ""
    sustained: dict[tuple[str, str], list[CellRow]] = {}
    for row in rows:
        if row.energy_per_image_j is not None and not row.flags.get("overloaded"):
            traffic = row.cell.served
            sustained.setdefault((traffic.arrivals, traffic.rate), []).append(row)
    if not sustained:
        return [replace(row, energy_per_image_j=None) for row in rows], ""
    arrivals, rate = max(
        sustained,
        key=lambda load: (
            len({row.cell.model for row in sustained[load]}),
            sustained[load][0].cell.served.rate_hz or 0.0,
        ),
    )
    chosen = sustained[arrivals, rate]
    missing = {row.cell.model for row in rows} - {row.cell.model for row in chosen}
    # One that sustains the rate under no policy is named among those that are left out.
    rest = [replace(r, energy_per_image_j=None) for r in rows if r.cell.model in missing]
    return [*chosen, *rest], f"at {rate} requests/s ({arrivals})"


def fronts(networks: Sequence[Network]) -> list[tuple[int, list[Network]]]:
    """Give the front of accuracy against energy in each year that changed it, by rising energy."""
    steps: list[tuple[int, list[Network]]] = []
    for year in sorted({network.year for network in networks}):
        front = _front([network for network in networks if network.year <= year])
        front.sort(key=lambda network: network.energy_j.centre)
        if not steps or [n.model for n in steps[-1][1]] != [n.model for n in front]:
            steps.append((year, front))
    return steps


def timeline_sentence(found: Timeline) -> str:
    """Say which networks were on the Pareto front of their time, and which still are."""
    networks = found.networks
    first = [network for network in networks if network.front]
    last = fronts(networks)[-1][1]
    then = ", ".join(f"{network.model} ({network.year})" for network in first)
    now = ", ".join(network.model for network in last)
    return (
        f"On the Pareto front when published (no network of the run of that year or before is at "
        f"least as accurate for as little energy): {then}. On the Pareto front of all: {now}. "
        f"Of the means, {found.where}."
    )


def growth_sentence(networks: Sequence[Network]) -> str:
    """Say how energy and accuracy grew from the first year to the last one; empty for one year.

    Of the most accurate network of each of the two years.
    """
    first, last = (
        max(
            (network for network in networks if network.year == year),
            key=lambda network: network.accuracy.top1,
        )
        for year in (networks[0].year, networks[-1].year)
    )
    growth = ratio(last.by_block, first.by_block)
    if first.year == last.year or growth is None:
        return ""
    points = f"{last.accuracy.top1 - first.accuracy.top1:+.1f}".replace("-", "−")
    return (
        f"From {first.model} ({first.year}) to {last.model} ({last.year}), energy per {last.per} "
        f"changed by a factor of {_factor(growth)} and top-1 accuracy by {points} percentage "
        "points."
    )


def leaner_sentences(networks: Sequence[Network]) -> list[str]:
    """Name the networks that are shown to need less energy than every one published before them.

    Only those that are at least as accurate as the leanest one before them, with a sentence each.
    """
    found = []
    for network in networks:
        before = [other for other in networks if other.year < network.year]
        if not before:
            continue
        leanest = min(before, key=lambda other: other.energy_j.centre)
        share = ratio(network.by_block, leanest.by_block)
        points = network.accuracy.top1 - leanest.accuracy.top1
        if share is None or share.centre >= 1 or not share.excludes(1.0) or points < 0:
            continue
        found.append(
            f"{network.model} ({network.year}) needs {_factor(share)} times the energy per "
            f"{network.per} of {leanest.model} ({leanest.year}), the least of all networks before "
            f"it, with {points:.1f} percentage points more top-1 accuracy."
        )
    return found


def _factor(found: Interval) -> str:
    """Write a ratio with its interval: ``27.1 (26.4 … 27.8)``."""
    if found.low is None or found.high is None:
        return f"{found.centre:.3g}"
    word = "" if found.kind == "t" else "range "
    return f"{found.centre:.3g} ({word}{found.low:.3g} … {found.high:.3g})"


def _with_front(network: Network, others: Sequence[Network]) -> Network:
    return replace(network, front=network in _front([n for n in others if n.year <= network.year]))


def _front(networks: Sequence[Network]) -> list[Network]:
    points = ((network.energy_j.centre, -network.accuracy.top1) for network in networks)
    return [network for network, best in zip(networks, on_front(points), strict=True) if best]


def published_accuracy(row: CellRow, top1: float | None) -> AccuracyFigure | None:
    """Take what was published for the network (percent): it holds in fp32, whatever weights ran."""
    if top1 is None or row.cell.precision != "fp32":
        return None
    return AccuracyFigure(top1=top1, source="published")


def along_models(dataset: "xr.Dataset", name: str) -> Mapping[str, float]:
    """Read a number that goes along ``model``; a network without it has no entry."""
    if name not in dataset:
        return {}
    pairs = zip(dataset["model"].values.tolist(), dataset[name].values.tolist(), strict=True)
    return {str(model): value for model, value in pairs if value == value}
