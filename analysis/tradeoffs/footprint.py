"""Carbon and money that a million images cost, from their energy.

Operation only: what making the hardware emitted, cooling and the losses of a data centre (its PUE)
are in neither. Give an intensity and a price that hold them, if they should be.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch.analysis.statistics.by_dimension import Figure, figure_of, intervals_of
from greenbatch.analysis.tradeoffs.pareto import energy_metric
from greenbatch.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import xarray as xr

KILOWATT_HOUR_J = 3.6e6
POUND_PER_MWH_G_PER_KWH = 0.45359237
"""453.59237 g in a pound, 1000 kWh in a MWh."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a kWh emits and costs.

    Attributes:
        carbon_g: In g CO2e; ``None``: not asked for.
        carbon_source: Where that is from; empty where it was given as a number.
        price: In the currency; ``None``: not asked for.
    """

    carbon_g: float | None
    carbon_source: str
    price: float | None


def carbon_and_cost(
    dataset: "xr.Dataset",
    *,
    carbon_intensity: float | str | None = None,
    price: float | None = None,
    currency: str = "currency",
    net: bool = False,
    images: float = 1e6,
) -> "xr.Dataset":
    """Say what images cost in carbon and money.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        carbon_intensity: In g CO2e per kWh; or a country or region, see `intensity_of`.
        price: Of a kWh.
        currency: Of the price; the unit in the result.
        net: Of the energy less idle power.
        images: How many.

    Returns:
        ``carbon`` (g) and ``cost`` with bounds, as
        `greenbatch.analysis.statistics.by_dimension.intervals_of`; intensity and price are taken to
        be exact.

    Raises:
        UsageError: Neither is given, or a number is not positive.
    """
    require_positive({"images": images})
    rates = rates_of(carbon_intensity, price)
    energy = figure_of(dataset, energy_metric(net))
    per_kwh = (
        ("carbon", rates.carbon_g, "g", "carbon dioxide equivalent"),
        ("cost", price, currency, "cost of the electricity"),
    )
    parts = [
        intervals_of(_scaled(energy, name, factor * images / KILOWATT_HOUR_J, unit, what, images))
        for name, factor, unit, what in per_kwh
        if factor is not None
    ]
    result = parts[0]
    if len(parts) > 1:
        result = result.merge(parts[1].drop_vars([name for name in parts[1] if name in result]))
    result.attrs = parts[0].attrs | {"images": images}
    if rates.carbon_g is not None:
        result.attrs["carbon_intensity_g_per_kwh"] = rates.carbon_g
    if rates.carbon_source:
        result.attrs["carbon_intensity_source"] = rates.carbon_source
    if price is not None:
        result.attrs["price_per_kwh"] = price
    return result


def rates_of(carbon_intensity: float | str | None, price: float | None) -> Rates:
    """Check what a kWh emits and costs, and look up a place.

    Args:
        carbon_intensity: In g CO2e per kWh; or a country or region, see `intensity_of`.
        price: Of a kWh.

    Raises:
        UsageError: Neither is given, or a number is not positive; or codecarbon is missing for a
            place.
        UnknownNameError: The place is not known.
    """
    if carbon_intensity is None and price is None:
        raise UsageError("a footprint needs a carbon intensity (g/kWh) or a price per kWh")
    source = ""
    if isinstance(carbon_intensity, str):
        carbon_intensity, source = intensity_of(carbon_intensity)
    require_positive({"price": price, "carbon intensity": carbon_intensity})
    return Rates(carbon_intensity, source, price)


def require_positive(given: Mapping[str, float | None]) -> None:
    """Refuse numbers that are negative or not finite.

    Raises:
        UsageError: One is.
    """
    for name, value in given.items():
        if value is not None and not (value >= 0 and math.isfinite(value)):
            raise UsageError(f"the {name} is {value:g}; give a finite number, 0 or more")


def _scaled(
    energy: Figure, name: str, factor: float, unit: str, what: str, images: float
) -> Figure:
    attrs = {"units": unit, "long_name": f"{what} of {images:,.0f} images"}
    values = (energy.values * factor).assign_attrs(attrs)
    return Figure(name, values, energy.source, lambda: energy.why, energy.flags)


def intensity_of(place: str) -> tuple[float, str]:
    """Look up the carbon intensity of a country's or region's electricity in codecarbon's data.

    No network is used, and nothing stands in for a place that is not in the data.

    Args:
        place: A country by ISO 3166-1 alpha-3 code or name (``FRA``, ``France``), a state of the
            United States as ``USA/ohio``, or a Nordic bidding zone as ``SE3``.

    Returns:
        g CO2e per kWh, and where the figure is from, with its year.

    Raises:
        UsageError: codecarbon is not installed.
        UnknownNameError: The data does not have the place.
    """
    try:
        from codecarbon.input import DataSource
    except ImportError as error:
        raise UsageError(
            f"the carbon intensity {place!r} needs codecarbon's data; install greenbatch[carbon], "
            "or give a number in g/kWh"
        ) from error
    data = DataSource()
    country, _, state = place.partition("/")
    known: dict[str, tuple[float, int | None]] = {}
    if state and country.upper() == "USA":
        states = data.get_country_emissions_data("usa")
        year = states.get("_source", {}).get("year")
        for name, entry in states.items():
            if not name.startswith("_"):
                known[f"USA/{name}"] = (entry["emissions"] * POUND_PER_MWH_G_PER_KWH, year)
    else:
        for code, entry in data.get_global_energy_mix_data().items():
            if entry.get("carbon_intensity") is not None:
                figure = (entry["carbon_intensity"], entry.get("year"))
                known[code] = known[entry["country_name"]] = figure
        for zone, entry in data.get_nordic_country_energy_mix_data()["data"].items():
            known[zone] = (entry["emission_factor"], entry.get("year"))
    by_lower = {name.lower(): name for name in known}
    if place.lower() not in by_lower:
        raise UnknownNameError("country or region", place, known)
    found = by_lower[place.lower()]
    value, year = known[found]
    return float(value), f"codecarbon's data, {found}, {year or 'year not stated'}"
