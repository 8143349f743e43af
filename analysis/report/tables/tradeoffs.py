"""Trade-offs as the report shows them: Pareto front, saturation point, knee, footprint."""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.factors import cell_of, cells_of, designed
from greenbatch.analysis.dataset.variables import LOOP, settings_of
from greenbatch.analysis.findings.answers import Answer
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.comparisons import BestRow
from greenbatch.analysis.findings.wording import DASH, NOT_KNOWN, Table, amount, spread
from greenbatch.analysis.statistics.by_dimension import figure_of
from greenbatch.analysis.statistics.claims import FRONT
from greenbatch.analysis.tradeoffs.crossovers import as_family, crossover_of
from greenbatch.analysis.tradeoffs.curve_selection import Curve, curve_of, curves
from greenbatch.analysis.tradeoffs.footprint import Rates, carbon_and_cost, rates_of
from greenbatch.analysis.tradeoffs.pareto import energy_metric, front_of
from greenbatch.analysis.tradeoffs.turning_points import (
    Knee,
    Saturation,
    knee_count,
    knee_of,
    quantity_named,
    saturation_of,
)
from greenbatch.errors import UsageError
from greenbatch.records import Cell

if TYPE_CHECKING:
    import xarray as xr

PERCENT_PER_DOUBLING = 5.0
"""A saving below which energy per image is called saturated."""
_METRIC = "energy_per_image"


_NEEDED = (
    "energy_per_image",
    "energy_per_image_net",
    "energy_per_image_source",
    "latency",
    "status",
    "in_design",
    "reason",
    "energy_reason",
    "memory_peak",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a reader wants to know of a million images.

    Attributes:
        carbon_intensity: In g CO2e per kWh, or a place, as `carbon_and_cost` takes it.
        price: Of a kWh, in ``currency``.
    """

    carbon_intensity: float | str | None = None
    price: float | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turning:
    """Saturation point and knee of one curve of energy per image over the batch size."""

    labels: Mapping[str, Hashable]
    curve: Curve
    variant: str
    saturation: Saturation
    knee: Knee


def offline(dataset: "xr.Dataset") -> "xr.Dataset":
    """Narrow a dataset to what the trade-offs of the closed loop need."""
    return designed(dataset[[name for name in _NEEDED if name in dataset]])


def pareto_statuses(
    dataset: "xr.Dataset", *, net: bool = False
) -> tuple[dict[Cell, str], list[str]]:
    """Say of each cell whether it is on its model's Pareto front of energy and latency.

    Args:
        dataset: Of the closed loop.
        net: By the energy less idle power; a cell without it has no status.

    Returns:
        ``front``, ``unsure`` or ``dominated`` by cell; and for models whose energies cannot be
        compared a sentence why.
    """
    found: dict[Cell, str] = {}
    refused: list[str] = []
    for model in dataset["model"].values.tolist() if dataset.sizes["batch_size"] else ():
        part = designed(dataset.sel(model=[model]))
        try:
            energy, latency = figure_of(part, energy_metric(net)), figure_of(part, "latency")
            codes = front_of(part, energy, latency)
        except UsageError:  # energies that rest on different things
            refused.append(str(model))
            continue
        values = codes.transpose(*LOOP).values
        found |= {cell: FRONT[values[place]] for cell, place in cells_of(part) if values[place]}
    if not refused:
        return found, []
    why = "its energies are estimated in part, and an estimate is not compared with a measurement"
    return found, [f"No Pareto front of {model}: {why}." for model in refused]


def front_table(rows: Sequence[CellRow], pareto_status: Mapping[Cell, str]) -> Table:
    """List the cells on the Pareto front, by rising latency."""
    columns = ("model", "backend", "precision", "batch", "energy/image", "latency p50", "accuracy")
    order = {model: i for i, model in enumerate(dict.fromkeys(row.cell.model for row in rows))}
    on = [row for row in rows if pareto_status.get(row.cell) == "front" and row.latency_p50_s]
    on.sort(key=lambda r: (order[r.cell.model], r.latency_p50_s.centre if r.latency_p50_s else 0.0))
    estimated = any(row.energy_source.in_part_estimated for row in on)
    body = [
        (
            row.cell.model,
            row.cell.variant,
            row.cell.precision,
            str(row.cell.batch_size),
            spread(row.energy_per_image_j, "J"),
            spread(row.latency_p50_s, "s"),
            f"{row.accuracy.top1:.1f} % ({row.accuracy.source})" if row.accuracy else DASH,
        )
        for row in on
    ]
    drop = {"precision"} if len({row.cell.precision for row in rows}) < 2 else set()
    drop |= {"accuracy"} if not any(row.accuracy for row in on) else set()
    keep = [place for place, column in enumerate(columns) if column not in drop]
    shown = tuple(
        f"{columns[place]} (estimated)"
        if columns[place] == "energy/image" and estimated
        else columns[place]
        for place in keep
    )
    numeric = tuple(columns[place] not in ("model", "backend", "precision") for place in keep)
    lines = tuple(tuple(line[place] for place in keep) for line in body)
    return Table("front", "Pareto front of energy and latency", shown, lines, numeric)


def turnings(dataset: "xr.Dataset") -> list[Turning]:
    """Find saturation point and knee of each curve of energy per image with two batch sizes.

    Args:
        dataset: Of the closed loop.
    """
    found = []
    if dataset.sizes["batch_size"] < 2:
        return []
    what, may_have_knee = quantity_named(_METRIC), knee_count(dataset, _METRIC)
    for labels in curves(dataset):
        try:
            curve = curve_of(dataset, labels, _METRIC, "a knee")
        except UsageError:  # points that rest on different things are no curve
            continue
        turning = Turning(
            labels=labels,
            curve=curve,
            variant=cell_of({**labels, "batch_size": 1}, settings_of(dataset)).variant,
            saturation=saturation_of(curve, what, PERCENT_PER_DOUBLING),
            knee=knee_of(curve, what, may_have_knee),
        )
        if not turning.saturation.reason:
            found.append(turning)
    order = {str(model): place for place, model in enumerate(dataset["model"].values.tolist())}
    return sorted(found, key=lambda turning: order[str(turning.labels["model"])])


def turning_table(found: Sequence[Turning]) -> Table:
    """Show for each curve from which batch size on a larger one saves little, and its knee."""
    several = len({turning.labels["precision"] for turning in found}) > 1
    knees = has_knee(found)
    columns = (
        "model",
        "backend",
        *(["precision"] if several else []),
        "saturation at batch",
        *(["knee at batch"] if knees else []),
        "repetitions",
    )
    body = tuple(
        (
            str(turning.labels["model"]),
            turning.variant,
            *([str(turning.labels["precision"])] if several else []),
            _from_batch(turning.saturation),
            *([_knee(turning.knee)] if knees else []),
            str(turning.saturation.repetitions),
        )
        for turning in found
    )
    names = 3 if several else 2
    numeric = (False,) * names + (True,) * (len(columns) - names)
    title = "Saturation point and knee of the energy per image"
    return Table("turning", title, columns, body, numeric)


def has_knee(found: Sequence[Turning]) -> bool:
    """Whether any curve has a knee."""
    return any(turning.knee.batch_size is not None for turning in found)


def turning_sentences(answered: Sequence[Answer], found: Sequence[Turning]) -> list[str]:
    """Say where each model's best backend saturates."""
    sentences = []
    for answer in answered:
        for turning in found:
            at = answer.best
            if at and (at.model, at.variant, at.precision, at.io) == (
                turning.labels["model"],
                turning.variant,
                turning.labels["precision"],
                turning.labels["io"],
            ):
                sentences.append(str(turning.saturation))
                break
    return sentences


def crossing_sentences(dataset: "xr.Dataset", found: Sequence[Turning]) -> list[str]:
    """Say where another backend overtakes the first one of its model; where none does, nothing.

    The pairs of a report are one family: the chance that any crossing is called significant
    falsely is at most 5 %.
    """
    order = {str(model): place for place, model in enumerate(dataset["model"].values.tolist())}

    def alike(turning: Turning) -> tuple[str, ...]:
        return tuple(str(turning.labels[dim]) for dim in ("model", "precision", "io"))

    def place(key: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        return order[key[0]], key

    compared = []
    for _, members in groupby(sorted(found, key=lambda t: place(alike(t))), key=alike):
        first, *others = members
        for other in others:
            with suppress(UsageError):  # an estimate against a measurement
                compared.append(crossover_of(other.curve, first.curve, quantity_named(_METRIC)))
    return [str(one) for one in as_family(compared) if one.verdict == "crosses"]


def footprint_table(
    dataset: "xr.Dataset", best: Sequence[BestRow], footprint: Footprint
) -> tuple[Table, str]:
    """Say what a million images cost at each backend's best batch size, and what was assumed.

    Args:
        dataset: Of the closed loop.
        best: As `greenbatch.analysis.best_rows` gives them.
        footprint: Intensity, price, or both.

    Raises:
        UsageError: A number is not positive, or codecarbon is missing for a place.
        UnknownNameError: The place is not known.
    """
    result = carbon_and_cost(
        dataset,
        carbon_intensity=footprint.carbon_intensity,
        price=footprint.price,
        currency=footprint.currency or "currency",
    )
    arrays = {
        name: result[name].transpose(*LOOP).values
        for stem in ("carbon", "cost")
        if stem in result
        for name in (stem, f"{stem}_low", f"{stem}_high")
    }
    places = dict(cells_of(dataset))
    counts = result["repetitions"].transpose(*LOOP).values
    estimated = any(row.energy_source.in_part_estimated for row in best)
    kind = " (estimated)" if estimated else ""
    columns = ["model", "backend", "batch"]
    columns += [f"CO₂e{kind}"] if "carbon" in arrays else []
    columns += [f"electricity{f', {footprint.currency}' if footprint.currency else ''}{kind}"] * (
        "cost" in arrays
    )
    body = []
    for row in best:
        place = places[row.cell]
        line = [row.cell.model, row.cell.variant, str(row.cell.batch_size)]
        for stem, unit in (("carbon", "g"), ("cost", "")):
            if stem in arrays:
                names = (stem, f"{stem}_low", f"{stem}_high")
                centre, low, high = (float(arrays[name][place]) for name in names)
                line.append(_bounded(centre, low, high, int(counts[place]), unit))
        body.append(tuple(line))
    numeric = (False, False) + (True,) * (len(columns) - 2)
    table = Table(
        "footprint",
        "Carbon footprint and cost of a million images",
        tuple(columns),
        tuple(body),
        numeric,
    )
    return table, assumed(rates_of(footprint.carbon_intensity, footprint.price), footprint.currency)


def assumed(rates: Rates, currency: str) -> str:
    """Say what a footprint rests on."""
    parts = []
    if rates.carbon_g is not None:
        grams = f"{rates.carbon_g:g} g CO₂e per kWh"
        parts.append(f"{grams} ({rates.carbon_source})" if rates.carbon_source else grams)
    if rates.price is not None:
        parts.append(f"{rates.price:g} {currency} per kWh".replace("  ", " "))
    return (
        f"At {' and '.join(parts)}, taken as exact; gross energy of the domains that count. What "
        "making the hardware emitted, cooling and losses outside are not included."
    )


def _bounded(centre: float, low: float, high: float, n: int, unit: str) -> str:
    if centre != centre:
        return DASH
    text = amount(centre, unit)
    if low != low or high != high:
        return f"{text} (no interval: {units.count(n, 'repetition')})"
    if max(high - centre, centre - low) > abs(centre):
        return f"{text} ({NOT_KNOWN})"
    return f"{text} ({amount(low, unit)} … {amount(high, unit)})"


def _from_batch(found: Saturation) -> str:
    if found.open:
        return "not known"
    text = f"not up to {found.largest}" if found.batch_size is None else str(found.batch_size)
    if found.repetitions < 2:
        return text
    beyond = f"beyond {found.largest}"
    low, high = (str(end) if end else beyond for end in (found.low, found.high))
    return f"{text} ({low} … {high})" if found.low else f"{text} ({beyond})"


def _knee(found: Knee) -> str:
    if found.batch_size is None:
        return DASH
    if found.low is None or found.high is None:
        return str(found.batch_size)
    return f"{found.batch_size} ({found.low} … {found.high})"
