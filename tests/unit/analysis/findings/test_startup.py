"""What a start costs, cold and warm, and after how many images it has paid for itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.analysis.dataset.variables import CACHES, SOURCES
from greenbatch.analysis.findings.startup import (
    BreakEven,
    StartUp,
    break_even,
    break_evens,
    start_ups,
)
from greenbatch.records import Cell, EnergySource, OneOff, Record, Repetition
from tests.fakes import runs

ORT, COMPILED = Cell("alexnet", "onnxruntime-cpu"), Cell("alexnet", "torch-compile-cpu")
STEADY = (1.0, 1.0, 1.0)


def repetitions(
    cell: Cell,
    image_s: float,
    starts: list[dict[str, OneOff]],
    *,
    power_w: float = 30.0,
    source: EnergySource = EnergySource.COUNTER,
    noise: tuple[float, ...] = STEADY,
    cached: bool = False,
) -> list[Repetition]:
    """A repetition for each start, a window of 100 images each."""
    found = []
    for block, (start, factor) in enumerate(zip(starts, noise, strict=False)):
        window_s = 100 * image_s * factor
        energy = runs.figure(window_s * power_w, source=source, window_s=window_s)
        cache = ("cold" if block == 0 else "warm") if cached else None
        found.append(
            runs.repetition(
                cell, block, energy=[energy], duration_s=window_s, one_off=start, cache=cache
            )
        )
    return found


def compiled(path: Path, *parts: list[Repetition]) -> xr.Dataset:
    records: list[Record] = [record for part in parts for record in part]
    sizes = sorted({one.cell.batch_size for part in parts for one in part})
    members = runs.study(("alexnet",), (ORT.backend, COMPILED.backend), sizes)
    return compile_dataset(runs.write_run(path, records, members))


def found(path: Path, *parts: list[Repetition]) -> list[StartUp]:
    return start_ups(compiled(path, *parts))


def against(path: Path, *parts: list[Repetition]) -> BreakEven:
    """The second cell against the first."""
    first, second = found(path, *parts)
    return break_even(second, first)


CHEAP = [runs.start(1.0, 0.5)] * 3
COSTLY = [runs.start(2.0, 50.0), runs.start(2.0, 5.0), runs.start(2.0, 6.0)]


def test_phases_of_a_start_arrive_with_their_energy_and_the_cache(tmp_path: Path) -> None:
    dataset = compiled(tmp_path, repetitions(COMPILED, 0.01, COSTLY, cached=True))
    start = dataset.sel(model="alexnet", variant=f"{COMPILED.backend} fp32").squeeze(drop=True)
    assert start["one_off_duration"].sel(one_off_phase="first").values.tolist() == [50.0, 5.0, 6.0]
    energy = start.sel(one_off_phase="load")
    assert energy["one_off_energy"].values.tolist() == [60.0] * 3
    assert energy["one_off_energy_uncertainty"].values.tolist() == [0.6] * 3
    assert energy["one_off_energy_source"].values.tolist() == [SOURCES.index("counter")] * 3
    assert [CACHES[code] for code in start["cache"].values] == ["cold", "warm", "warm"]


def test_a_cold_start_is_apart_from_the_warm_ones(tmp_path: Path) -> None:
    plain, cached = found(
        tmp_path,
        repetitions(ORT, 0.01, CHEAP),
        repetitions(COMPILED, 0.01, COSTLY, cached=True),
    )
    assert cached.cold is not None
    assert cached.warm is not None
    assert cached.cold.duration_s is not None
    assert cached.cold.duration_s.n == 1
    assert cached.cold.duration_s.centre == pytest.approx(52.0)
    assert cached.cold.energy_j is not None
    assert cached.cold.energy_j.centre == pytest.approx(52 * 30)
    assert cached.warm.duration_s is not None
    assert cached.warm.duration_s.n == 2
    assert (cached.warm.duration_s.low, cached.warm.duration_s.high) == (7.0, 8.0)
    assert cached.cold.phases_s["first"].centre == pytest.approx(50.0)
    assert cached.cold.phases_j["load"].centre == pytest.approx(60.0)
    assert plain.warm is None
    assert plain.cold is not None
    assert plain.cold.duration_s is not None
    assert plain.cold.duration_s.n == 3
    assert plain.per_image_s is not None
    assert plain.per_image_s.centre == pytest.approx(0.01)


def test_a_dear_start_pays_after_its_extra_cost_over_the_saving_per_image(tmp_path: Path) -> None:
    back = against(
        tmp_path,
        repetitions(ORT, 0.010, CHEAP),
        repetitions(COMPILED, 0.004, COSTLY, cached=True, power_w=40.0),
    )
    assert back.time.verdict == "pays"
    assert (back.time.costly, back.time.cheap) == (COMPILED, ORT)
    assert back.time.images == pytest.approx((52 - 1.5) / (0.010 - 0.004))
    assert back.energy.images == pytest.approx((52 - 1.5) * 30 / (0.010 * 30 - 0.004 * 40))
    assert back.time.once
    assert back.time.sentence == (
        "break-even of the start-up cost of torch-compile-cpu in time after 8,420 images "
        "(8,420 … 8,420; a start was measured once)"
    )


def test_which_of_the_two_is_named_first_does_not_matter(tmp_path: Path) -> None:
    noise = (0.99, 1.0, 1.01)
    a, b = found(
        tmp_path,
        repetitions(ORT, 0.010, CHEAP, noise=noise),
        repetitions(COMPILED, 0.004, COSTLY, noise=noise[::-1]),
    )
    assert break_even(a, b).time == break_even(b, a).time


def test_bounds_are_the_corners_of_the_intervals(tmp_path: Path) -> None:
    starts = [runs.start(s, 1.0) for s in (8.0, 9.0, 10.0)]
    first, second = found(
        tmp_path,
        repetitions(ORT, 0.010, [runs.start(0.5, 0.5)] * 3, noise=(1.02, 1.0, 0.98)),
        repetitions(COMPILED, 0.005, starts),
    )
    back = break_even(second, first).time
    assert second.cold is not None
    more = second.cold.duration_s
    assert more is not None
    assert more.low is not None
    assert more.high is not None
    # Both costs per image are 0.005 s in their centre; their ratio spreads by the noise alone.
    assert back.low is not None
    assert back.high is not None
    assert back.images is not None
    assert (more.low - 1) / 0.005 > back.low > 0.8 * (more.low - 1) / 0.005
    assert (more.high - 1) / 0.005 < back.high < 1.2 * (more.high - 1) / 0.005
    assert back.low < back.images < back.high
    assert not back.once


def test_a_saving_within_the_spread_is_no_significant_difference(tmp_path: Path) -> None:
    back = against(
        tmp_path,
        repetitions(ORT, 0.010, CHEAP, noise=(0.9, 1.0, 1.1)),
        repetitions(COMPILED, 0.0099, COSTLY[:1] * 3),
    ).time
    assert (back.verdict, back.images, back.high) == ("unknown", None, None)
    assert back.low is not None
    assert back.low > 0
    assert "no significant difference in the time per image" in back.sentence
    assert "images at least" in back.sentence


@pytest.mark.parametrize(
    ("cheap", "costly"),
    [((0.301, 0.300, 0.300), (0.300, 0.320, 0.280)), ((0.3,) * 3, (0.3,) * 3)],
    ids=["within the spread", "equal"],
)
def test_never_is_no_answer_where_nothing_sets_two_costs_apart(
    tmp_path: Path, cheap: tuple[float, ...], costly: tuple[float, ...]
) -> None:
    back = against(
        tmp_path,
        repetitions(ORT, 1.0, CHEAP, noise=cheap),
        repetitions(COMPILED, 1.0, COSTLY, noise=costly),
    )
    assert (back.time.verdict, back.energy.verdict) == ("unknown", "unknown")
    assert "no significant difference" in back.energy.sentence
    assert "never" not in back.energy.sentence


def test_break_evens_are_corrected_for_their_number(tmp_path: Path) -> None:
    """A saving that is shown alone is not among many that show nothing."""
    noise = ((1.0, 1.01, 0.99), (0.985, 0.99, 0.979))
    starts = found(
        tmp_path,
        *(
            repetitions(Cell("alexnet", backend, batch_size=batch), 0.01, start, noise=values)
            for batch in (1, 2, 4, 8)
            for backend, start, values in (
                (ORT.backend, CHEAP, noise[0]),
                (COMPILED.backend, COSTLY, noise[1] if batch == 1 else noise[0][::-1]),
            )
        ),
    )
    by_cell = {start.cell: start for start in starts}
    alone = break_even(by_cell[COMPILED], by_cell[ORT]).time
    assert alone.verdict == "pays"
    family = {pair.cell.batch_size: pair.time.verdict for pair in break_evens(starts)}
    assert family[1] == "unknown"


def test_a_dear_start_that_saves_nothing_never_pays(tmp_path: Path) -> None:
    back = against(tmp_path, repetitions(ORT, 0.01, CHEAP), repetitions(COMPILED, 0.02, COSTLY))
    assert (back.time.verdict, back.time.images) == ("never", None)
    assert back.time.sentence == (
        "never in time: torch-compile-cpu costs more to start than onnxruntime-cpu, and not "
        "cheaper per image"
    )


def test_one_repetition_gives_no_bounds(tmp_path: Path) -> None:
    back = against(
        tmp_path, repetitions(ORT, 0.01, CHEAP[:1]), repetitions(COMPILED, 0.004, COSTLY[:1])
    ).time
    assert (back.low, back.high) == (None, None)
    assert back.sentence.endswith("8,420 images (no interval: one block has both)")


def test_estimated_joules_never_pay_for_measured_ones(tmp_path: Path) -> None:
    estimated = EnergySource.ESTIMATED
    back = against(
        tmp_path,
        repetitions(ORT, 0.01, CHEAP),
        repetitions(COMPILED, 0.004, COSTLY, source=estimated),
    )
    assert back.time.verdict == "pays"
    assert back.energy.verdict == "unknown"
    assert back.energy.sentence == "not known in energy: estimated against measured"
    starts = [runs.start(2.0, 50.0, source=estimated)] * 3
    back = against(
        tmp_path / "b", repetitions(ORT, 0.01, CHEAP), repetitions(COMPILED, 0.004, starts)
    )
    assert back.energy.verdict == "unknown"


def test_a_start_whose_energy_is_missing_in_a_phase_has_none(tmp_path: Path) -> None:
    starts = [runs.start(2.0, 50.0) | {"first": runs.start(2.0, 50.0, None)["first"]}] * 3
    first, second = found(
        tmp_path, repetitions(ORT, 0.01, CHEAP), repetitions(COMPILED, 0.004, starts)
    )
    assert second.cold is not None
    assert (second.cold.energy_j, second.cold.energy_source) == (None, "missing")
    assert set(second.cold.phases_j) == {"load"}
    back = break_even(second, first)
    assert back.time.verdict == "pays"
    assert back.energy.reason == "the cold start of torch-compile-cpu is missing"


def test_a_failed_repetition_s_start_is_not_counted(tmp_path: Path) -> None:
    lost = replace(runs.failed(COMPILED, 2), one_off=runs.start(900.0, 900.0), cache="warm")
    (cached,) = found(tmp_path, [*repetitions(COMPILED, 0.01, COSTLY[:2], cached=True), lost])
    assert cached.warm is not None
    assert cached.warm.duration_s is not None
    assert cached.warm.duration_s.n == 1
    assert cached.warm.duration_s.centre == pytest.approx(7.0)


def test_a_journal_without_starts_says_so(tmp_path: Path) -> None:
    nothing: list[dict[str, Any]] = [{}] * 3
    first, second = found(
        tmp_path, repetitions(ORT, 0.01, nothing), repetitions(COMPILED, 0.004, nothing)
    )
    assert (first.cold, first.warm) == (None, None)
    assert break_even(second, first).time.sentence == (
        "not known in time: the cold start of torch-compile-cpu is missing"
    )


def test_starts_and_break_evens_have_their_counts(tmp_path: Path) -> None:
    starts = found(
        tmp_path,
        repetitions(ORT, 0.010, CHEAP),
        repetitions(COMPILED, 0.004, COSTLY, cached=True),
    )
    costs = [
        (start.cell.backend, cache, cost.duration_s.n)
        for start in starts
        for cache, cost in (("cold", start.cold), ("warm", start.warm))
        if cost and cost.duration_s
    ]
    assert costs == [
        ("onnxruntime-cpu", "cold", 3),
        ("torch-compile-cpu", "cold", 1),
        ("torch-compile-cpu", "warm", 2),
    ]
    cold = starts[1].cold
    assert cold is not None
    assert cold.duration_s is not None
    assert cold.duration_s.centre == pytest.approx(52.0)
    assert cold.duration_s.low is None
    assert cold.phases_s["first"].centre == pytest.approx(50.0)
    (even,) = break_evens(starts)
    assert even.reference_cell.backend == "onnxruntime-cpu"
    assert (even.time.quantity, even.time.verdict) == ("time", "pays")
    assert even.time.images == pytest.approx(50.5 / 0.006)
    assert even.energy.costly is not None
    assert even.energy.costly.backend == "torch-compile-cpu"
