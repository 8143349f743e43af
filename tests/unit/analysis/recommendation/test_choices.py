"""Which choice is recommended, and what is shown beyond the error of the prediction."""

from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.analysis import Limits, Recommendation, recommend
from greenbatch.analysis.recommendation import candidates
from greenbatch.analysis.recommendation.choices import differs
from greenbatch.analysis.recommendation.simulation import draw_traffic, serve
from greenbatch.analysis.recommendation.text import answer
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.queueing.policies import parse_policy
from greenbatch.records import Record, Repetition, Status
from tests.fakes import runs
from tests.fakes.service import (
    POISSON,
    asked,
    constant,
    curves_of,
    server_run,
)

RECOMMEND = "greenbatch.analysis.recommendation.recommend"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{RECOMMEND}.SEARCHED", 1_000)
    monkeypatch.setattr(f"{RECOMMEND}.SIMULATED", 16_000)
    monkeypatch.setattr(f"{RECOMMEND}.LEAST_SIMULATED", 2_000)


def limited(
    limit_s: float, time_s: float = 0.02, load: float = 0.5, seed: int = 0
) -> Recommendation:
    """One at a time, with constant times: a queue of which everything is known."""
    return recommend([constant(time_s, 0.5, 3.0)], POISSON, load / time_s, Limits(limit_s), seed)


def p99_s(time_s: float, load: float = 0.5) -> float:
    best = limited(100.0, time_s, load).best
    assert best is not None
    return best.p99_s.centre


@pytest.mark.parametrize(
    ("time_s", "shares"),
    [
        (0.02, {1.35: "met", 1.03: "not shown", 0.97: "not shown", 0.7: "not met"}),
        # A server that wakes up for every request of a millisecond: up to 1.7 times as slow.
        (0.001, {2.2: "met", 1.35: "not shown", 0.97: "not shown", 0.7: "not met"}),
    ],
)
def test_a_limit_is_met_only_beyond_the_error_of_the_prediction(
    time_s: float, shares: dict[float, str]
) -> None:
    predicted_s = p99_s(time_s)
    for share, verdict in shares.items():
        found = limited(share * predicted_s, time_s)
        assert found.verdict == verdict, share
        assert found.met == (share > 1)
        first = answer(found)[0]
        assert first.startswith("Not shown whether") == (verdict == "not shown")


@pytest.mark.slow
def test_no_seed_turns_a_yes_into_a_no() -> None:
    middle_s = p99_s(0.02, 0.9)
    for step in range(8):
        limit_s = middle_s * (0.7 + 0.1 * step)
        verdicts = {limited(limit_s, load=0.9, seed=seed).verdict for seed in range(6)}
        assert not {"met", "not met"} <= verdicts


@pytest.mark.slow
def test_of_equal_energies_the_policy_that_does_not_wait_is_recommended(tmp_path: Path) -> None:
    # Nearly all energy is that of the idle machine: batches save next to nothing.
    run = server_run(tmp_path / "run", {"onnxruntime-cpu": 20.0}, idle_w=19.0)
    found = asked(run, 5.0, p99_s=0.05)
    assert found.best is not None
    assert found.least is not None
    assert found.best.policy.text == "greedy:1"
    assert found.least.policy.wait_s > 0
    assert found.least_over_best is not None
    assert 0.95 < found.least_over_best.centre < 1
    (said,) = (line for line in answer(found) if "might have" in line)
    assert "no significant difference; its p99 is" in said
    assert not found.clear


@pytest.mark.slow
def test_backends_that_failed_in_a_dear_block_gain_nothing_by_it(tmp_path: Path) -> None:
    def spoil(record: Record) -> Record:
        if not isinstance(record, Repetition) or record.block != 0:
            return record
        if record.cell.backend == "torch-cpu":
            return runs.failed(record.cell, record.block, Status.ERROR)
        dear = [replace(one, energy_j=1.5 * (one.energy_j or 0.0)) for one in record.energy]
        return replace(record, energy=tuple(dear))

    powers = {"onnxruntime-cpu": 20.0, "torch-cpu": 20.6}  # block 0 costs 1.5 times as much
    found = asked(server_run(tmp_path / "run", powers, spoil=spoil), 50.0, p99_s=0.1)
    assert found.least is not None
    assert found.least.cell.backend == "onnxruntime-cpu"
    of_torch = [c for c in found.choices if c.sure and c.cell.backend == "torch-cpu"]
    energies = [choice.energy_j.centre for choice in of_torch if choice.energy_j]
    assert found.least.energy_j is not None
    assert min(energies) < found.least.energy_j.centre  # each by its own blocks


@pytest.mark.slow
def test_what_saves_more_than_the_error_is_worth_a_wait(tmp_path: Path) -> None:
    found = asked(server_run(tmp_path / "run"), 50.0, p99_s=0.1)
    assert found.best is not None
    assert found.best.policy.wait_s > 0
    saved = found.against_one.interval
    assert saved is not None
    assert saved.high is not None
    assert saved.high < 0.95


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [20.0, 40.0])
def test_no_shorter_wait_costs_as_little_as_the_one_that_is_recommended(
    rate_hz: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves = curves_of(server_run(tmp_path / "run", sizes=(1, 4), idle_w=10.0))
    limits = Limits(p99_s=0.1)
    found = recommend(curves, POISSON, rate_hz, limits).best
    monkeypatch.setattr(candidates.Search, "shortlist", lambda self, every: list(every))
    among_all = recommend(curves, POISSON, rate_hz, limits).best
    assert found is not None
    assert among_all is not None
    assert among_all.policy.wait_s > 0
    assert found.policy.wait_s <= among_all.policy.wait_s


@pytest.mark.parametrize(
    ("low", "high", "n", "expected"),
    [
        (1.06, 1.2, 5, True),
        (1.001, 1.002, 5, False),  # far from 1 for its interval, and within the error
        (0.8, 0.9, 5, True),
        (0.9, 1.3, 5, False),
        (1.04, 1.12, 2, True),  # a range of two: the centre decides
    ],
)
def test_a_difference_is_beyond_interval_and_error(
    low: float, high: float, n: int, expected: bool
) -> None:
    assert differs(Interval(low, (low * high) ** 0.5, high, n), "energy") == expected


@pytest.mark.slow
def test_batches_and_waits_between_the_steps_of_the_grid_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves = curves_of(server_run(tmp_path / "run", sizes=(1, 2, 4, 8, 16)))
    fine = recommend(curves, POISSON, 120.0, Limits(p99_s=0.08)).least
    monkeypatch.setattr(candidates, "refined", lambda candidate, limits: [])
    coarse = recommend(curves, POISSON, 120.0, Limits(p99_s=0.08)).least
    assert fine is not None
    assert coarse is not None
    assert fine.energy_j is not None
    assert coarse.energy_j is not None
    assert fine.energy_j.centre < 0.995 * coarse.energy_j.centre


def test_the_energy_of_the_idle_machine_stands_apart() -> None:
    curve = constant(0.01, energy_j=0.5, idle_w=3.0)
    traffic = draw_traffic(POISSON, 25.0, 4000, seed=1)
    outcome = serve(traffic, parse_policy("greedy:1"), curve, curve.blocks[0], idle=True)
    assert outcome is not None
    assert outcome.idle_j == pytest.approx(3.0 * (1 / 25 - 0.01))
    found = recommend([curve], POISSON, 25.0)
    assert "590 mJ ± 0.0 % per request (measured), of which 90 mJ is the idle machine" in (
        " ".join(answer(found)).replace("missing", "measured")
    )
