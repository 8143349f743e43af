"""Machines side by side, against energies that are known."""

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import xarray as xr
from statsmodels.formula.api import ols

from greenbatch.analysis.dataset.store import store
from greenbatch.analysis.findings.machines import (
    best_by_machine,
    interaction_of,
    means_by_kind,
    shared_means,
)
from greenbatch.analysis.runs import merge
from greenbatch.cli import main
from greenbatch.errors import UsageError
from greenbatch.records import Repetition
from tests.fakes import runs

MODELS = ("alexnet", "densenet121")


def fleet(folder: Path, factors: dict[str, dict[str, float]]) -> xr.Dataset:
    """Runs of machines whose energy per image is a factor by network times that of the others."""
    paths = []
    for name, by_model in factors.items():

        def scaled(record: Repetition, by_model: dict[str, float] = by_model) -> Repetition:
            factor = by_model[record.cell.model]
            energy = tuple(
                replace(figure, energy_j=(figure.energy_j or 0.0) * factor)
                for figure in record.energy
            )
            return replace(record, energy=energy, duration_s=(record.duration_s or 0.0) + factor)

        about = runs.environment()
        about["machine"] |= {"name": name}
        records = runs.realistic_records(
            models=MODELS, backends=runs.BACKENDS[:1], batch_sizes=(1, 8), spoil=scaled
        )
        design = runs.study(MODELS, runs.BACKENDS[:1], (1, 8))
        paths.append(runs.write_run(folder / name, records, design, about))
    return merge(paths, "machine")


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """West costs 1.5 times as much as north, whatever the network."""
    even = {"north": dict.fromkeys(MODELS, 1.0), "west": dict.fromkeys(MODELS, 1.5)}
    return fleet(tmp_path_factory.mktemp("alike"), even)


def test_the_best_machine_comes_first_and_the_others_with_their_ratio(alike: xr.Dataset) -> None:
    choices = best_by_machine(alike)
    assert [(c.model, c.machine) for c in choices] == [
        (model, machine) for model in MODELS for machine in ("north", "west")
    ]
    for best, other in (choices[:2], choices[2:]):
        assert best.over_best is None
        assert best.batch_size == other.batch_size == 8, "a larger batch costs less in these runs"
        assert other.over_best is not None
        assert other.over_best.centre == pytest.approx(1.5, rel=1e-9)
        assert other.energy_j.centre == pytest.approx(1.5 * best.energy_j.centre, rel=1e-9)


def test_a_limit_of_latency_leaves_the_smaller_batch(alike: xr.Dataset) -> None:
    free = {c.model: c for c in best_by_machine(alike)}
    limit_s = 0.9 * free["alexnet"].latency_s
    limited = best_by_machine(alike, limit_s=limit_s)
    assert {(c.model, c.batch_size) for c in limited} == {("alexnet", 1)}
    assert all(choice.latency_s <= limit_s for choice in limited)


def test_a_latency_is_the_mean_that_every_table_has(alike: xr.Dataset) -> None:
    for choice in best_by_machine(alike):
        cell = alike.sel(machine=choice.machine, model=choice.model, batch_size=choice.batch_size)
        values = cell.sel(variant=choice.variant, quantile=0.99)["latency"].to_numpy().ravel()
        assert choice.latency_s == pytest.approx(statistics.geometric_mean(values), rel=1e-12)
        assert choice.latency_s != pytest.approx(statistics.fmean(values), rel=1e-12)


def test_a_dataset_of_one_machine_is_refused(alike: xr.Dataset) -> None:
    with pytest.raises(UsageError, match="--along machine"):
        best_by_machine(alike.isel(machine=0))


@pytest.mark.slow
def test_the_interaction_is_found_where_networks_order_machines_differently(
    alike: xr.Dataset, tmp_path: Path
) -> None:
    none = interaction_of(alike)
    assert none is not None
    assert none.p > 0.99, "the machines differ by one factor alone"
    assert none.degrees_of_freedom[0] == 1
    apart = {"north": {MODELS[0]: 1.0, MODELS[1]: 1.2}, "west": {MODELS[0]: 1.2, MODELS[1]: 1.0}}
    found = interaction_of(fleet(tmp_path, apart))
    assert found is not None
    assert found.p < 1e-6
    assert interaction_of(alike.isel(machine=[0])) is None


def test_the_interaction_is_that_of_statsmodels(alike: xr.Dataset) -> None:
    noisy = alike.copy()
    draw = np.random.default_rng(7)
    energies = noisy["energy_per_image"]
    noisy["energy_per_image"] = energies * np.exp(draw.normal(0, 0.05, energies.shape))
    noisy["energy_per_image"][{"repetition": 0, "batch_size": 0}] = np.nan
    table = noisy["energy_per_image"].to_dataframe().reset_index().dropna()
    small = ols("np.log(energy_per_image) ~ C(model) * C(batch_size) + C(machine)", table).fit()
    large = ols(
        "np.log(energy_per_image) ~ C(model) * C(batch_size) + C(machine) * C(model)", table
    ).fit()
    f, p, more = large.compare_f_test(small)
    found = interaction_of(noisy)
    assert found is not None
    assert found.degrees_of_freedom == (int(more), int(large.df_resid))
    assert [found.f, found.p] == pytest.approx([f, p], rel=1e-9)


@pytest.mark.slow
def test_the_interval_of_shared_repetitions_covers_what_varies_between_machines() -> None:
    """In 95 % of fleets, whatever share of the variance lies between the machines."""
    draw = Random(3)
    covered, fleets = 0, 300
    for _ in range(fleets):
        values: dict[str, dict[str, list[float]]] = {"small": {}, "large": {}}
        for machine in "abcd":
            offset = draw.gauss(0, 0.05)
            for cell, centre in (("small", math.log(2.0)), ("large", math.log(1.0))):
                values[cell][machine] = [
                    math.exp(centre + offset + draw.gauss(0, 0.02)) for _ in range(3)
                ]
        mean, low, high = shared_means(values)["small"]
        assert low < mean < high
        covered += low <= 2.0 <= high
    assert 0.91 <= covered / fleets <= 0.99
    with pytest.raises(UsageError, match="at least two"):
        shared_means({"small": {"a": [1.0, 1.1]}})


@pytest.mark.slow
def test_the_command_prints_machines_and_interaction(
    alike: xr.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = store(alike, tmp_path / "all.nc")
    with pytest.raises(SystemExit) as ended:
        main(["fleet", "best", str(file)])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "alexnet:"
    assert lines[1].startswith("  north: ")
    assert ", 1.5 times the best [" in lines[2]
    assert lines[-1].startswith("the ratio between machines is not shown to depend")
    with pytest.raises(SystemExit):
        main(["fleet", "best", str(file), "--p99", "1us", "--json"])
    assert json.loads(capsys.readouterr().out)["choices"] == []


@pytest.mark.slow
def test_machines_of_one_kind_are_summarised_together_and_others_are_not(
    tmp_path: Path,
) -> None:
    factors = {"north": 1.0, "south": 1.02, "west": 0.98, "other": 3.0}
    dataset = fleet(tmp_path, {name: dict.fromkeys(MODELS, f) for name, f in factors.items()})
    kinds = dict.fromkeys(("north", "south", "west"), "Example CPU") | {"other": "Another CPU"}
    found = means_by_kind(dataset, kinds)
    assert {one.kind for one in found} == {"Example CPU"}, "a mean over one machine is none"
    assert [(one.model, one.batch_size) for one in found] == [
        (m, b) for m in MODELS for b in (1, 8)
    ]
    assert {one.machines for one in found} == {3}
    for one in found:
        cell = dataset["energy_per_image"].sel(model=one.model, batch_size=one.batch_size)
        ours = cell.sel(variant=one.variant, machine=["north", "south", "west"])
        assert one.energy_j.centre == pytest.approx(float(np.exp(np.log(ours).mean())), rel=1e-9)
        assert one.repetitions == ours.size
        low, high = one.energy_j.low, one.energy_j.high
        assert low is not None
        assert high is not None
        assert high / low == pytest.approx(math.exp(2 * 4.303 * 0.02 / math.sqrt(3)), rel=0.05)


@pytest.mark.slow
def test_the_report_of_machines_of_one_kind_has_their_mean(
    alike: xr.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = store(alike, tmp_path / "all.nc")
    with pytest.raises(SystemExit) as ended:
        main(["report", str(file), "--json"])
    assert not ended.value.code
    shown = json.loads(capsys.readouterr().out)["kinds"]
    assert {one["machines"] for one in shown} == {2}, "their processors are alike"
    assert {one["kind"] for one in shown} == {"Example CPU 9000, 2 cores, 8 GiB"}
    page = (tmp_path / "all-report/index.html").read_text()
    assert "Energy per image over machines of one kind" in page
    assert not (tmp_path / "all-report/north/figures").exists(), "--figures writes them"
