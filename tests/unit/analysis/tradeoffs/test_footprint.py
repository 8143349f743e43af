"""Carbon and cost of a million images, and what a place emits for a kWh."""

import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from greenbatch.analysis.tradeoffs.footprint import carbon_and_cost, intensity_of
from greenbatch.errors import UnknownNameError, UsageError
from tests.fakes.curves import measured

pytestmark = pytest.mark.numeric


def test_a_footprint_is_energy_times_intensity_and_price(tmp_path: Path) -> None:
    dataset = measured(tmp_path, lambda backend, batch: 3.6, blocks=1)  # 1 kWh a million
    found = carbon_and_cost(dataset, carbon_intensity=250, price=0.30, currency="EUR")
    assert found["carbon"].values == pytest.approx(250.0)
    assert found["cost"].values == pytest.approx(0.30)
    assert (found["carbon"].attrs["units"], found["cost"].attrs["units"]) == ("g", "EUR")
    assert found.attrs["carbon_intensity_g_per_kwh"] == 250
    assert "cost" not in carbon_and_cost(dataset, carbon_intensity=250)
    with pytest.raises(UsageError, match="needs a carbon intensity"):
        carbon_and_cost(dataset)
    with pytest.raises(UsageError, match="the price is -1; give a finite number"):
        carbon_and_cost(dataset, price=-1.0)
    with pytest.raises(UsageError, match="the carbon intensity is nan"):
        carbon_and_cost(dataset, carbon_intensity=math.nan)


@pytest.fixture
def codecarbon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for codecarbon's data, in its format."""
    france = {"country_name": "France", "carbon_intensity": 56.0, "year": 2023}
    source = SimpleNamespace(
        get_global_energy_mix_data=lambda: {"FRA": france, "XXX": {"country_name": "Nowhere"}},
        get_nordic_country_energy_mix_data=lambda: {
            "data": {"SE1": {"emission_factor": 25.9, "year": 2025}}
        },
        get_country_emissions_data=lambda country: {
            "_source": {"year": 2023},
            "ohio": {"emissions": 1000.0},
        },
    )
    package, data = ModuleType("codecarbon"), ModuleType("codecarbon.input")
    data.DataSource = lambda: source  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", package)
    monkeypatch.setitem(sys.modules, "codecarbon.input", data)


@pytest.mark.usefixtures("codecarbon")
def test_a_place_is_looked_up_and_never_replaced_by_another() -> None:
    assert intensity_of("FRA") == (56.0, "codecarbon's data, FRA, 2023")
    assert intensity_of("france")[0] == 56.0
    assert intensity_of("SE1")[0] == 25.9
    assert intensity_of("USA/Ohio")[0] == pytest.approx(453.59237)  # 1000 lb/MWh
    for unknown in ("XXX", "Atlantis", "USA/atlantis"):
        with pytest.raises(UnknownNameError, match="unknown country or region"):
            intensity_of(unknown)


def test_a_place_without_codecarbon_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon.input", None)
    with pytest.raises(UsageError, match=r"install greenbatch\[carbon\], or give a number"):
        intensity_of("FRA")
