"""A recording of arrivals is judged whole and in its busiest stretch, not by its quiet begin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.analysis import Limits, Recommendation, recommend
from greenbatch.analysis.recommendation import recorded as module
from greenbatch.analysis.recommendation.basis import clock
from greenbatch.analysis.recommendation.recorded import Recorded, in_short, read_recorded
from greenbatch.analysis.recommendation.service_curves import ServiceCurve
from greenbatch.analysis.recommendation.text import answer
from greenbatch.queueing.arrivals import Replay
from greenbatch.queueing.recordings import Recording
from tests.fakes.service import curves_of, server_run

RECOMMEND = "greenbatch.analysis.recommendation.recommend"
NIGHT, DAY = 4_000, 40_000
NIGHT_HZ, DAY_HZ = 5.0, 500.0


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{RECOMMEND}.SEARCHED", 1_000)
    monkeypatch.setattr(f"{RECOMMEND}.SIMULATED", 8_000)
    monkeypatch.setattr(f"{RECOMMEND}.LEAST_SIMULATED", 2_000)


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> list[ServiceCurve]:
    """Batches of 5 ms, and 1 ms for each image: 167/s one at a time, 762/s in batches of 16."""
    return curves_of(server_run(tmp_path_factory.mktemp("runs") / "run", blocks=3))


def arriving(*parts: tuple[int, float], seed: int = 1) -> Replay:
    """Parts with a number of requests and a rate, one after the other."""
    rng = np.random.default_rng(seed)
    gaps = np.concatenate([rng.standard_exponential(count) / rate for count, rate in parts])
    instants_s = np.cumsum(gaps)
    return Replay("replay:trace.csv", Recording(instants_s - instants_s[0]))


def judged(curves: list[ServiceCurve], replay: Replay, **limits: float) -> Recommendation:
    return recommend(curves, replay, None, Limits(**limits))


def test_a_day_that_cannot_be_met_is_refused_although_the_night_before_can(
    curves: list[ServiceCurve],
) -> None:
    night, day = (NIGHT, NIGHT_HZ), (DAY, DAY_HZ)
    alone = judged(curves, arriving(day), p99_s=0.015)
    whole = judged(curves, arriving(night, day), p99_s=0.015)
    assert judged(curves, arriving(night), p99_s=0.015).verdict == "met"
    assert alone.verdict == whole.verdict == "not met"
    assert whole.recorded is not None
    assert whole.recorded.whole
    assert whole.rate_hz == pytest.approx(
        (NIGHT + DAY) / (NIGHT / NIGHT_HZ + DAY / DAY_HZ), rel=0.1
    )
    assert whole.recorded.busiest.first >= NIGHT - 1
    assert whole.needed_hz == pytest.approx(DAY_HZ, rel=0.1)
    assert whole.best is not None
    assert alone.best is not None
    assert whole.best.hardest_p99_s == pytest.approx(alone.best.hardest_p99_s, rel=0.15)
    said = f"begin at {clock(whole.recorded.busiest.start_s)} and have"
    assert any(said in note for note in whole.notes)


def test_a_day_that_no_batch_holds_is_refused_without_any_limit(
    curves: list[ServiceCurve],
) -> None:
    found = judged(curves, arriving((NIGHT, NIGHT_HZ), (60_000, 1000.0)))
    assert found.rate_hz < found.most_hz.centre < found.needed_hz
    assert (found.verdict, found.best) == ("not met", None)
    assert "requests/s of the busiest 60 s" in answer(found)[0]


def test_a_peak_of_less_than_a_hundredth_of_the_requests_is_no_exception(
    curves: list[ServiceCurve],
) -> None:
    found = judged(curves, arriving((20_000, 20.0), (190, 2_000.0), (2_000, 20.0)), p99_s=0.05)
    assert found.best is not None
    assert found.best.p99_s.centre < 0.05 < found.best.hardest_p99_s
    assert found.verdict == "not met"
    assert answer(found)[0].startswith("Nothing meets p99 at most 50 ms in the busiest ")


@pytest.mark.slow
def test_a_steady_recording_is_answered_as_its_process_is(curves: list[ServiceCurve]) -> None:
    found = judged(curves, arriving((20_000, 50.0)), p99_s=0.05)
    assert found.verdict == "met"
    assert found.best is not None
    assert found.best.hardest_p99_s == pytest.approx(found.best.p99_s.centre, rel=0.2)
    assert "the same recording" in " ".join(found.notes)


@pytest.mark.parametrize(("count", "verdict"), [(3, "not shown"), (99, "not shown"), (100, "met")])
def test_a_99th_percentile_of_fewer_than_100_requests_is_not_shown(
    curves: list[ServiceCurve], count: int, verdict: str
) -> None:
    replay = Replay("replay:trace.csv", Recording(np.arange(count, dtype=float)))
    found = judged(curves, replay, p99_s=1.0)
    assert found.met
    assert found.verdict == verdict
    assert (f"{count} requests, too few" in " ".join(answer(found))) == (verdict == "not shown")
    assert judged(curves, replay, mean_s=1.0).verdict == "met"


@pytest.mark.slow
def test_what_is_cut_is_said_and_holds_the_busiest_stretch(
    curves: list[ServiceCurve], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_JUDGED", 4_000)
    replay = arriving((3_000, 10.0), (2_000, 100.0), (3_000, 10.0))
    found = recommend(curves, replay, 40.0, Limits(p99_s=0.05))
    assert found.recorded is not None
    part, busiest = found.recorded.judged, found.recorded.busiest
    assert part.first <= busiest.first < busiest.behind <= part.behind
    assert part.requests == 4_000
    assert f"Of 8,000 requests, 4000 are judged, those from {clock(part.start_s)}" in found.notes[0]
    assert found.rate_hz == pytest.approx(part.requests / part.length_s, rel=0.01)
    assert found.rate_hz > 40.0  # not presented as what was asked for


_series = st.lists(st.floats(0.001, 30.0), min_size=2, max_size=60).map(np.cumsum)


@given(_series, st.floats(0.01, 2.0))
def test_no_stretch_of_that_length_has_more_requests(instants: np.ndarray, limit_s: float) -> None:
    instants_s = instants - instants[0]
    found = read_recorded(Replay("any", Recording(instants_s)), None, Limits(p99_s=limit_s))
    busiest = found.busiest
    within = [
        int(((instants_s >= at) & (instants_s < at + busiest.length_s)).sum()) for at in instants_s
    ]
    assert busiest.requests in (max(within), max(within) + 1)  # the last instant ends a window
    assert found.whole
    assert found.needed_hz >= found.rate_hz


def _recorded(count: int) -> Recorded:
    return read_recorded(arriving((count, 10.0), (count, 200.0)), None, Limits())


@pytest.mark.parametrize("count", [400, 40_000])
def test_a_short_series_has_pieces_all_along_and_the_busiest_at_last(count: int) -> None:
    recorded = _recorded(count)
    instants_s, busiest = in_short(recorded, 1_000)
    assert len(instants_s) == min(1_000, 2 * count)
    assert (np.diff(instants_s) >= 0).all()
    if count > 1_000:
        last = instants_s[busiest]
        assert len(last) / (last[-1] - last[0]) > 150.0
        before = np.diff(instants_s[: busiest.start])
        assert (before > 0.05).mean() == pytest.approx(0.3, abs=0.1)  # of the slow half
