"""How often a cell is measured: until its interval is narrow, and again where it was disturbed."""

import math
from collections import Counter
from collections.abc import Callable
from itertools import groupby, islice
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenbatch.design.study import Study, make_study
from greenbatch.errors import StudyError
from greenbatch.records import Cell, EnergyFigure, EnergySource, Repetition, Status, Traffic
from greenbatch.records.repetition import Queue, Stop
from greenbatch.runners.scheduling.order import Slot
from greenbatch.runners.scheduling.schedule import Schedule
from greenbatch.runners.scheduling.stopping import StoppingRule, half_width, observed
from tests.fakes import runs

CELL = Cell("alexnet", "onnxruntime-cpu")
RULE = StoppingRule(fewest=3, most=6, target=0.02)
Measured = Callable[[Slot], Repetition]


def repetition(energy_j: float | None, block: int = 0, **more: Any) -> Repetition:
    """A repetition of 100 images; ``None``: its energy is missing."""
    figure = runs.missing("package-0") if energy_j is None else runs.figure(energy_j)
    return runs.repetition(CELL, block, energy=[figure], **more)


def design(**members: Any) -> Study:
    return make_study(
        {
            "models": ["alexnet"],
            "backends": ["onnxruntime-cpu", "torch-cpu"],
            "batch_sizes": [1, 8],
            **members,
        }
    )


def carry_out(study: Study, measured: Measured, done: list[Repetition], most: int = 10**6) -> None:
    """Go on with a run, ``most`` repetitions far; its journal is ``done``."""
    schedule = Schedule(study, done)
    for slot in schedule.slots():
        if most == 0:
            return
        most -= 1
        done.append(schedule.add(measured(slot), slot.attempt))


def noisy(spread: float, disturbed: float = 0.0) -> Measured:
    """Energies and disturbances that depend on the slot alone; the larger batch is quiet."""

    def measured(slot: Slot) -> Repetition:
        draw = Random(f"{slot.cell} {slot.block} {slot.attempt}")
        energy_j = draw.lognormvariate(0, spread if slot.cell.batch_size == 1 else 0.001)
        flags = ("disturbed",) if draw.random() < disturbed else ()
        return runs.repetition(
            slot.cell,
            slot.block,
            energy=[runs.figure(energy_j)],
            position=slot.position,
            flags=flags,
        )

    return measured


def test_the_half_width_is_students_on_logarithms() -> None:
    # By hand: logarithms 0 and 0.1, mean error 0.05, t of one degree of freedom 12.706.
    assert half_width([1.0, math.exp(0.1)]) == pytest.approx(math.expm1(12.7062 * 0.05), rel=1e-4)
    assert half_width([3.0, 3.0, 3.0]) == 0
    assert half_width([1.0]) is None


def test_half_widths_do_not_depend_on_the_unit() -> None:
    values = [1.0, 1.1, 0.97]
    assert half_width(values) == pytest.approx(half_width([3.6e6 * value for value in values]))


def test_a_cell_stops_when_its_interval_is_within_the_target_and_not_before_the_fewest() -> None:
    alike = [repetition(1.0, block) for block in range(3)]
    assert RULE.judge(alike[:2]) is None
    assert RULE.judge(alike) == Stop(why="target", quantity="energy", half_width=0.0)
    wide = [repetition(energy_j, block) for block, energy_j in enumerate((1.0, 1.1, 1.0, 1.1))]
    assert RULE.judge(wide) is None


def test_a_cell_that_stays_wide_stops_at_the_maximum_and_says_how_wide() -> None:
    wide = [repetition(1.0 + 0.1 * (block % 2), block) for block in range(6)]
    stop = RULE.judge(wide)
    assert stop is not None
    assert stop.why == "maximum"
    assert stop.half_width is not None
    assert stop.half_width > 0.02


def test_a_cell_of_which_nothing_was_ok_is_given_up_after_the_fewest() -> None:
    failed = [runs.failed(CELL, block) for block in range(3)]
    assert RULE.judge(failed[:2]) is None
    assert RULE.judge(failed) == Stop(why="failed")


def test_failures_do_not_count_as_repetitions_of_an_interval() -> None:
    some = [runs.failed(CELL, 0), *(repetition(1.0, block) for block in (1, 2))]
    assert RULE.judge(some) is None
    assert RULE.judge([*some, repetition(1.0, 3)]) is not None


def test_without_a_target_the_number_is_fixed() -> None:
    rule = StoppingRule(fewest=3, most=3)
    alike = [repetition(1.0, block) for block in range(3)]
    assert rule.judge(alike[:2]) is None
    assert rule.judge(alike) == Stop(why="fixed")


def test_energy_decides_over_the_domains_that_count() -> None:
    figures = [runs.figure(4.0), runs.figure(9.0, "core-0", counts=False)]
    both = runs.repetition(CELL, energy=figures)
    assert observed([both, repetition(None, 1)]) == ("energy", [0.04])


def test_time_per_image_decides_where_no_energy_is_known() -> None:
    assert observed([repetition(None), repetition(None, 1)]) == ("time", [0.02, 0.02])
    part = [
        EnergyFigure(
            domain="package-0", source=EnergySource.COUNTER, energy_j=1.0, uncertainty_j=0.1
        ),
        runs.missing("dram-0"),
    ]
    assert observed([runs.repetition(CELL, energy=part)]) == ("time", [0.02])


def test_of_a_server_without_energy_it_is_the_response_time() -> None:
    traffic = Traffic("poisson", "greedy:4", "50").pairs
    cell = Cell("alexnet", "torch-cpu", scenario="server", batch_size=4, traffic=traffic)
    queue = Queue(
        requests=100,
        response_s={"0.5": 0.03},
        response_mean_s=0.04,
        busy_s=1.0,
        batch_sizes={4: 25},
        waiting_mean=2.0,
        waiting_max=4,
        lateness_s={"0.99": 0.0},
        growth_hz=0.0,
        generator_cpu_s=0.1,
    )
    assert observed([runs.repetition(cell, queue=queue)]) == ("time", [0.04])


def test_a_cell_within_the_target_is_left_out_of_further_blocks_and_others_go_on() -> None:
    study = design(precision_target=0.02, repetitions=3, max_repetitions=12)
    done: list[Repetition] = []
    carry_out(study, noisy(0.04), done)
    counts = Counter(record.cell for record in done)
    stops = {record.cell: record.stop for record in done if record.stop}
    assert stops.keys() == counts.keys() == set(study.cells())
    for cell, count in counts.items():
        if cell.batch_size == 8:
            assert (count, stops[cell].why) == (3, "target")
        else:
            width = stops[cell].half_width
            assert count > 3
            assert width is not None
            assert (stops[cell].why == "target") == (width <= 0.02)
            assert stops[cell].why == "target" or count == 12
    for block in range(12):
        positions = [record.position for record in done if record.block == block]
        assert positions == list(range(len(positions)))


def test_only_the_last_record_of_a_cell_says_why_it_is_the_last() -> None:
    done: list[Repetition] = []
    carry_out(design(repetitions=3), noisy(0.02), done)
    assert [(record.block, record.stop) for record in done if record.stop] == [
        (2, Stop(why="fixed"))
    ] * 4
    assert len(done) == 12


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), max_size=6), st.sampled_from([0.0, 0.3]), st.booleans())
def test_a_run_that_is_interrupted_anywhere_ends_as_one_that_is_not(
    parts: list[int], disturbed: float, square: bool
) -> None:
    study = design(
        precision_target=0.02,
        repetitions=3,
        max_repetitions=8,
        order="latin-square" if square else "shuffled",
        protocol={"repeat_disturbed": 2},
    )
    measured = noisy(0.02, disturbed)
    whole: list[Repetition] = []
    carry_out(study, measured, whole)
    done: list[Repetition] = []
    for part in parts:
        carry_out(study, measured, done, part)
    carry_out(study, measured, done)
    assert done == whole


def test_a_disturbed_repetition_is_measured_again_at_the_end_of_its_block_and_kept() -> None:
    study = design(repetitions=2, protocol={"repeat_disturbed": 1})
    first, second = (slot.cell for slot in islice(Schedule(study).slots(), 2))

    def measured(slot: Slot) -> Repetition:
        early = slot.cell in (first, second) and (slot.block, slot.attempt) == (0, 0)
        flags = ("disturbed",) if early else ()
        return runs.repetition(slot.cell, slot.block, flags=flags, position=slot.position)

    done: list[Repetition] = []
    carry_out(study, measured, done)
    of_block = [record for record in done if record.block == 0]
    assert [record.position for record in of_block] == [0, 1, 2, 3, 4, 5]
    assert [(r.cell, r.attempt, r.flags) for r in of_block[:2] + of_block[4:]] == [
        (first, 0, ("disturbed",)),
        (second, 0, ("disturbed",)),
        (first, 1, ()),
        (second, 1, ()),
    ]
    assert len(done) == 10


@pytest.mark.parametrize(("again", "repetitions", "repeats"), [(0, 2, 0), (1, 1, 4), (1, 20, 20)])
def test_one_that_stays_disturbed_is_measured_again_until_a_quarter_of_the_design_was(
    again: int, repetitions: int, repeats: int
) -> None:
    done: list[Repetition] = []
    study = design(repetitions=repetitions, protocol={"repeat_disturbed": again})
    carry_out(study, noisy(0.02, disturbed=1.0), done)
    counts = Counter((record.cell, record.block) for record in done)
    assert len(counts) == 4 * repetitions
    assert max(counts.values()) == 1 + again
    assert len(done) == 4 * repetitions + repeats
    assert [record.stop for record in done].count(Stop(why="fixed")) == 4


def test_a_repeat_that_fails_supersedes_nothing_and_is_not_tried_for_ever() -> None:
    study = design(repetitions=1, protocol={"repeat_disturbed": 1})

    def measured(slot: Slot) -> Repetition:
        if slot.attempt:
            return runs.failed(slot.cell, slot.block, Status.ERROR)
        return runs.repetition(slot.cell, slot.block, flags=("disturbed",))

    done: list[Repetition] = []
    carry_out(study, measured, done)
    assert len(done) == 8
    assert [record.stop for record in done[4:]] == [Stop(why="fixed")] * 4


def test_a_disturbed_repetition_counts_for_the_target_where_its_repeat_failed() -> None:
    study = design(
        precision_target=0.02,
        repetitions=2,
        max_repetitions=3,
        protocol={"repeat_disturbed": 1},
    )

    def measured(slot: Slot) -> Repetition:
        if slot.attempt:
            return runs.failed(slot.cell, slot.block, Status.ERROR)
        return runs.repetition(
            slot.cell, slot.block, energy=[runs.figure(4.0)], flags=("disturbed",)
        )

    done: list[Repetition] = []
    carry_out(study, measured, done)
    assert {record.block for record in done} == {0, 1}
    assert {record.stop.why for record in done if record.stop} == {"target"}


def test_a_run_of_before_there_were_repeats_is_complete() -> None:
    study = design(repetitions=3, protocol={"repeat_disturbed": 1})
    cells = study.cells()
    done = [
        runs.repetition(cell, block, flags=("disturbed",) if block < 2 else ())
        for block in range(3)
        for cell in cells
    ]
    assert list(Schedule(study, done).slots()) == []


def test_what_is_left_shrinks_to_nothing() -> None:
    study = design(precision_target=0.02, repetitions=3, max_repetitions=8)
    schedule = Schedule(study)
    left = [len(schedule.left())]
    for slot in schedule.slots():
        schedule.add(noisy(0.02, 0.3)(slot), slot.attempt)
        left.append(len(schedule.left()))
    assert left[0] == 12
    assert left[-1] == 0
    assert all(left[:-1])


@pytest.mark.parametrize(
    ("members", "resolved"),
    [
        ({"precision_target": "2%"}, (0.02, 5, 30)),
        ({"precision_target": 0.02, "repetitions": 3}, (0.02, 3, 30)),
        ({"precision_target": 0.1, "repetitions": 40}, (0.1, 40, 40)),
        ({"precision_target": "1.5 %", "max_repetitions": 4}, (0.015, 4, 4)),
        ({}, (None, 3, None)),
    ],
)
def test_the_bounds_of_a_target_are_resolved(members: dict[str, Any], resolved: Any) -> None:
    study = design(**members)
    assert (study.precision_target, study.repetitions, study.max_repetitions) == resolved


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"precision_target": "2"}, "precision_target is '2'"),
        ({"precision_target": "two%"}, "precision_target is 'two%'"),
        ({"precision_target": 0}, "precision_target is 0: .*greater than 0"),
        ({"max_repetitions": 9}, "max_repetitions has no meaning without precision_target"),
        ({"precision_target": 0.02, "repetitions": 1}, "an interval.* needs at least 2"),
        (
            {"precision_target": 0.02, "repetitions": 9, "max_repetitions": 5},
            "max_repetitions is 5 and repetitions, the fewest, 9",
        ),
        ({"order": "random"}, "order is 'random': .*'shuffled' or 'latin-square'"),
    ],
)
def test_a_target_that_makes_no_sense_is_one_sentence(
    members: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(StudyError, match=sentence):
        design(**members)


def test_a_line_that_was_taken_out_of_the_journal_is_measured_again_and_nothing_else() -> None:
    study = design(precision_target=0.02, repetitions=3, max_repetitions=8)
    whole: list[Repetition] = []
    carry_out(study, noisy(0.04), whole)
    at = next(place for place, r in enumerate(whole) if r.cell.batch_size == 8 and r.block == 0)
    done = [*whole[:at], *whole[at + 1 :]]
    carry_out(study, noisy(0.04), done)
    assert [(r.cell, r.block) for r in done[len(whole) - 1 :]] == [(whole[at].cell, 0)]
    assert list(Schedule(study, done).slots()) == []


def test_in_sessions_each_block_brings_the_batch_sizes_of_a_network_together() -> None:
    done: list[Repetition] = []
    carry_out(design(isolation="session", repetitions=4), noisy(0.01), done)
    assert len(done) == 16
    networks = [network for network, _ in groupby((r.block, r.cell.backend) for r in done)]
    assert len(networks) == len(set(networks)) == 8
