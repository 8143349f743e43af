"""Trade-offs against datasets whose truth is known."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import xarray as xr

from greenbatch.analysis import cell_rows, comparison_rows
from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.analysis.dataset.tidy import tidy
from greenbatch.analysis.statistics import by_dimension
from greenbatch.analysis.statistics.by_dimension import figure_of, intervals_of, ratios_of
from greenbatch.analysis.statistics.claims import FRONT
from greenbatch.analysis.tradeoffs import crossovers
from greenbatch.analysis.tradeoffs.best_batch import best_batch
from greenbatch.analysis.tradeoffs.crossovers import crossover
from greenbatch.analysis.tradeoffs.footprint import carbon_and_cost
from greenbatch.analysis.tradeoffs.pareto import energy_delay_product, pareto
from greenbatch.analysis.tradeoffs.turning_points import knee, saturation
from greenbatch.errors import UsageError
from greenbatch.records import Cell, EnergySource, Record
from tests.fakes import runs
from tests.fakes.curves import COUNTER, SIZES, A, B, Energy, crossing, measured

pytestmark = pytest.mark.numeric


def test_arrays_say_the_same_as_the_reports_rows(tmp_path: Path) -> None:
    dataset = compile_dataset(runs.realistic_run(tmp_path))
    found = intervals_of(figure_of(dataset, "energy_per_image"))
    for row in cell_rows(dataset):
        at = {"model": row.cell.model, "variant": f"{row.cell.backend} fp32"}
        one = found.sel(at | {"batch_size": row.cell.batch_size})
        energy = row.energy_per_image_j
        assert energy is not None
        values = [one[f"energy_per_image{end}"].item() for end in ("_low", "", "_high")]
        assert values == pytest.approx([energy.low, energy.centre, energy.high])
        assert one["repetitions"].item() == 3


def test_ratios_say_the_same_as_the_reports_rows(tmp_path: Path) -> None:
    dataset = compile_dataset(runs.realistic_run(tmp_path))
    found = ratios_of(dataset, {"backend": A})
    rows = comparison_rows(cell_rows(dataset), A)
    assert rows
    for row in rows:
        one = found.sel(
            model=row.cell.model,
            variant=f"{row.cell.backend} fp32",
            batch_size=row.cell.batch_size,
        )
        ratio = row.energy.interval
        assert ratio is not None
        values = [one[f"energy_per_image_ratio{end}"].item() for end in ("_low", "", "_high")]
        assert values == pytest.approx([ratio.low, ratio.centre, ratio.high])
    assert found.attrs["reference"] == f"backend {A}"


def test_what_a_block_shares_cancels_in_a_ratio_and_not_in_a_figure(tmp_path: Path) -> None:
    dataset = measured(tmp_path, lambda backend, batch: 0.2 if backend == B else 0.1)
    ratio = ratios_of(dataset, {"backend": A}).sel(variant=f"{B} fp32")
    assert ratio["energy_per_image_ratio_low"].values == pytest.approx(2.0)
    assert ratio["energy_per_image_ratio_high"].values == pytest.approx(2.0)
    figure = intervals_of(figure_of(dataset, "energy_per_image"))
    wide = figure["energy_per_image_high"] / figure["energy_per_image_low"]
    assert (wide > 1.2).all()


def test_one_repetition_has_a_figure_no_bounds_and_a_reason(tmp_path: Path) -> None:
    dataset = measured(tmp_path, crossing, blocks=1)
    found = intervals_of(figure_of(dataset, "energy_per_image"))
    assert found["energy_per_image"].notnull().all()
    assert found["energy_per_image_low"].isnull().all()
    assert set(found["reason"].values.flat) == {"one repetition has no interval"}
    answers = (
        crossover(dataset, A, B),
        saturation(dataset, 5, backend=B),
        best_batch(dataset, max_latency=1.0),
    )
    for answer in answers:
        assert "no interval: one repetition" in str(answer)
        assert "nan" not in str(answer).lower()
        assert "None" not in str(answer)
    assert "No knee" in str(knee(dataset, backend=B))
    front = pareto(dataset)["front"]
    assert FRONT.index("dominated") not in front.values


def test_reasons_are_not_told_before_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = measured(tmp_path, crossing)
    asked = Mock(side_effect=by_dimension._first_told)
    monkeypatch.setattr(by_dimension, "_first_told", asked)
    assert crossover(dataset, A, B).verdict == "crosses"
    assert saturation(dataset, 5, backend=A).largest == 32
    assert best_batch(dataset).labels is not None
    assert not asked.called
    assert set(intervals_of(figure_of(dataset, "energy_per_image"))["reason"].values.flat) == {""}
    assert asked.called


@pytest.mark.slow
def test_missing_energy_is_missing_with_the_runs_own_reason(tmp_path: Path) -> None:
    missing = EnergySource.MISSING
    dataset = measured(tmp_path, crossing, sources=(missing, missing))
    found = intervals_of(figure_of(dataset, "energy_per_image"))
    assert found["energy_per_image"].isnull().all()
    assert set(found["reason"].values.flat) == {"the counter stood still"}
    assert found.attrs["energy_provenance"] == "missing"
    assert (pareto(dataset)["front"] == FRONT.index("missing")).all()
    assert "no cell with both" in str(best_batch(dataset))
    assert crossover(dataset, A, B).verdict == "unknown"
    assert knee(dataset, backend=A).batch_size is None
    assert "It is not known where" in str(saturation(dataset, 5, backend=A))


def test_a_failed_repetition_gives_its_own_reason(tmp_path: Path) -> None:
    records: list[Record] = [runs.failed(Cell("alexnet", A, batch_size=4), k) for k in range(3)]
    dataset = compile_dataset(runs.write_run(tmp_path, records))
    reason = intervals_of(figure_of(dataset, "throughput"))["reason"]
    assert "3.1 GB" in reason.sel(batch_size=4).item()
    assert reason.sel(batch_size=1).item() == "not measured"


@pytest.mark.slow
def test_an_estimate_is_never_compared_with_a_measurement(tmp_path: Path) -> None:
    dataset = measured(tmp_path, crossing, sources=(COUNTER, EnergySource.ESTIMATED))
    for ask in (
        lambda: pareto(dataset),
        lambda: best_batch(dataset),
        lambda: crossover(dataset, A, B),
    ):
        with pytest.raises(UsageError, match="an estimate is not compared with a measurement"):
            ask()
    ratio = ratios_of(dataset, {"backend": A}).sel(variant=f"{B} fp32")
    assert ratio["energy_per_image_ratio"].isnull().all()
    assert ratio["reason"].values.flat[0] == "estimated against measured"
    assert ratios_of(dataset, {"backend": A}, "latency")["latency_ratio"].notnull().all()
    alike = crossover(dataset, A, B, metric="latency")  # theirs are equal
    assert (alike.verdict, alike.winner) == ("unknown", None)
    assert "no significant difference at any batch size" in str(alike)
    assert (alike.sure, alike.p) == (False, 1.0)
    alone = best_batch(dataset, backend=B)
    assert alone.estimated
    assert "(estimated)" in str(alone)
    assert "(estimated)" in str(knee(dataset, backend=B))
    assert carbon_and_cost(dataset, price=0.3).attrs["energy_provenance"] == "mixed"


def test_net_energy_is_less_idle_power(tmp_path: Path) -> None:
    dataset = measured(tmp_path, lambda backend, batch: 1.0, blocks=2)
    gross, net = (
        intervals_of(figure_of(dataset, name))[name].sel(variant=f"{A} fp32", batch_size=1).item()
        for name in ("energy_per_image", "energy_per_image_net")
    )
    assert gross == pytest.approx(math.sqrt(1.0 * 1.1))
    assert net == pytest.approx(math.sqrt(0.8 * 0.9))  # 10 W x 2 s of 100 J, and of 110 J


def test_a_figure_that_is_not_positive_has_a_method_and_a_reason_of_its_own(
    tmp_path: Path,
) -> None:
    """Idle power takes more than the windows of batch 1: their net energy is below zero."""
    dataset = measured(tmp_path, lambda backend, batch: 0.1 if batch == 1 else 0.3, sizes=(1, 4))
    net = intervals_of(figure_of(dataset, "energy_per_image_net"))
    assert (net["energy_per_image_net"].sel(batch_size=1) < 0).all()
    assert "(Student's t where a value is not positive)" in net.attrs["interval"]
    gross = intervals_of(figure_of(dataset, "energy_per_image"))
    assert gross.attrs["interval"] == "95 %, t on logarithms, over repetitions; of two their range"
    reason = ratios_of(dataset, {"backend": A}, "energy_per_image_net")["reason"]
    assert set(reason.sel(batch_size=1).values.flat) == {
        "a figure that is not positive has no ratio"
    }
    assert best_batch(dataset, net=True, backend=A).runner_up is not None


def test_net_energy_below_zero_has_an_arithmetic_mean(tmp_path: Path) -> None:
    dataset = measured(tmp_path, lambda backend, batch: 0.19)
    found = intervals_of(figure_of(dataset, "energy_per_image_net")).sel(
        variant=f"{A} fp32", batch_size=1
    )
    assert found["energy_per_image_net"].item() == pytest.approx(0.19 * 1.1 - 0.2)
    assert found["energy_per_image_net_low"].item() < 0 < found["energy_per_image_net_high"].item()
    text = saturation(dataset, 5, metric="energy_per_image_net", backend=A)
    assert "at or below zero" in str(text)


@pytest.mark.parametrize("method", ["inversion", "bootstrap"])
def test_a_crossover_is_found_where_it_was_put(tmp_path: Path, method: crossovers.Method) -> None:
    dataset = measured(tmp_path, crossing, spread=0.005, blocks=5)
    found = crossover(dataset, A, B, method=method)
    assert (found.verdict, found.winner) == ("crosses", f"alexnet on {B}")
    assert found.batch_size == pytest.approx(2**2.5, rel=0.1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 2**2.5 < found.high < 12
    assert "overtakes alexnet on onnxruntime-cpu in energy per image at a batch" in str(found)
    other = crossover(dataset, B, A, method=method)
    assert other.winner == found.winner
    assert other.batch_size == pytest.approx(found.batch_size)


def test_a_curve_that_is_always_below_says_always_and_the_other_never(tmp_path: Path) -> None:
    dataset = measured(tmp_path, lambda backend, batch: 0.1 if backend == A else 0.11)
    found = crossover(dataset, A, B)
    assert (found.verdict, found.sure, found.batch_size) == ("always", True, None)
    assert str(found).endswith("at every batch size from 1 to 32.")
    assert crossover(dataset, B, A).verdict == "never"


def test_crossovers_that_are_reported_together_are_one_family(tmp_path: Path) -> None:
    found = crossover(measured(tmp_path, crossing), A, B)
    assert found.sure
    assert 0 < found.p <= 0.05
    near = replace(found, p=0.03)
    alone, *_ = crossovers.as_family([near])
    assert alone.sure
    assert "not significant" not in str(alone)
    of_three = crossovers.as_family([near, replace(found, p=0.001), replace(found, p=1.0)])
    assert [one.sure for one in of_three] == [False, True, False]
    assert str(of_three[0]).startswith("Of the means, ")
    assert "not significant at both ends, corrected for 3 pairs of curves" in str(of_three[0])


def test_noise_that_hides_the_crossing_leaves_its_bounds_open(tmp_path: Path) -> None:
    found = crossover(measured(tmp_path, crossing, spread=0.5), A, B)
    if found.verdict == "crosses":
        assert None in (found.low, found.high)
    assert not found.sure


@pytest.mark.slow
def test_bounds_of_a_crossover_hold_the_truth_where_the_bootstraps_do_not() -> None:
    x, n = np.arange(8.0), 3
    random, truth = np.random.default_rng(1), 3.4
    held = {"inversion": 0, "bootstrap": 0}
    for _ in range(300):
        moved = 0.08 * (truth - x)[:, None] + random.normal(0, 0.03, (8, n))
        at = crossovers._zero(x, moved.mean(1))
        for name, (low, high) in (
            ("inversion", crossovers._inverted(x, moved, at)),
            ("bootstrap", crossovers._drawn(x, moved)),
        ):
            below = low is None or low <= 2**truth
            held[name] += below and (high is None or high >= 2**truth)
    assert held["inversion"] / 300 > 0.91
    assert held["bootstrap"] / 300 < 0.85


def test_a_knee_is_where_kneedles_distance_is_largest(tmp_path: Path) -> None:
    falling = dict(zip(SIZES, (1.0, 0.6, 0.3, 0.25, 0.22, 0.2), strict=True))
    found = knee(measured(tmp_path, lambda backend, batch: falling[batch]), backend=A)
    # Distances: 0, 0.3, 0.475, 0.3375, 0.175, 0.
    assert (found.batch_size, found.low, found.high, found.agreement) == (4, 4, 4, 1.0)
    assert "at batch 4 (95 % of resamples: 4 … 4; 100 % agree, 3 repetitions)" in str(found)


@pytest.mark.parametrize(
    ("sizes", "energy", "reason"),
    [
        (SIZES, lambda _, batch: 0.1 * batch, "does not fall"),
        (SIZES, lambda _, batch: 2.0 - 0.3 * math.log2(batch) ** 2 / 5, "does not fall"),
        ((1, 2, 4), lambda _, batch: 1 / batch, "3 batch sizes have it"),
    ],
)
def test_a_curve_without_a_knee_has_none(
    tmp_path: Path, sizes: tuple[int, ...], energy: Energy, reason: str
) -> None:
    found = knee(measured(tmp_path, energy, sizes=sizes), backend=A)
    assert found.batch_size is None
    assert reason in str(found)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [3, 5])
def test_a_straight_line_with_noise_has_no_knee(tmp_path: Path, blocks: int) -> None:
    def line(backend: str, batch: int) -> float:
        return 1.0 - 0.08 * math.log2(batch)

    found = []
    for seed in range(10):
        run = tmp_path / str(seed)
        dataset = measured(run, line, blocks=blocks, spread=0.01, seed=seed)
        found += [knee(dataset, backend=backend) for backend in (A, B)]
    assert sum(one.batch_size is not None for one in found) <= 2
    assert sum(one.of_means is not None for one in found) > 10  # what kneedle's rule alone says


@pytest.mark.slow
def test_curves_that_differ_by_noise_alone_have_no_crossover(tmp_path: Path) -> None:
    claims = 0
    for seed in range(12):
        dataset = measured(tmp_path / str(seed), lambda *_: 0.1, spread=0.02, seed=seed)
        found = crossover(dataset, A, B)
        claims += found.sure
        assert found.sure or str(found).startswith(("It is not known", "Of the means"))
    assert claims == 0


def test_an_interval_over_everything_says_that_saturation_is_not_known(tmp_path: Path) -> None:
    dataset = measured(tmp_path, lambda _, batch: 1 - 0.05 * math.log2(batch), spread=0.2)
    found = saturation(dataset, 5, backend=A)
    assert (found.low, found.high) == (1, None)
    assert str(found).startswith("It is not known where")


def test_saturation_is_the_size_from_which_every_doubling_saves_less(tmp_path: Path) -> None:
    falls = (1.0, 0.8, 0.72, 0.70, 0.69, 0.685)  # 20, 10, 2.8, 1.4, 0.7 %
    energy = dict(zip(SIZES, falls, strict=True))
    dataset = measured(tmp_path, lambda backend, batch: energy[batch])
    for percent, size in ((25, 1), (15, 2), (5, 4), (2, 8), (1, 16)):
        found = saturation(dataset, percent, backend=A)
        assert (found.batch_size, found.low, found.high) == (size, size, size)
    never = saturation(dataset, 0.5, backend=A)
    assert never.batch_size is None
    assert "does not saturate up to batch 32" in str(never)
    for wrong in (0, 100, -5):
        with pytest.raises(UsageError, match="give a percentage"):
            saturation(dataset, wrong, backend=A)


def test_a_noisy_step_leaves_saturation_open_on_both_sides(tmp_path: Path) -> None:
    energy = dict(zip(SIZES, (1.0, 0.8, 0.64, 0.6, 0.58, 0.57), strict=True))
    dataset = measured(tmp_path, lambda _, batch: energy[batch], spread=0.03)
    found = saturation(dataset, 8, backend=A)
    assert found.batch_size is not None
    assert found.low is not None
    assert found.low <= found.batch_size
    assert found.high is None
    assert "beyond 32" in str(found)


def test_a_cell_that_is_worse_by_less_than_the_spread_is_unsure(tmp_path: Path) -> None:
    dataset = measured(
        tmp_path,
        lambda backend, batch: 1.0 if backend == A else 1.001,
        latency=lambda backend, batch: 0.01 if backend == A else 0.02,
        spread=0.03,
        sizes=(1,),
    )
    front = pareto(dataset)["front"].values.reshape(-1).tolist()
    assert FRONT.index("dominated") not in front
    assert FRONT.index("front") in front


def test_a_step_of_two_doublings_counts_twice(tmp_path: Path) -> None:
    dataset = measured(
        tmp_path, lambda _, batch: {1: 1.0, 4: 0.92, 16: 0.9}[batch], sizes=(1, 4, 16)
    )
    assert saturation(dataset, 5, backend=A).batch_size == 1  # 8 % in two doublings: 4.1 % each
    assert saturation(dataset, 4, backend=A).batch_size == 4


def test_the_front_is_what_nothing_beats_and_domination_must_be_shown(tmp_path: Path) -> None:
    dataset = measured(
        tmp_path,
        lambda backend, batch: (1.0 if backend == A else 2.0) / batch,
        latency=lambda backend, batch: 0.01 * batch * (1.0 if backend == A else 1.5),
    )
    front = pareto(dataset)["front"].sel(model="alexnet").squeeze()
    assert (front.sel(variant=f"{A} fp32") == FRONT.index("front")).all()
    assert (front.sel(variant=f"{B} fp32") == FRONT.index("dominated")).all()
    assert front.attrs["flag_meanings"] == "missing dominated unsure front"


def test_accuracy_keeps_a_costly_model_on_the_front(tmp_path: Path) -> None:
    dataset = compile_dataset(runs.realistic_run(tmp_path))
    top1 = xr.DataArray([50.0, 90.0, 60.0, 70.0, 80.0], dims="model")
    dataset["accuracy_top1"] = top1.broadcast_like(dataset["accuracy_top1"])
    front = pareto(dataset, accuracy=True)["front"] == FRONT.index("front")
    on = {str(m) for m in front["model"].values if front.sel(model=m).any()}
    # alexnet is dearer than shufflenet and less accurate; vit and convnext lose to densenet.
    assert on == {"densenet121", "shufflenet_v2_x0_5"}
    missing = dataset.assign(accuracy_top1=dataset["accuracy_top1"] * np.nan)
    none = pareto(missing, accuracy=True)
    assert (none["front"] == FRONT.index("missing")).all()
    assert set(none["reason"].values.flat) == {"accuracy is missing"}


def test_the_energy_delay_product_is_formed_in_each_repetition(tmp_path: Path) -> None:
    dataset = measured(tmp_path, lambda backend, batch: 0.5, blocks=2)
    found = energy_delay_product(dataset).sel(variant=f"{A} fp32", batch_size=4)[
        "energy_delay_product"
    ]
    assert found.item() == pytest.approx(0.5 * 0.04 * math.sqrt(1.0 * 1.21))
    assert found.attrs["units"] == "J s"
    square = energy_delay_product(dataset, exponent=2)["energy_delay_product"]
    assert square.attrs["units"] == "J s2"
    assert square.sel(variant=f"{A} fp32", batch_size=4).item() == pytest.approx(
        0.5 * 0.04**2 * math.sqrt(1.0 * 1.1**3)
    )


@pytest.mark.slow
def test_a_tidy_table_has_a_row_for_each_repetition_and_a_unit_for_each_column(
    tmp_path: Path,
) -> None:
    dataset = measured(tmp_path, crossing)
    frame = tidy(dataset)
    assert len(frame) == 2 * len(SIZES) * 3
    assert set(frame.attrs["units"]) == set(frame.columns)
    row = frame[(frame.backend == B) & (frame.batch_size == 4) & (frame.repetition == 2)].squeeze()
    assert row["energy_per_image"] == pytest.approx(crossing(B, 4) * 1.2)
    assert row["latency_0.99"] == pytest.approx(0.04 * 1.3 * 1.2)
    assert (row["status"], row["energy_per_image_source"]) == ("ok", "measured")
    assert frame.attrs["units"]["energy_per_image"] == "J"


@pytest.mark.slow
def test_flags_are_words_in_the_tidy_table(tmp_path: Path) -> None:
    cell = Cell("alexnet", A, batch_size=4)
    record = runs.repetition(cell, flags=("unsteady", "disturbed"))
    frame = tidy(compile_dataset(runs.write_run(tmp_path, [record])))
    assert sorted(frame["flags"].unique()) == ["", "unsteady disturbed"]
    assert sorted(frame["status"].unique()) == ["not_run", "ok"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda d: knee(d), "a knee is of one backend, and there are onnxruntime-cpu, torch-cpu"),
        (lambda d: knee(d, backend="trch-cpu"), "did you mean 'torch-cpu'"),
        (lambda d: knee(d, bckend=A), "unknown dimension 'bckend'"),
        (lambda d: crossover(d, A, B, metric="throughput"), "unknown metric"),
        (lambda d: figure_of(d, "latency", 0.42), "unknown quantile '0.42'"),
        (lambda d: ratios_of(d, {}), "a ratio needs a reference"),
        (lambda d: ratios_of(d, {"machine": "a"}), "blocks of two machines"),
        (lambda d: intervals_of(figure_of(d, "latency"), "guess"), "unknown method 'guess'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    tmp_path: Path, ask: Callable[[xr.Dataset], object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ask(measured(tmp_path, crossing))


@pytest.mark.slow
def test_a_dataset_may_have_further_dimensions_and_be_narrowed(tmp_path: Path) -> None:
    dataset = measured(tmp_path, crossing)
    rates = xr.concat([dataset, dataset], xr.DataArray([10.0, 20.0], dims="rate", name="rate"))
    found = intervals_of(figure_of(rates, "energy_per_image"))
    assert found["energy_per_image"].sizes["rate"] == 2
    assert (pareto(rates)["front"].sizes["rate"], crossover(rates, A, B, rate=10.0).verdict) == (
        2,
        "crosses",
    )
    with pytest.raises(UsageError, match=r"is of one rate, and there are 10\.0, 20\.0"):
        crossover(rates, A, B)
    narrow = dataset.sel(model="alexnet", variant=f"{B} fp32")
    assert "alexnet on torch-cpu at batch 32" in str(best_batch(narrow))
    assert "alexnet on torch-cpu" in str(knee(narrow))
