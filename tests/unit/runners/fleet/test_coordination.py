"""A study on simulated machines: every repetition comes home once, whatever goes wrong."""

from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest

from greenbatch.errors import FleetError
from greenbatch.records.journal import read
from greenbatch.runners.fleet.control import History
from greenbatch.runners.fleet.coordination import Coordinator, Listener, Parcel
from greenbatch.runners.fleet.events import Event
from greenbatch.runners.fleet.home import Home
from greenbatch.runners.fleet.messages import FileRef, Lines, decode, encode
from greenbatch.runners.fleet.planning import parse_sharing
from greenbatch.runners.fleet.rules import Rules
from tests.fakes.fleet import SimulatedFleet, SimulatedMachine, facts, fleet_file, study
from tests.thorough import examples

FILES = (FileRef("alexnet-fp32.onnx", "0" * 64, 10),)


class Clock:
    """Goes on by a second each time it is looked at."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def three(**more: float) -> list[SimulatedMachine]:
    return [SimulatedMachine(facts(name), 10.0 * (n + 1)) for n, name in enumerate("abc")]


def run(
    path: Path,
    fleet: SimulatedFleet,
    machines: str = "each",
    *,
    expect: int = 3,
    control: bool = False,
    **rules: object,
) -> list[Event]:
    """Run a fleet, or go on with it; return what happened."""
    events: list[Event] = []
    design = study()
    opened = (
        Home.open(path)
        if (path / "fleet.json").exists()
        else Home.create(path, fleet_file(design, machines, control=control))
    )
    with opened as home:
        given = {"sharing": parse_sharing(machines), "machines": expect} | rules
        Coordinator(
            home,
            fleet,
            Parcel(FILES, Path("artifacts")),
            Rules(**given),  # type: ignore[arg-type]
            Listener(on_event=events.append),
            Parcel((), Path("control")) if control else None,
            History(_folder(path.parent / "history")) if control else None,
            clock=Clock(),
        ).run()
    return events


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def measured(path: Path) -> Counter[tuple[str, str, int]]:
    """Machine, cell and block of every repetition in the home folder."""
    return Counter(
        (folder.name, record.cell.slug, record.block)
        for folder in (path / "machines").iterdir()
        for record in read(folder / "journal.jsonl").repetitions
    )


def test_every_machine_measures_everything_and_each_has_a_run_of_its_own(tmp_path: Path) -> None:
    fleet = SimulatedFleet(three())
    run(tmp_path / "home", fleet)
    found = measured(tmp_path / "home")
    assert len(found) == 3 * 2 * 3
    assert set(found.values()) == {1}
    for name, machine in fleet.all.items():
        folder = tmp_path / "home/machines" / name
        powers = {
            figure.power_mean_w
            for record in read(folder / "journal.jsonl").repetitions
            for figure in record.energy
        }
        assert powers == {machine.power_w}
        assert (folder / "study.yaml").exists()
        assert len(list((folder / "traces").iterdir())) == 6
        assert machine.files == {FILES[0].sha256}


@pytest.mark.parametrize("machines", ["any", "example=3"])
def test_machines_that_share_measure_each_repetition_once_between_them(
    tmp_path: Path, machines: str
) -> None:
    run(tmp_path / "home", SimulatedFleet(three()), machines)
    found = measured(tmp_path / "home")
    places = Counter((cell, block) for _, cell, block in found)
    assert len(places) == 2 * 3
    assert set(places.values()) == {1}
    blocks = {(name, block) for name, _, block in found}
    assert len(blocks) == 3, "a block was divided without need"
    assert {name for name, _ in blocks} == {"a", "b", "c"}


def test_no_more_machines_share_than_were_asked_for(tmp_path: Path) -> None:
    events = run(tmp_path / "home", SimulatedFleet(three()), "example=2")
    assert len({name for name, _, _ in measured(tmp_path / "home")}) == 2
    (refused,) = [event for event in events if event.what == "refused"]
    assert "not needed" in refused.reason


@pytest.mark.parametrize("seed", range(examples(5, 100)))
@pytest.mark.parametrize("machines", ["each", "any"])
def test_nothing_is_lost_and_nothing_twice_under_random_kills(
    tmp_path: Path, machines: str, seed: int
) -> None:
    """Workers die and come back, messages are lost or come twice, clients go and attach."""
    fleet = SimulatedFleet(three(), seed, drops=0.2, repeats=0.2)
    chance = Random(seed)
    kills = 0

    def before_step() -> None:
        nonlocal kills
        for machine in fleet.all.values():
            if not machine.alive:
                machine.alive = chance.random() < 0.5
            elif kills < 30 and chance.random() < 0.1:
                machine.die()
                kills += 1
        if kills < 30 and chance.random() < 0.03:
            kills += 1
            raise ConnectionError  # the client dies

    fleet.before_step = before_step
    while True:
        try:
            run(tmp_path / "home", fleet, machines, attempts=1000)
        except ConnectionError:
            continue
        break
    found = measured(tmp_path / "home")
    assert set(found.values()) == {1}
    if machines == "each":
        assert len(found) == 3 * 2 * 3
        for name, machine in fleet.all.items():
            mine = sum(count for (owner, _, _), count in found.items() if owner == name)
            assert machine.measured == mine, "a repetition was measured again"
    else:
        places = Counter((cell, block) for _, cell, block in found)
        assert len(places) == 2 * 3
        assert set(places.values()) == {1}


def test_a_journal_that_a_client_tore_is_filled_up(tmp_path: Path) -> None:
    fleet = SimulatedFleet(three()[:1])
    run(tmp_path / "home", fleet, expect=1)
    journal = tmp_path / "home/machines/a/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    (tmp_path / "home/events.jsonl").unlink()
    run(tmp_path / "home", fleet, expect=1)
    assert journal.read_bytes() == b"".join(lines)
    assert fleet.all["a"].measured == 6


def test_a_machine_that_does_not_come_back_leaves_its_blocks_to_the_others(tmp_path: Path) -> None:
    machines = three()[:2]
    fleet = SimulatedFleet(machines)

    def before_step() -> None:
        if fleet.steps == 2:
            machines[0].die()

    fleet.before_step = before_step
    events = run(tmp_path / "home", fleet, "any", expect=2)
    assert [e.what for e in events if e.machine == "a" and e.what != "accepted"] == ["lost"]
    places = Counter((cell, block) for _, cell, block in measured(tmp_path / "home"))
    assert len(places) == 6
    assert set(places.values()) == {1}


def test_a_machine_that_must_measure_everything_is_waited_for_and_then_named(
    tmp_path: Path,
) -> None:
    machines = three()[:2]
    fleet = SimulatedFleet(machines)

    def before_step() -> None:
        if fleet.steps == 2:
            machines[0].die()

    fleet.before_step = before_step
    with pytest.raises(FleetError, match="a did not come back within 30 s"):
        run(tmp_path / "home", fleet, expect=2, back_s=30.0)
    assert sum(1 for name, _, _ in measured(tmp_path / "home") if name == "b") == 6
    machines[0].alive = True
    run(tmp_path / "home", fleet, expect=2)
    found = measured(tmp_path / "home")
    assert len(found) == 12
    assert machines[0].measured == 6


def test_a_unit_that_fails_is_tried_three_times_and_the_rest_goes_on(tmp_path: Path) -> None:
    machines = three()[:2]
    machines[0].fails = 4
    events = run(tmp_path / "home", SimulatedFleet(machines), expect=2)
    failed = Counter(event.unit for event in events if event.what == "failed")
    assert (
        failed == {"block-0000": 2, "block-0001": 1, "block-0002": 1} or sum(failed.values()) == 4
    )
    assert sum(1 for name, _, _ in measured(tmp_path / "home") if name == "b") == 6


def test_a_machine_that_cannot_measure_is_refused_by_name(tmp_path: Path) -> None:
    machines = three()[:2]
    machines[0].refuses = "onnxruntime-cuda cannot run on this machine: there is no GPU"
    events = run(tmp_path / "home", SimulatedFleet(machines), expect=2)
    (refused,) = [event for event in events if event.what == "refused"]
    assert (refused.machine, refused.reason) == ("a", machines[0].refuses)
    assert {name for name, _, _ in measured(tmp_path / "home")} == {"b"}


def test_where_no_machine_can_measure_each_reason_is_named(tmp_path: Path) -> None:
    machines = three()[:2]
    for machine in machines:
        machine.refuses = "there is no GPU"
    with pytest.raises(FleetError, match=r"a: there is no GPU; b: there is no GPU"):
        run(tmp_path / "home", SimulatedFleet(machines), expect=2)


@pytest.mark.slow
def test_where_no_machine_comes_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="no machine came within 20 s"):
        run(tmp_path / "home", SimulatedFleet([]))


def test_machines_with_other_versions_are_refused_or_accepted_as_asked(tmp_path: Path) -> None:
    def fleet() -> SimulatedFleet:
        other = SimulatedMachine(facts("b", onnxruntime="1.30.0"))
        return SimulatedFleet([SimulatedMachine(facts("a")), other])

    events = run(tmp_path / "refuse", fleet(), expect=2)
    (refused,) = [event for event in events if event.what == "refused"]
    assert "onnxruntime is 1.30.0, and 1.31.1 on the first machine" in refused.reason
    assert "--versions group" in refused.reason
    run(tmp_path / "group", fleet(), expect=2, group_versions=True)
    assert {name for name, _, _ in measured(tmp_path / "group")} == {"a", "b"}


def test_a_machine_that_is_not_needed_does_not_decide_the_versions(tmp_path: Path) -> None:
    spare = SimulatedMachine(facts("a", "Spare CPU", onnxruntime="1.30.0"))
    fleet = SimulatedFleet([spare, SimulatedMachine(facts("b"))])
    run(tmp_path / "home", fleet, "Example CPU=1", expect=2)
    assert {name for name, _, _ in measured(tmp_path / "home")} == {"b"}


def test_a_scheduler_that_goes_ends_the_client_and_keeps_the_records(tmp_path: Path) -> None:
    fleet = SimulatedFleet(three())

    def before_step() -> None:
        if fleet.steps == 3:
            fleet.reachable = False

    fleet.before_step = before_step
    with pytest.raises(FleetError, match="does not answer any more"):
        run(tmp_path / "home", fleet)
    assert measured(tmp_path / "home")
    fleet.reachable = True
    run(tmp_path / "home", fleet)
    found = measured(tmp_path / "home")
    assert len(found) == 18
    assert sum(machine.measured for machine in fleet.all.values()) == 18


def test_the_control_cell_comes_first_and_last_and_its_drift_flags_the_machine(
    tmp_path: Path,
) -> None:
    machines = three()[:2]
    machines[0].drift = 0.03
    machines[1].drift = 0.01
    fleet = SimulatedFleet(machines)
    events = run(tmp_path / "home", fleet, expect=2, control=True)
    assert [each.examined for each in machines] == [{"control-start": study().backends}] * 2
    for name in "ab":
        units = [e.unit for e in events if e.machine == name and e.what == "finished"]
        assert (units[0], units[-1]) == ("control-start", "control-end")
    judged = {event.machine: event for event in events if event.what in ("control", "flagged")}
    assert judged["a"].what == "flagged"
    assert "energy per image of the control cell changed by +3.0%" in judged["a"].reason
    assert judged["b"].what == "control"
    assert len(measured(tmp_path / "home")) == 2 * 6, "the control cell is in no machine's run"
    assert len(read(tmp_path / "home/control/a/journal.jsonl").repetitions) == 6


@pytest.mark.slow
def test_a_machine_that_left_its_own_history_is_flagged(tmp_path: Path) -> None:
    for number in range(5):
        machine = SimulatedMachine(facts("a"), 20.0 + 0.01 * number)
        events = run(tmp_path / f"{number}", SimulatedFleet([machine]), expect=1, control=True)
        assert "flagged" not in {event.what for event in events}
    hot = SimulatedFleet([SimulatedMachine(facts("a"), 21.0)])
    events = run(tmp_path / "hot", hot, expect=1, control=True)
    (flagged,) = [event for event in events if event.what == "flagged"]
    assert "+4.9% from its mean in 5 earlier runs" in flagged.reason


@pytest.mark.slow
def test_control_cells_survive_kills_too(tmp_path: Path) -> None:
    fleet = SimulatedFleet(three(), 3, drops=0.3, repeats=0.3)
    chance = Random(4)

    def before_step() -> None:
        for machine in fleet.all.values():
            if not machine.alive:
                machine.alive = True
            elif fleet.steps < 300 and chance.random() < 0.1:
                machine.die()

    fleet.before_step = before_step
    run(tmp_path / "home", fleet, control=True, attempts=1000)
    for name in "abc":
        found = read(tmp_path / "home/control" / name / "journal.jsonl").repetitions
        assert sorted(record.block for record in found) == [0, 1, 2, 3, 4, 5]


def test_a_machine_that_is_not_as_its_kind_is_refused_or_flagged(tmp_path: Path) -> None:
    odd = msgspec.structs.replace(facts("b"), governor="powersave")
    machines = [SimulatedMachine(facts("a")), SimulatedMachine(odd)]
    events = run(tmp_path / "flag", SimulatedFleet(machines), expect=2)
    (flagged,) = [event for event in events if event.what == "flagged"]
    assert flagged.machine == "b"
    assert "governor is powersave, expected performance" in flagged.reason
    machines = [SimulatedMachine(facts("a")), SimulatedMachine(odd)]
    kinds = {"example": {"governor": "performance", "cores": 2, "rapl": ["package-0"]}}
    events = run(tmp_path / "refuse", SimulatedFleet(machines), expect=2, kinds=kinds)
    (refused,) = [event for event in events if event.what == "refused"]
    assert (refused.machine, "not as expected of the kind example" in refused.reason) == ("b", True)


def test_a_fleet_that_is_cancelled_ends_and_goes_on_when_attached(tmp_path: Path) -> None:
    fleet = SimulatedFleet(three())

    def before_step() -> None:
        if fleet.steps == 2:
            Home.look(tmp_path / "home").request_cancel()

    fleet.before_step = before_step
    with pytest.raises(FleetError, match="was cancelled; what was measured is kept"):
        run(tmp_path / "home", fleet)
    assert 0 < len(measured(tmp_path / "home")) < 18
    Home.look(tmp_path / "home").withdraw_cancel()
    run(tmp_path / "home", fleet)
    assert len(measured(tmp_path / "home")) == 18


def test_a_unit_whose_record_was_damaged_on_the_way_is_run_again(tmp_path: Path) -> None:
    fleet = SimulatedFleet(three()[:1])
    receive, damaged = fleet.receive, 0

    def spoilt(timeout_s: float) -> list[bytes]:
        nonlocal damaged
        found = []
        for each in receive(timeout_s):
            message = decode(each)
            if isinstance(message, Lines) and not damaged:
                damaged += 1
                altered = message.data.replace(b"alexnet", b"alexnot")
                each = encode(msgspec.structs.replace(message, data=altered))
            found.append(each)
        return found

    fleet.receive = spoilt  # type: ignore[method-assign]
    events = run(tmp_path / "home", fleet, expect=1)
    assert any("a sent no record" in event.reason for event in events)
    assert len(measured(tmp_path / "home")) == 6
    assert fleet.all["a"].measured == 6
