"""``ds.gb``: there when a run is opened, on whole and narrowed datasets, as the page says."""

import doctest
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

import greenbatch
from greenbatch.analysis import accessor
from greenbatch.analysis.tradeoffs import crossovers, turning_points
from greenbatch.analysis.tradeoffs import pareto as tradeoffs
from greenbatch.analysis.tradeoffs.best_batch import best_batch
from greenbatch.errors import UsageError
from tests.fakes import runs

PAGE = Path(__file__).parents[3] / "docs" / "dataset.md"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.realistic_run(
        tmp_path_factory.mktemp("example") / "runs" / "example", batch_sizes=(1, 2, 4, 8, 16)
    )


@pytest.mark.slow
def test_opening_a_run_registers_the_accessor(example: Path) -> None:
    code = (
        "import sys, xarray, greenbatch; from pathlib import Path; "
        "before = hasattr(xarray.Dataset, 'gb'); "
        "ds = greenbatch.open(Path(sys.argv[1])); "
        "print(before, hasattr(ds, 'gb'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(example)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["False", "True"]


@pytest.mark.slow
def test_the_page_about_the_dataset_is_true(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example.parents[1])
    results = doctest.testfile(
        str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert results.attempted > 15
    assert results.failed == 0


def test_every_name_in_the_pages_tables_of_figures_exists(example: Path) -> None:
    dataset = greenbatch.open(example)
    table = PAGE.read_text().partition("| variable |")[2].partition("\n\n")[0]
    firsts = [row.split("|")[1] for row in table.splitlines()[2:]]
    named = {name for first in firsts for name in re.findall(r"`(\w+)`", first)}
    assert len(named) > 15
    assert named <= {str(name) for name in dataset.variables}


@pytest.mark.slow
def test_the_accessor_gives_what_the_functions_give(example: Path) -> None:
    dataset = greenbatch.open(example)
    gb = dataset.gb
    at = {"model": "alexnet", "backend": "torch-cpu"}
    assert gb.knee(**at) == turning_points.knee(dataset, **at)
    assert gb.saturation(5, **at) == turning_points.saturation(dataset, 5, **at)
    pair = runs.BACKENDS
    assert gb.crossover(*pair, model="alexnet") == crossovers.crossover(
        dataset, *pair, model="alexnet"
    )
    for net in (False, True):
        assert gb.best_batch(model="alexnet", net=net) == best_batch(
            dataset, model="alexnet", net=net
        )
        assert gb.pareto(net=net).identical(tradeoffs.pareto(dataset, net=net))
    assert gb.energy_delay_product(exponent=2).identical(
        tradeoffs.energy_delay_product(dataset, exponent=2)
    )


@pytest.mark.slow
def test_every_curve_that_is_listed_has_an_answer(example: Path) -> None:
    gb = greenbatch.open(example).gb
    curves = list(gb.curves())
    assert len(curves) == len(runs.MODELS) * len(runs.BACKENDS)
    for labels in curves:
        assert str(labels["model"]) in str(gb.knee(**labels))


@pytest.mark.slow
def test_results_are_labelled_and_can_be_stored(example: Path, tmp_path: Path) -> None:
    gb = greenbatch.open(example).gb
    found = {
        "energy": gb.energy_per_image(),
        "summary": gb.summary("latency", quantile=0.99),
        "ratio": gb.relative_to(backend="torch-cpu"),
        "pareto": gb.pareto(),
        "edp": gb.energy_delay_product(),
        "footprint": gb.footprint(carbon_intensity=250, price=0.3),
    }
    for name, dataset in found.items():
        for variable in dataset.data_vars.values():
            assert variable.attrs["units"], (name, variable.name)
            assert variable.attrs["long_name"], (name, variable.name)
        dataset.to_netcdf(tmp_path / f"{name}.nc", engine="netcdf4")
        if name != "summary":
            assert dataset.attrs["energy_provenance"] == "measured"


@pytest.mark.slow
def test_settings_that_a_backend_does_not_have_need_no_label(tmp_path: Path) -> None:
    golden = Path(__file__).parents[2] / "golden" / "run-settings"
    gb = greenbatch.open(shutil.copytree(golden, tmp_path / "run")).gb
    assert len(list(gb.curves())) == 3
    assert "torch-compile-cpu" in str(gb.best_batch(backend="torch-compile-cpu"))
    assert "torch-compile-cpu" in str(gb.saturation(5, backend="torch-compile-cpu"))
    ratio = gb.relative_to(backend="onnxruntime-cpu", metric="throughput")
    assert ratio.attrs["reference"] == "backend onnxruntime-cpu, allow_spinning 1"
    compiled = ratio.gb.sel(backend="torch-compile-cpu", allow_spinning=None)["throughput_ratio"]
    assert compiled.sizes["variant"] == 1
    assert compiled.notnull().any()


def test_another_dataset_is_refused_in_one_sentence() -> None:
    with pytest.raises(UsageError, match="has no energy_per_image and no"):
        accessor.Accessor(xr.Dataset()).knee()


def test_every_method_says_what_it_gives() -> None:
    for name, method in inspect.getmembers(accessor.Accessor, inspect.isfunction):
        assert name == "__init__" or inspect.getdoc(method), name


def test_an_interval_that_is_not_of_95_percent_says_of_how_many(example: Path) -> None:
    gb = greenbatch.open(example).gb
    real = "; of 3 repetitions such intervals contain the mean in about 72 %"
    assert gb.energy_per_image(method="BCa").attrs["interval"].endswith(real)
    assert "contain the mean in" not in gb.energy_per_image().attrs["interval"]
