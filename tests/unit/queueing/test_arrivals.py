"""Arrivals: the rate is the one asked for, seeds repeat them, and nonsense is refused."""

import math
from pathlib import Path

import numpy as np
import pytest

from greenbatch.errors import UsageError
from greenbatch.queueing.arrivals import parse_arrivals

PROCESSES = ["poisson", "uniform", "uniform:0:2", "constant", "bursty:4:2s", "bursty:10:500ms:0.1"]


@pytest.mark.parametrize("text", PROCESSES)
def test_the_mean_rate_is_the_one_asked_for_in_a_stretch_from_the_begin_on(text: str) -> None:
    arrivals = parse_arrivals(text)
    counts = [len(arrivals.times(20.0, seed=seed, duration_s=2.03)) for seed in range(1500)]
    error = np.std(counts) / math.sqrt(len(counts))
    assert abs(np.mean(counts) - 20.0 * 2.03) < 3.3 * error
    assert error < 0.1 * 20.0 * 2.03  # else it would show nothing


@pytest.mark.parametrize("text", ["bursty:1.5:20ms:0.5", "bursty:3:20ms:0.2", "bursty:4:20ms"])
def test_what_bursts_leave_of_the_rate_arrives_between_them(text: str) -> None:
    times_s = parse_arrivals(text).times(200.0, seed=2, duration_s=2000.0)
    assert len(times_s) / 2000.0 == pytest.approx(200.0, rel=0.02)


@pytest.mark.parametrize("text", PROCESSES)
def test_a_seed_repeats_its_instants_and_a_longer_series_begins_with_a_shorter(text: str) -> None:
    arrivals = parse_arrivals(text)
    short = arrivals.times(50.0, seed=3, count=100)
    assert len(short) == 100
    assert short[0] >= 0
    assert (np.diff(short) >= 0).all()
    assert arrivals.times(50.0, seed=3, count=1000)[:100] == pytest.approx(short)
    within = arrivals.times(50.0, seed=3, duration_s=float(short[60]))
    assert within == pytest.approx(short[:60])
    assert not np.array_equal(arrivals.times(50.0, seed=4, count=100), short)


def test_gaps_are_those_of_their_process() -> None:
    def gaps(text: str) -> np.ndarray:
        return np.diff(parse_arrivals(text).times(10.0, seed=1, count=20_000))

    assert gaps("constant") == pytest.approx(0.1)
    uniform = gaps("uniform")
    assert 0.08 <= uniform.min() < 0.081
    assert 0.119 < uniform.max() <= 0.12
    assert gaps("uniform:0.5:1.5").min() == pytest.approx(0.05, rel=0.01)
    poisson = gaps("poisson")
    assert poisson.std() / poisson.mean() == pytest.approx(1.0, abs=0.03)


def test_bursts_are_as_long_as_often_and_as_dense_as_asked_for() -> None:
    # With 10 times the rate in a tenth of the time, nothing arrives between bursts: gaps much
    # longer than those in a burst (0.5 ms) are the quiet, 18 s in the mean.
    times_s = parse_arrivals("bursty:10:2s:0.1").times(200.0, seed=5, count=200_000)
    gaps = np.diff(times_s)
    quiet = gaps > 0.02
    bursts = len(gaps[quiet])
    assert bursts > 30
    assert gaps[~quiet].mean() == pytest.approx(1 / 2000, rel=0.02)
    assert gaps[quiet].mean() == pytest.approx(18.0, rel=3.3 / math.sqrt(bursts))
    assert gaps[~quiet].sum() / bursts == pytest.approx(2.0, rel=3.3 / math.sqrt(bursts))


def test_bursts_far_shorter_than_a_gap_are_refused_before_anything_is_drawn() -> None:
    bursty = parse_arrivals("bursty:4:1us:0.1")  # 3e8 bursts in the time of 3,000 requests
    with pytest.raises(UsageError, match=r"1e\+05 bursts for each request at 1 requests/s"):
        bursty.times(1.0, seed=1, count=3000)
    assert len(bursty.times(1e4, seed=1, count=3000)) == 3000  # 10 for each request


def test_short_bursts_take_bounded_memory_and_keep_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bursty = parse_arrivals("bursty:4:1ms:0.1")
    whole = bursty.times(2.0, seed=1, count=4000)
    monkeypatch.setattr("greenbatch.queueing.arrivals._MOST_CYCLES", 1000)
    assert bursty.times(2.0, seed=1, count=4000) == pytest.approx(whole)
    assert len(whole) / whole[-1] == pytest.approx(2.0, rel=3.3 / math.sqrt(4000))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("poison", "did you mean 'poisson'"),
        ("poisson:3", "write them as poisson"),
        ("uniform:1", "write them as uniform:0.8:1.2"),
        ("uniform:0.5:1.2", "whose mean is 1"),
        ("uniform:-1:3", "0 or more"),
        ("uniform:nan:nan", "whose mean is 1"),
        ("bursty:4", "write them as bursty"),
        ("bursty:4:soon", "write them as bursty"),
        ("bursty:4:2h", "write them as bursty"),
        ("bursty:20:2s:0.1", "at most 1/ratio"),
        ("bursty:0.5:2s", "ratio above 1"),
        ("bursty:4:0s", "length above 0"),
        ("replay:nowhere.txt", "No such file"),
    ],
)
def test_arrivals_that_cannot_be_meant_are_told_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_arrivals(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_is_not_above_zero_is_refused(rate_hz: float) -> None:
    with pytest.raises(UsageError, match="give one above 0"):
        parse_arrivals("poisson").times(rate_hz, seed=1, count=10)


def test_a_series_is_asked_for_by_its_count_or_its_duration() -> None:
    poisson = parse_arrivals("poisson")
    with pytest.raises(UsageError, match="one of the two"):
        poisson.times(1.0, seed=1)
    with pytest.raises(UsageError, match="one of the two"):
        poisson.times(1.0, seed=1, count=1, duration_s=1.0)
    with pytest.raises(UsageError, match="give a rate"):
        poisson.times(None, seed=1, count=1)
    for nonsense in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="more than 0"):
            poisson.times(1.0, seed=1, duration_s=nonsense)


def test_a_recording_is_replayed_from_its_first_instant(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# seconds\n1000.0\n1000.5\n\n1002.0\n1004.0\n")
    replay = parse_arrivals("replay:a.txt", tmp_path)
    assert replay.times(None, seed=1, count=4).tolist() == [0.0, 0.5, 2.0, 4.0]
    assert replay.times(None, seed=1, duration_s=2.0).tolist() == [0.0, 0.5]
    # three gaps in 4 s are 0.75/s: at 1.5/s it runs twice as fast
    assert replay.times(1.5, seed=1, count=4).tolist() == [0.0, 0.25, 1.0, 2.0]
    assert len(replay.times(1.5, seed=1, duration_s=2.0)) == 3


def test_a_column_of_a_csv_file_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('name, arrival_s\n"a, b",1\nc,3\n')
    replay = parse_arrivals("replay:a.csv#arrival_s", tmp_path)
    assert replay.times(None, seed=1, count=2).tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    ("content", "column", "says"),
    [
        ("0\nsoon\n", "", "line 2: 'soon' is no instant"),
        ("0\n\nnan\n", "", "line 3: 'nan' is no instant"),
        ("0,1\n2,3\n", "", "line 1: '0,1' is no instant"),
        ("5\n", "", "at least 2 different"),
        ("5\n5\n", "", "at least 2 different"),
        ("", "#t", "no column 't'"),
        ("a,b\n1,2\n", "#t", "names a, b"),
        ('{"a": 1, "b": 2}\n', "#t", "first object names a, b"),
        ('{"t": 1}\n{"t": \n', "#t", "line 2: "),
        ('{"t": 1}\n\n[3]\n', "#t", r"line 3: '\[3\]' is no object"),
        ('{"t": 1}\n{"t": 2}\n\n{"n": 3}\n', "#t", "line 4: '' is no instant"),
        ("t\n2026-03-01 10:00\nsoon\n", "#t", "line 3: 'soon' is no instant"),
        ("0\n3\n", "#t", "no column 't'"),
        ("a,t\n1,2\n3\n", "#t", "line 3: '' is no instant"),
    ],
)
def test_a_broken_recording_names_its_line(
    content: str, column: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UsageError, match=says) as caught:
        parse_arrivals(f"replay:a.csv{column}", tmp_path)
    assert "a.csv" in str(caught.value)


def test_a_recording_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x80\xfe\x00\x9d")
    with pytest.raises(UsageError, match="not UTF-8"):
        parse_arrivals("replay:a.bin", tmp_path)


def test_more_than_was_recorded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0\n1\n4\n")
    replay = parse_arrivals("replay:a.txt", tmp_path)
    with pytest.raises(UsageError, match="3 requests in 4 s, 4 requests were requested"):
        replay.times(None, seed=1, count=4)
    with pytest.raises(UsageError, match="in 2 s, 3 s were requested"):
        replay.times(1.0, seed=1, duration_s=3.0)
