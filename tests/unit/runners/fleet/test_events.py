"""The events of a fleet outlive the client that wrote them."""

from pathlib import Path

from greenbatch.runners.fleet.events import read_events
from greenbatch.runners.fleet.home import Home
from tests.fakes.fleet import fleet_file, study


def test_a_torn_event_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    with Home.create(tmp_path / "home", fleet_file(study())) as home:
        home.note("accepted", "a", group="all")
    path = tmp_path / "home/events.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at":1.0,"what":"fini')
    torn = path.read_bytes()
    Home.look(tmp_path / "home")
    assert path.read_bytes() == torn, "who only looks writes nothing"
    with Home.open(tmp_path / "home") as home:
        home.note("finished", "a", "block-0000")
    assert [event.what for event in read_events(path)] == ["accepted", "finished"]
