"""A line that is as it was written is read by its bytes; any other is looked at closely."""

import hashlib
import json
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from msgspec import MsgspecError

from greenbatch.analysis.dataset.run_files import digest
from greenbatch.errors import JournalError
from greenbatch.records import Cell, Record, Repetition, decode, encode, parse
from greenbatch.records.journal import (
    _adapter,
    _checksum,
    _is_canonical,
    _typed,
    parse_lines,
)
from tests.fakes import runs

RECORDS = runs.realistic_records(models=("alexnet",), blocks=2)


@pytest.mark.parametrize("record", RECORDS[:4])
def test_both_ways_of_reading_a_line_give_the_record(record: Record) -> None:
    line = encode(record)
    loose = json.dumps(json.loads(line)).encode() + b"\n"  # with blanks, as another tool writes it
    assert _is_canonical(line)
    assert not _is_canonical(loose)
    assert decode(line) == decode(loose) == record


ODD: dict[str, list[object]] = {
    "block": ["1", 1.0, 1.5, True, 10**400, -1, None, [], 10**19],
    "duration_s": ["1", 1, 10**400, True, None, -1],
    "reason": ["\ud800", 5],
    "settings": [{"a": 10**30}, {"a": 1.0}, {"a": True}, {"a": [1]}, {"a": "\ud800"}],
    "latency_s": [{"0.5": 1}, {"x": None}, {}],
    "status": ["ok", "nope"],
    "flags": [["unsteady"], ["x"], "unsteady"],
    "cell": [{"model": "a", "backend": "b", "batch_size": 1.0}, {"model": "../a", "backend": "b"}],
    "energy": [[{"domain": "a", "source": "counter", "energy_j": -1.0, "uncertainty_j": 0.0}]],
    "images": [10**18, 2**63, 2**64],
    "kind": ["repetition", "idle", None],
    "more": [{"a": 1}],
}


@pytest.mark.parametrize("name", ODD)
def test_the_typed_decoder_accepts_no_record_that_pydantic_refuses_or_reads_otherwise(
    name: str,
) -> None:
    members = json.loads(encode(RECORDS[3]))
    del members["checksum"]
    for value in ODD[name]:
        odd = {**members, name: value}
        line = json.dumps(odd, sort_keys=True, separators=(",", ":")).encode()
        try:
            found = _typed().decode(line)
        except MsgspecError:
            continue  # `decode` asks pydantic then
        assert repr(found) == repr(_adapter().validate_json(line)), value


def test_a_refusal_says_what_it_said_before() -> None:
    members = json.loads(encode(RECORDS[3]))
    del members["checksum"]
    members |= {"duration_s": -1.0, "schema": 1}
    line = json.dumps(
        members | {"checksum": _checksum(members)}, sort_keys=True, separators=(",", ":")
    )
    assert _is_canonical(line.encode())
    with pytest.raises(JournalError, match=r"line 1: repetition: duration_s is -1\.0; an ok"):
        parse(line.encode() + b"\n" + encode(RECORDS[3]))


def test_no_altered_byte_is_let_through() -> None:
    line = encode(RECORDS[3])
    for place in range(len(line) - 1):
        altered = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        assert not _is_canonical(altered), altered[max(0, place - 20) : place + 20]


@pytest.mark.parametrize("odd", [b'"checksum":5,', b'"checksum":"0123456789abcdef",'])
def test_a_second_checksum_is_left_to_the_reader_that_refuses_it(odd: bytes) -> None:
    line = encode(RECORDS[3])
    own = re.search(rb'"checksum":"[0-9a-f]{16}",', line)
    assert own
    body = b"{" + odd + line[1 : own.start()] + line[own.end() :].rstrip(b"\n")
    digits = hashlib.sha256(body).hexdigest()[:16].encode()
    place = own.start() + len(odd)
    twice = body[:place] + b'"checksum":"' + digits + b'",' + body[place:]
    assert not _is_canonical(twice)
    with pytest.raises(ValueError, match="checksum"):
        decode(twice)


def test_a_schema_of_the_future_is_refused_though_its_checksum_fits() -> None:
    members = json.loads(encode(RECORDS[3]))
    del members["checksum"]
    members["schema"] = 2
    record = members | {"checksum": _checksum(members)}
    line = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(ValueError, match="schema 2 is not known"):
        decode(line)


def test_settings_named_as_the_line_s_own_members_are_read() -> None:
    record = runs.repetition(Cell("alexnet", "torch-cpu"))
    record = replace(record, settings={"checksum": "0123456789abcdef", "schema": 1})
    assert decode(encode(record)) == record


def test_a_file_is_read_as_its_bytes_are() -> None:
    data = b"".join(map(encode, RECORDS))
    for tail in (b"", b'{"torn', b"{}\n"):
        assert parse_lines(BytesIO(data + tail)) == parse(data + tail)
    broken = data.replace(b'"iterations":', b'"iteration":', 1)
    with pytest.raises(JournalError, match="line 3: it was changed or damaged"):
        parse_lines(BytesIO(broken))


def test_records_share_what_is_equal_and_nothing_else() -> None:
    records = [
        replace(
            runs.repetition(Cell("alexnet", "torch-cpu"), block, energy=[runs.missing("gpu-0")]),
            settings={"spin": value},
        )
        for block, value in enumerate((1, True, 1))
    ]
    found = parse(b"".join(map(encode, records))).repetitions
    assert [type(record.settings["spin"]) for record in found] == [int, bool, int]
    assert list(found) == records
    assert found[0].cell is found[2].cell
    assert found[0].settings is found[2].settings
    assert found[0].energy[0].domain is found[2].energy[0].domain
    assert found[0].conditions.power_capped is found[2].conditions.clock_hz == {}
    assert isinstance(found[0], Repetition)


def test_the_digest_of_a_run_is_that_of_its_files_whole(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",))
    total = hashlib.sha256()
    for name in ("study.yaml", "environment.json", "journal.jsonl"):
        data = (run / name).read_bytes()
        total.update(f"{name} {len(data)}\n".encode() + data)
    assert digest(run) == total.hexdigest()
