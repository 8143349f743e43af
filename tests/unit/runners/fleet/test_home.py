"""The home folder takes each record once, and nothing that could lie elsewhere."""

from pathlib import Path
from typing import Any

import pytest

from greenbatch.errors import FileError, MessageError, RunError
from greenbatch.records import Cell, encode
from greenbatch.records.journal import checksum_of, read
from greenbatch.runners.fleet.home import Home
from greenbatch.runners.fleet.messages import Ended, Lines, Message, decode
from greenbatch.runners.fleet.messages import encode as encode_message
from tests.fakes import runs
from tests.fakes.fleet import fleet_file, study

CELL = Cell("alexnet", "onnxruntime-cpu", batch_size=1)


def line(block: int = 0, latency_s: float = 0.01, **more: Any) -> bytes:
    return encode(runs.repetition(CELL, block, latency_s=latency_s, **more))


def sent(data: bytes, machine: str = "a", **traces: bytes) -> Lines:
    named = {f"{name}.npz": content for name, content in traces.items()}
    return Lines(machine=machine, unit="block-0000", data=data, traces=named)


def test_a_line_that_comes_again_is_not_taken_again(tmp_path: Path) -> None:
    with Home.create(tmp_path / "home", fleet_file(study())) as home:
        assert home.take(sent(line(0) + line(1))) == 2
        assert home.take(sent(line(1) + line(0))) == 0
        assert home.take(sent(line(1))) == 0
    with Home.open(tmp_path / "home") as home:
        assert home.take(sent(line(0) + line(2))) == 1
    journal = read(tmp_path / "home/machines/a/journal.jsonl")
    assert [record.block for record in journal.repetitions] == [0, 1, 2]


def test_of_two_records_of_one_place_the_first_is_kept(tmp_path: Path) -> None:
    with Home.create(tmp_path / "home", fleet_file(study())) as home:
        home.take(sent(line(0)))
        assert home.take(sent(line(0, latency_s=0.5))) == 0
        assert [event.what for event in home.events] == ["second"]
        ended = Ended(
            machine="a",
            unit="block-0000",
            outcome="finished",
            lines=(checksum_of(line(0, latency_s=0.5)),),
        )
        assert home.complete(ended)
        assert home.take(sent(line(0, attempt=1))) == 1, "another attempt is another record"
    assert (tmp_path / "home/machines/a/journal.jsonl").read_bytes() == line(0) + line(0, attempt=1)


def test_machines_of_a_group_do_not_measure_in_place_of_each_other(tmp_path: Path) -> None:
    with Home.create(tmp_path / "home", fleet_file(study(), "any")) as home:
        for name in ("a", "b"):
            home.note("accepted", name, group="all")
        home.note("accepted", "c", group="another")
        assert home.take(sent(line(0), "a")) == 1
        assert home.take(sent(line(0, latency_s=0.5), "b")) == 0
        assert home.take(sent(line(0, latency_s=0.5), "c")) == 1


@pytest.mark.parametrize("trace", ["../x.npz", "/tmp/x.npz", ".hidden.npz", "x.yaml"])
def test_a_trace_lies_in_its_folder(tmp_path: Path, trace: str) -> None:
    message = Lines(machine="a", unit="u", data=line(0, trace=trace), traces={trace: b"x"})
    with (
        Home.create(tmp_path / "home", fleet_file(study())) as home,
        pytest.raises(FileError, match=r"wanted NAME\.npz"),
    ):
        home.take(message)


@pytest.mark.parametrize("machine", ["../a", "", ".a", "a/b"])
def test_a_message_of_a_machine_without_a_proper_name_is_none(machine: str) -> None:
    with pytest.raises(MessageError, match="unfit for files"):
        decode(encode_message(sent(line(0), machine)))


@pytest.mark.parametrize("text", [b"", b"{}", b'{"type":"Lines"}', b"[1]", b"\xff"])
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(MessageError):
        decode(text)


def test_a_message_is_read_as_it_was_written() -> None:
    message: Message = sent(line(0), x=b"\x00\xff")
    assert decode(encode_message(message)) == message


def test_one_client_at_a_time_takes_in_records(tmp_path: Path) -> None:
    with Home.create(tmp_path / "home", fleet_file(study())):
        with pytest.raises(RunError, match="another process collects the records"):
            Home.open(tmp_path / "home")
        assert Home.look(tmp_path / "home").machines == ()


def test_a_folder_that_is_no_fleet_or_not_free_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a fleet"):
        Home.look(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="gb fleet attach"):
        Home.create(tmp_path, fleet_file(study()))


def test_a_record_that_was_damaged_on_the_way_is_not_taken(tmp_path: Path) -> None:
    with Home.create(tmp_path / "home", fleet_file(study())) as home:
        with pytest.raises(MessageError, match=r"a sent no record: .*damaged"):
            home.take(sent(line(0).replace(b"alexnet", b"alexnot")))
        assert home.take(sent(line(0))) == 1


def test_a_fleet_of_a_later_format_is_refused(tmp_path: Path) -> None:
    with Home.create(tmp_path / "home", fleet_file(study())):
        pass
    file = tmp_path / "home/fleet.json"
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(RunError, match="schema 2, and this program reads schema 1"):
        Home.look(tmp_path / "home")
