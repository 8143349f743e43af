"""Service curves, and the batching that they recommend for a traffic."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from greenbatch.analysis import (
    Choice,
    Limits,
    Recommendation,
    open_run,
    read_service_curves,
    recommend,
)
from greenbatch.analysis.recommendation import simulation
from greenbatch.analysis.recommendation.candidates import Candidate
from greenbatch.analysis.recommendation.service_curves import POINTS
from greenbatch.analysis.recommendation.simulation import draw_traffic, serve
from greenbatch.analysis.recommendation.text import answer, choices_table, question
from greenbatch.errors import RunError
from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.queueing.policies import parse_policy
from greenbatch.records import Cell, EnergySource, Record, Repetition, Status
from tests.fakes import runs
from tests.fakes.service import (
    IDLE_W,
    POISSON,
    asked,
    batch_s,
    constant,
    curves_of,
    server_run,
)

pytestmark = pytest.mark.numeric

RECOMMEND = "greenbatch.analysis.recommendation.recommend"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one backend with counters, four repetitions and three batch sizes."""
    return server_run(tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture(autouse=True)
def _short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate for shorter than for a user, but where theory is the judge."""
    if "theory" not in request.node.name:
        monkeypatch.setattr(f"{RECOMMEND}.SEARCHED", 1_000)
        monkeypatch.setattr(f"{RECOMMEND}.SIMULATED", 8_000)
        monkeypatch.setattr(f"{RECOMMEND}.LEAST_SIMULATED", 2_000)
        monkeypatch.setattr(simulation, "_MOST_FOR_BURSTS", 6_000)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_at_a_time_with_constant_times_waits_as_theory_says(load: float) -> None:
    # M/D/1: mean wait = load x time / 2 (1 - load); Kleinrock, Queueing Systems 1, section 5.5.
    time_s = 0.01
    rate_hz = load / time_s
    found = recommend([constant(time_s)], POISSON, rate_hz)
    assert found.best is not None
    theory_s = time_s * (1 + load / (2 * (1 - load)))
    assert found.best.mean_s.centre == pytest.approx(theory_s, rel=0.03)
    assert found.best.mean_s.n == 8


def test_a_request_pays_for_its_batch_and_for_the_idle_time_until_the_next() -> None:
    curve = constant(0.01, energy_j=0.5, idle_w=3.0)
    traffic = draw_traffic(POISSON, 25.0, 4000, seed=1)
    for idle, energy_j in ((True, 0.5 + 3.0 * (1 / 25 - 0.01)), (False, 0.5)):
        outcome = serve(traffic, parse_policy("greedy:1"), curve, curve.blocks[0], idle=idle)
        assert outcome is not None
        assert outcome.energy_j == pytest.approx(energy_j)
        assert outcome.busy == pytest.approx(0.25)


def test_between_measured_sizes_time_and_energy_rise_and_measured_ones_are_kept(
    plain: Path,
) -> None:
    (curve,) = curves_of(plain)
    one = curve.blocks[0]
    assert one.energy_j is not None
    assert (curve.measured, one.times_s.shape) == ((1, 4, 16), (16, POINTS))
    means_s = one.times_s.mean(axis=1)
    for size in curve.measured:
        assert means_s[size - 1] == pytest.approx(batch_s(size))
        assert one.energy_j[size - 1] == pytest.approx(20.0 * batch_s(size))
    assert (np.diff(means_s) > 0).all()
    assert (np.diff(one.energy_j) > 0).all()
    assert one.idle_w == pytest.approx(IDLE_W)


def test_latencies_of_the_traces_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    run = server_run(tmp_path / "run", sizes=(1,), blocks=1)
    (tmp_path / "traces").mkdir()
    latencies_s = np.array([0.004] * 90 + [0.024] * 10)  # their mean is that of the window
    path = tmp_path / "traces" / f"{Cell('alexnet', 'onnxruntime-cpu').slug}_r0.npz"
    np.savez(path, latency_s=latencies_s)
    with open_run(run) as dataset:
        (curve,) = read_service_curves(dataset, tmp_path / "traces")
        times_s = curve.blocks[0].times_s[0]
        assert np.mean(times_s > 0.02) == pytest.approx(0.1, abs=0.01)
        path.write_bytes(b"torn")
        with pytest.raises(RunError, match="delete the file"):
            read_service_curves(dataset, tmp_path / "traces")


@pytest.mark.slow
def test_the_frugal_backend_and_full_batches_win_where_nothing_limits_the_wait(
    tmp_path: Path,
) -> None:
    run = server_run(tmp_path / "run", {"torch-cpu": 40.0, "onnxruntime-cpu": 20.0})
    found = asked(run, 50.0)
    best = found.best
    assert best is not None
    assert found.met
    least = found.least
    assert least is not None
    assert (least.cell.backend, least.policy.text) == ("onnxruntime-cpu", "fixed:16")
    idle_j = IDLE_W * (1 / 50 - batch_s(16) / 16)
    assert least.energy_j is not None
    assert least.energy_j.centre == pytest.approx(20 * batch_s(16) / 16 + idle_j, rel=0.01)
    assert best.cell.backend == "onnxruntime-cpu"
    assert best.policy.wait_s < least.policy.wait_s
    assert best.energy_j is not None
    assert best.energy_j.centre < 1.05 * least.energy_j.centre
    one_j = 20 * batch_s(1) + IDLE_W * (1 / 50 - batch_s(1))
    saved = found.against_one.interval
    assert saved is not None
    assert saved.centre == pytest.approx(best.energy_j.centre / one_j, rel=0.01)
    assert saved.excludes(1.0)
    assert {choice.policy.text for choice in found.pareto} > {"fixed:16"}
    assert found.runner_up is not None
    assert found.runner_up.kind != best.kind


@pytest.mark.slow
def test_a_limit_on_p99_excludes_waiting_for_larger_batches(plain: Path) -> None:
    free, bound = asked(plain, 50.0), asked(plain, 50.0, p99_s=0.05)
    assert free.best is not None
    assert bound.best is not None
    assert free.best.p99_s.centre > 0.05 > bound.best.p99_s.centre
    assert bound.met
    assert bound.best.policy.text.startswith("dynamic:")
    assert free.best.energy_j is not None
    assert bound.best.energy_j is not None
    assert bound.best.energy_j.centre > free.best.energy_j.centre
    assert bound.best.batch < free.best.batch
    # It waits for as long as it may, rather than being merely the fastest.
    assert bound.fastest is not None
    assert bound.best.p99_s.centre > 1.5 * bound.fastest.p99_s.centre


def test_the_runner_up_differs_in_more_than_the_wait(tmp_path: Path) -> None:
    found = asked(server_run(tmp_path / "run", sizes=(1, 2)), 50.0, p99_s=0.05)
    fit = sorted((c for c in found.choices if c.sure and c.energy_j), key=_energy_j)
    assert found.least is fit[0]
    assert found.best is not None
    assert sum(choice.kind == found.best.kind for choice in fit) > 1  # only the wait differs
    assert found.runner_up is next(c for c in fit if c.kind != found.best.kind)


def _energy_j(choice: Choice) -> float:
    assert choice.energy_j is not None
    return choice.energy_j.centre


@pytest.mark.slow
def test_the_best_of_every_other_backend_stands_in_a_row_of_its_own(tmp_path: Path) -> None:
    backends = {"onnxruntime-cpu": 20.0, "torch-cpu": 200.0, "openvino-cpu": 100.0}
    found = asked(server_run(tmp_path, backends), 60.0, p99_s=0.3)
    assert found.best is not None
    assert found.best.cell.backend == "onnxruntime-cpu"
    assert [choice.cell.backend for choice in found.elsewhere] == ["openvino-cpu", "torch-cpu"]
    energies = [c.energy_j.centre for c in (found.best, *found.elsewhere) if c.energy_j]
    assert energies == sorted(energies)
    assert all(choice.met for choice in found.elsewhere)
    curves = curves_of(tmp_path)
    for choice in found.elsewhere:  # as if there were no other backend
        own = [curve for curve in curves if curve.cell.backend == choice.cell.backend]
        alone = recommend(own, POISSON, 60.0, Limits(p99_s=0.3)).best
        assert alone is not None
        assert alone.energy_j is not None
        assert choice.energy_j is not None
        assert choice.energy_j.centre == pytest.approx(alone.energy_j.centre, rel=0.05)
    roles = {row[1]: row[0] for row in choices_table(found).rows if "elsewhere" in row[0]}
    assert {"openvino-cpu", "torch-cpu"} == set(roles)
    assert all("best elsewhere" in role for role in roles.values())


@pytest.mark.slow
def test_another_backend_that_is_too_slow_is_the_nearest_elsewhere_or_named_below(
    tmp_path: Path,
) -> None:
    def slower(record: Record) -> Record:
        if not isinstance(record, Repetition) or record.cell.backend != "torch-cpu":
            return record
        late = {key: 4 * value for key, value in record.latency_s.items()}
        return replace(record, latency_s=late, duration_s=4 * (record.duration_s or 0.0))

    run = server_run(tmp_path, {"onnxruntime-cpu": 20.0, "torch-cpu": 20.0}, spoil=slower)
    near = asked(run, 20.0, p99_s=0.02)
    assert [(c.cell.backend, c.met) for c in near.elsewhere] == [("torch-cpu", False)]
    assert "nearest elsewhere" in {row[0] for row in choices_table(near).rows}
    assert not any("under no policy" in note for note in near.notes)
    over = asked(run, 400.0)
    assert over.elsewhere == ()
    assert "torch-cpu sustains the rate under no policy." in over.notes


@pytest.mark.slow
def test_a_limit_on_the_mean_is_kept_too(plain: Path) -> None:
    found = asked(plain, 50.0, p99_s=0.5, mean_s=0.012)
    assert found.best is not None
    assert found.met
    assert found.best.mean_s.centre <= 0.012
    assert all(c.met == (c.p99_s.centre <= 0.5 and c.mean_s.centre <= 0.012) for c in found.choices)


def test_what_cannot_be_met_names_the_nearest(plain: Path) -> None:
    found = asked(plain, 50.0, p99_s=0.001)
    assert not found.met
    assert found.best is not None
    assert found.best.p99_s.centre == min(c.p99_s.centre for c in found.choices)
    assert answer(found)[0].startswith("Nothing meets p99 at most 1 ms. Nearest comes")


def test_a_rate_too_high_is_told_with_the_largest_that_is_held(plain: Path) -> None:
    found = asked(plain, 5000.0)
    assert (found.met, found.best, found.choices) == (False, None, ())
    assert found.most_hz.centre == pytest.approx(16 / batch_s(16), rel=0.02)
    assert "No policy sustains 5000 requests/s: the most is 7" in answer(found)[0]
    assert choices_table(found).rows == ()


def test_only_batches_that_hold_the_rate_are_chosen(plain: Path) -> None:
    # One at a time holds 167/s, batches of 4 hold 444/s, of 16 hold 762/s.
    found = asked(plain, 500.0)
    assert found.met
    assert found.batch_one is None
    assert min(choice.policy.largest for choice in found.choices) > 4
    assert any("does not sustain the rate" in line for line in answer(found))


def test_a_rate_is_held_only_if_every_repetition_holds_it(plain: Path) -> None:
    (curve,) = curves_of(plain)
    candidate = Candidate(curve, parse_policy("fixed:16"))
    holds_hz = 16 / batch_s(16)
    assert candidate.can_hold(holds_hz / 1.02)
    assert not candidate.can_hold(holds_hz / 1.005)  # the slowest is 1 % below


@pytest.mark.slow
def test_interpolated_sizes_are_told_and_never_beyond_the_largest(tmp_path: Path) -> None:
    found = asked(server_run(tmp_path / "run", sizes=(1, 8)), 50.0, p99_s=0.08)
    assert found.best is not None
    assert 0 < found.best.interpolated <= 1
    assert any("are interpolated" in line for line in answer(found))
    assert max(choice.policy.largest for choice in found.choices) == 8


@pytest.mark.slow
def test_estimated_energy_is_called_so_beside_every_joule(tmp_path: Path) -> None:
    found = asked(server_run(tmp_path / "run", source=EnergySource.ESTIMATED), 50.0)
    assert found.best is not None
    assert found.best.energy_source == "estimated"
    assert "per request (estimated)" in answer(found)[1]
    assert "energy/request (estimated)" in choices_table(found).columns


@pytest.mark.slow
def test_estimates_and_measurements_are_not_compared(tmp_path: Path) -> None:
    run = server_run(
        tmp_path / "run",
        {"torch-cpu": 40.0, "onnxruntime-cpu": 20.0},
        source={"torch-cpu": EnergySource.COUNTER, "onnxruntime-cpu": EnergySource.ESTIMATED},
    )
    found = asked(run, 50.0, p99_s=0.2)
    assert found.criterion == "response"
    assert found.pareto == ()
    assert "cannot be compared" in found.notes[0]
    _is_fastest(found)


def _is_fastest(found: Recommendation) -> None:
    """Up to the error of a prediction."""
    assert found.best is not None
    assert found.fastest is not None
    assert found.best.p99_s.centre <= 1.1 * found.fastest.p99_s.centre
    assert found.best.policy.largest <= found.fastest.policy.largest


@pytest.mark.slow
def test_without_energy_the_fastest_is_the_answer_and_nothing_is_saved(tmp_path: Path) -> None:
    found = asked(server_run(tmp_path / "run", source=EnergySource.MISSING, idle_w=None), 50.0)
    text = " ".join([*answer(found), *found.notes])
    assert found.criterion == "response"
    _is_fastest(found)
    assert "energy unknown" in text
    assert "There is no energy in this run" in text
    assert "nan" not in text
    assert "saving" not in text
    assert (found.against_one.interval, found.pareto) == (None, ())


@pytest.mark.slow
def test_a_backend_without_energy_comes_after_those_with_it(tmp_path: Path) -> None:
    found = asked(_without_energy_of_one(tmp_path / "run"), 50.0)
    assert found.best is not None
    assert found.best.cell.backend == "torch-cpu"
    assert "No energy is known of onnxruntime-cpu" in found.notes[0]


def _without_energy_of_one(path: Path) -> Path:
    def spoil(record: Record) -> Record:
        if isinstance(record, Repetition) and record.cell.backend == "onnxruntime-cpu":
            return replace(record, energy=(runs.missing("package-0"),))
        return record

    return server_run(path, {"torch-cpu": 40.0, "onnxruntime-cpu": 20.0}, spoil=spoil)


@pytest.mark.slow
def test_without_idle_power_energy_is_that_of_the_batches_and_said_so(tmp_path: Path) -> None:
    found = asked(server_run(tmp_path / "run", idle_w=None), 50.0)
    assert found.best is not None
    assert found.best.energy_j is not None
    assert not found.idle_counted
    assert found.best.energy_j.centre == pytest.approx(20 * batch_s(16) / 16, rel=0.02)
    assert any("The idle power of onnxruntime-cpu is missing" in note for note in found.notes)
    assert "batches alone" in answer(found)[1]


@pytest.mark.slow
def test_one_repetition_gives_no_interval_and_no_verdict(tmp_path: Path) -> None:
    found = asked(server_run(tmp_path / "run", blocks=1), 50.0, p99_s=0.05)
    text = " ".join([*answer(found), *found.notes])
    assert found.best is not None
    assert found.best.p99_s.kind == "none"
    assert not found.best.sure
    assert not found.clear
    assert "one repetition has no spread" in text
    assert "clear difference" not in text
    assert "±" not in text


@pytest.mark.parametrize(("size", "policy"), [(1, "greedy:1"), (8, "fixed:8")])
def test_with_one_batch_size_no_other_is_judged(tmp_path: Path, size: int, policy: str) -> None:
    found = asked(server_run(tmp_path / "run", sizes=(size,)), 50.0)
    assert [choice.policy.text for choice in found.choices] == [policy]
    assert f"was measured at batch {size} alone" in " ".join(found.notes)
    assert found.runner_up is None


@pytest.mark.slow
def test_failed_repetitions_are_left_out_and_counted(tmp_path: Path) -> None:
    def spoil(record: Record) -> Record:
        if not isinstance(record, Repetition):
            return record
        if record.cell.batch_size == 16 or (record.block, record.cell.batch_size) == (0, 4):
            return runs.failed(record.cell, record.block, Status.OOM)
        return record

    (curve,) = curves_of(server_run(tmp_path / "run", spoil=spoil))
    assert (curve.measured, sorted(curve.blocks), curve.left_out) == ((1, 4), [1, 2, 3], 1)
    note = "1 repetition of onnxruntime-cpu lacks a batch size and is left out."
    assert note in recommend([curve], POISSON, 50.0).notes


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answer_and_another_differs(plain: Path) -> None:
    curves = curves_of(plain)
    first, again, other = (recommend(curves, POISSON, 50.0, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.fastest is not None
    assert other.fastest is not None
    assert first.fastest.p99_s.centre != other.fastest.p99_s.centre


@pytest.mark.slow
@pytest.mark.parametrize("text", ["constant", "uniform:0.8:1.2", "bursty:4:2s:0.1"])
def test_other_arrivals_are_served(plain: Path, text: str) -> None:
    curves = curves_of(plain)
    found = recommend(curves, parse_arrivals(text), 50.0)
    smooth = recommend(curves, POISSON, 50.0)
    assert found.fastest is not None
    assert smooth.fastest is not None
    harder = found.fastest.p99_s.centre > smooth.fastest.p99_s.centre
    assert harder == text.startswith("bursty")


def test_a_short_recording_is_replayed_at_its_own_rate(tmp_path: Path, plain: Path) -> None:
    (tmp_path / "seen.txt").write_text("\n".join(f"{place / 40:.4f}" for place in range(400)))
    curves = curves_of(plain)
    found = recommend(curves, parse_arrivals("replay:seen.txt", tmp_path), None)
    assert found.rate_hz == pytest.approx(40.0)
    assert found.best is not None
    assert math.isfinite(found.best.p99_s.centre)


@pytest.mark.parametrize("lost", ["duration", "latency"])
def test_repetitions_whose_times_were_taken_out_are_none(plain: Path, lost: str) -> None:
    with open_run(plain) as dataset:
        edited = dataset.assign({lost: dataset[lost] * math.nan})
        assert read_service_curves(dataset)
        assert not read_service_curves(edited)


def test_several_machines_are_refused(plain: Path) -> None:
    import xarray as xr

    with open_run(plain) as dataset:
        both = xr.concat([dataset, dataset], dim="machine")
        with pytest.raises(RunError, match="holds 2 machines"):
            read_service_curves(both)


@pytest.mark.slow
def test_the_question_repeats_what_was_asked(plain: Path) -> None:
    found = asked(plain, 50.0, p99_s=0.05, mean_s=0.02)
    assert question(found, "poisson") == (
        "alexnet, 50 requests/s (poisson), p99 at most 50 ms, mean at most 20 ms"
    )


def test_flags_of_the_repetitions_stand_in_the_notes(tmp_path: Path) -> None:
    def flagged(record: Record) -> Record:
        assert isinstance(record, Repetition)
        flags = ("unsteady", "fallback") if record.block < 2 else ("unsteady",)
        return replace(record, flags=flags)

    found = asked(server_run(tmp_path / "run", spoil=flagged), 50.0)
    (note,) = (note for note in found.notes if "flagged" in note)
    assert note == (
        "Measured repetitions of onnxruntime-cpu: 12 of 12 flagged unsteady, 6 of 12 fallback; "
        "see the report."
    )
