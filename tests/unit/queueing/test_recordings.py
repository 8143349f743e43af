"""Recordings of arrivals as people have them: units, dates, prompts, JSON lines, compressed."""

import bz2
import csv
import gzip
import io
import json
import lzma
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.errors import UsageError
from greenbatch.queueing.arrivals import Replay, parse_arrivals
from greenbatch.queueing.recordings import read_recording

TENTHS = np.arange(20) * 0.1
START_S = 1_732_000_000.0  # November 2024


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    """Write a recording."""
    path = folder / name
    path.write_text(text)
    return path


def instants(path: Path, column: str | None = None) -> np.ndarray:
    return read_recording(path, column).instants_s


@pytest.mark.parametrize(
    ("unit", "per_s"), [("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)]
)
def test_an_epoch_in_another_unit_is_asked_about_and_taken_with_it(
    tmp_path: Path, unit: str, per_s: int
) -> None:
    numbers = [int(START_S) * per_s + round(at * per_s) for at in TENTHS]
    path = written(tmp_path, "at\n" + "\n".join(map(str, numbers)))
    with pytest.raises(UsageError) as asked:
        read_recording(path, "at")
    assert f"write replay:trace.csv#at:{unit}" in str(asked.value)
    np.testing.assert_allclose(instants(path, f"at:{unit}"), TENTHS, atol=1e-9)  # exact integers
    assert len(instants(path, "at:s")) == 20  # the user says so
    lines = written(tmp_path, "\n".join(map(str, numbers)))
    np.testing.assert_allclose(instants(lines, f":{unit}"), TENTHS, atol=1e-9)


def test_seconds_since_any_origin_are_taken(tmp_path: Path) -> None:
    for origin in (0.0, START_S, -5.0):
        path = written(tmp_path, "\n".join(str(origin + at) for at in TENTHS))
        np.testing.assert_allclose(instants(path), TENTHS, atol=1e-5)


def test_a_rate_that_no_server_of_interest_has_is_asked_about(tmp_path: Path) -> None:
    arriving_s = np.cumsum(np.random.default_rng(1).exponential(0.1, 300))
    for per_s in (1e3, 1e6, 1e9):  # relative instants: no date gives the unit away
        path = written(tmp_path, "\n".join(f"{at * per_s:.0f}" for at in arriving_s))
        with pytest.raises(UsageError, match=r"as seconds, the 300 requests .* come at") as asked:
            read_recording(path)
        assert "replay:trace.csv#:ms" in str(asked.value)
        assert "replay:trace.csv#:s" in str(asked.value)
        read_recording(path, ":s")
    hours = written(tmp_path, "\n".join(f"{at * 1e-6:.12f}" for at in arriving_s))
    with pytest.raises(UsageError, match=r"come at 1\.\d*e\+07 requests/s"):
        read_recording(hours)
    fast = written(tmp_path, "\n".join(f"{at * 20:.0f}" for at in arriving_s))  # 500/s, in ms
    with pytest.raises(UsageError, match=r"come at 0\.\d+ requests/s"):
        read_recording(fast)


def test_a_night_without_requests_is_not_another_unit(tmp_path: Path) -> None:
    path = written(tmp_path, "\n".join(str(at + 86_400 * (at > 1)) for at in TENTHS))
    assert instants(path)[-1] == pytest.approx(86_401.9)


def test_a_column_whose_name_ends_like_a_unit_is_meant_itself(tmp_path: Path) -> None:
    path = written(tmp_path, "time:ms,n\n0,1\n5,1\n9,1\n")
    assert instants(path, "time:ms").tolist() == [0.0, 5.0, 9.0]


def test_quoted_cells_may_hold_line_breaks_and_be_long(tmp_path: Path) -> None:
    prompt = 'Dear all,\nplease ""draw"" this: ' + "x" * 200_000
    rows = "".join(f'"{prompt}",{at:.1f}\n' for at in TENTHS)
    path = written(tmp_path, f"# a comment, with a comma\n\nprompt,at\n# a comment\n\n{rows}")
    np.testing.assert_allclose(instants(path, "at"), TENTHS, atol=1e-9)
    before = csv.field_size_limit()
    broken = written(tmp_path, f'# one\nprompt,at\n"two\nlines",0\n\n"{"x" * 200_000}\n",soon\n')
    with pytest.raises(UsageError, match="line 7: 'soon' is no instant"):
        read_recording(broken, "at")
    assert csv.field_size_limit() == before


def test_a_quote_that_is_never_closed_is_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, 'prompt,at\na,0\n"b,1\nc,2\n')
    with pytest.raises(UsageError, match="EOF inside string") as caught:
        read_recording(path, "at")
    assert "\n" not in str(caught.value)


_texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\r\x1a", exclude_categories=["Cs"]),
    max_size=12,
)


@pytest.mark.slow
@given(st.lists(st.tuples(_texts, st.floats(0, 1e5), _texts), min_size=2, max_size=20))
def test_whatever_stands_beside_the_instants_they_are_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float, str]]
) -> None:
    every = sorted(at for _, at, _ in rows)
    if every[-1] == every[0]:
        return
    out = io.StringIO()
    table = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    table.writerows([("id", "before", "at", "after")])
    table.writerows([(k, before, at, after) for k, (before, at, after) in enumerate(rows)])
    path = tmp_path_factory.mktemp("traces") / "trace.csv"
    path.write_text(out.getvalue(), newline="")
    wanted = np.array(every) - every[0]
    np.testing.assert_allclose(instants(path, "at:s"), wanted, rtol=1e-12, atol=1e-9)
    lines = [json.dumps({"x": before, "at": at, "y": [after]}) for before, at, after in rows]
    path.write_text("\n".join(lines))
    np.testing.assert_allclose(instants(path, "at:s"), wanted, rtol=1e-12, atol=1e-9)


def test_dates_are_read_with_their_time_zones(tmp_path: Path) -> None:
    start = datetime(2026, 3, 29, 0, 59, 58, tzinfo=UTC)  # clocks in Europe go forward at 1:00 UTC
    zones = [UTC, timezone(timedelta(hours=1)), timezone(timedelta(hours=-7, minutes=-30))]
    dates = [
        (start + timedelta(seconds=at)).astimezone(zones[place % 3]).isoformat()
        for place, at in enumerate(TENTHS.tolist())
    ]
    path = written(tmp_path, "id,at\n" + "".join(f"{k},{one}\n" for k, one in enumerate(dates)))
    np.testing.assert_allclose(instants(path, "at"), TENTHS, atol=1e-6)
    lines = written(tmp_path, "\n".join(dates))
    np.testing.assert_allclose(instants(lines), TENTHS, atol=1e-6)
    with pytest.raises(UsageError, match="are dates, and ':ms' is a unit of numbers"):
        read_recording(lines, ":ms")


def test_dates_of_a_published_trace_keep_their_seven_decimals(tmp_path: Path) -> None:
    # The form of Azure's traces of LLM inference: no zone, 100 ns.
    head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    rows = "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
    path = written(tmp_path, head + rows)
    assert instants(path, "TIMESTAMP").tolist() == pytest.approx([0.0, 4.314579], abs=1e-7)


@pytest.mark.parametrize("form", ["lines", "list"])
def test_json_is_read_by_its_key(tmp_path: Path, form: str) -> None:
    rows = [{"at": round(at, 1), "prompt": "a\nb", "more": {"at": 9}} for at in TENTHS.tolist()]
    text = "\n\n".join(map(json.dumps, rows)) if form == "lines" else json.dumps(rows, indent=1)
    path = written(tmp_path, text, "trace.jsonl")
    np.testing.assert_allclose(instants(path, "at"), TENTHS, atol=1e-9)
    with pytest.raises(UsageError, match=r"name a column \(at, prompt, more\)"):
        read_recording(path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_read_by_what_they_are(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    path = tmp_path / "trace.csv"  # whatever the name
    data = pack("\n".join(map(str, TENTHS)).encode())
    path.write_bytes(data)
    np.testing.assert_allclose(instants(path), TENTHS)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match="is damaged"):
        read_recording(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_tables_of_spreadsheets_are_read(tmp_path: Path, separator: str, encoding: str) -> None:
    comma = separator == ";"
    cells = [f"{at:.1f}".replace(".", "," if comma else ".") for at in TENTHS]
    text = f"id{separator} at \r\n" + "".join(f"x{separator}{cell}\r\n" for cell in cells)
    path = tmp_path / "trace.csv"
    path.write_bytes(text.encode(encoding))
    np.testing.assert_allclose(instants(path, "at"), TENTHS)


def test_instants_out_of_order_are_sorted_and_it_is_noted(tmp_path: Path) -> None:
    path = written(tmp_path, "0\n2\n1\n3\n")
    found = read_recording(path)
    assert found.instants_s.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert found.notes == ("The instants of trace.csv go back once; they were sorted.",)


def test_whole_seconds_make_bursts_and_it_is_noted(tmp_path: Path) -> None:
    path = written(tmp_path, "\n".join(str(at // 4) for at in range(400)))
    found = read_recording(path)
    assert np.count_nonzero(np.diff(found.instants_s) == 0) == 300
    assert "75% of the requests come at the instant of the one before" in found.notes[0]
    assert not read_recording(written(tmp_path, "0.25\n0.5\n0.5\n0.75\n")).notes


def test_a_number_sign_may_be_in_the_names_of_file_and_column(tmp_path: Path) -> None:
    written(tmp_path, "n#1,at\n0,5\n1,6\n3,9\n", "a#b.csv")
    for text, last_s in (("a#b.csv#at", 4.0), ("a#b.csv#n#1", 3.0)):
        replay = parse_arrivals(f"replay:{text}", tmp_path)
        assert isinstance(replay, Replay)
        assert replay.instants_s[-1] == last_s
