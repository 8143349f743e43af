"""A race from its first slot to its last decision, on a machine whose truth is known."""

from collections import Counter
from dataclasses import replace
from itertools import groupby
from random import Random
from typing import Any

import pytest

from greenbatch.errors import StudyError
from greenbatch.records import Cell, Decision, Left, Repetition, decode, encode
from greenbatch.runners.scheduling.order import Slot
from greenbatch.runners.scheduling.racing.race import Race
from tests.fakes import runs
from tests.fakes.raced_run import Journal, Measured, carry_out, design, machine


def decisions(journal: Journal) -> list[Decision]:
    return [record for record in journal if isinstance(record, Decision)]


def lefts(journal: Journal) -> dict[Cell, Left]:
    return {record.cell: record for record in journal if isinstance(record, Left)}


def test_the_cells_that_decide_are_measured_more_often_and_the_best_is_found() -> None:
    journal: Journal = []
    race = carry_out(design(), machine(torch=1.3, openvino=1.6), journal)
    for decision in decisions(journal):
        assert decision.outcome in ("answered", "tie")
        assert decision.best[0].backend == "onnxruntime-cpu"
        assert decision.best[0].batch_size >= 16
    assert [decision.group for decision in decisions(journal)] == ["alexnet", "vit_b_16"]
    counts = Counter(record.cell for record in journal if isinstance(record, Repetition))
    assert max(counts.values()) >= 2
    assert sum(counts.values()) < 0.5 * 3 * len(design().cells())
    assert race.answered == "answer known for 2 of 2 models"
    assert race.left() == []


def test_an_answer_has_at_least_the_repetitions_that_the_study_asks_for() -> None:
    for fewest in (2, 5):
        journal: Journal = []
        study = design(models=["alexnet"], repetitions=fewest)
        carry_out(study, machine(spread=0.001, torch=1.3, openvino=1.6), journal)
        (decision,) = decisions(journal)
        assert decision.blocks == fewest


def test_every_cell_is_accounted_for() -> None:
    journal: Journal = []
    carry_out(design(), machine(torch=1.3, openvino=1.6), journal)
    chosen = {cell for decision in decisions(journal) for cell in decision.best}
    assert lefts(journal).keys() | chosen == set(design().cells())
    assert not lefts(journal).keys() & chosen
    for cell, left in lefts(journal).items():
        measured = any(isinstance(r, Repetition) and r.cell == cell for r in journal)
        assert (left.why == "no_better") == measured
        assert left.reason


def test_of_equal_variants_a_tie_within_the_indifference_is_shown() -> None:
    journal: Journal = []
    study = design(models=["alexnet"], batch_sizes=[8], budget="1h", max_repetitions=200)
    carry_out(study, machine(), journal)
    (decision,) = decisions(journal)
    assert decision.outcome == "tie"
    assert decision.alike


def raced(budget_s: int, alexnet_s: float, vit_s: float) -> list[Repetition]:
    """Race two networks of different speed on three backends; return what was measured."""

    def measured(slot: Slot) -> Repetition:
        image_s = {"alexnet": alexnet_s, "vit_b_16": vit_s}[slot.cell.model]
        return machine(spread=0.05, image_s=image_s, torch=1.6, openvino=1.1)(slot)

    journal: Journal = []
    carry_out(design(budget=budget_s, batch_sizes=[1, 4, 16, 64]), measured, journal)
    return [record for record in journal if isinstance(record, Repetition)]


@pytest.mark.parametrize("budget_s", range(60, 160, 10))
def test_no_cell_is_repeated_while_a_size_that_is_due_waits_but_the_best(budget_s: int) -> None:
    seen: set[Cell] = set()
    repetitions = raced(budget_s, 0.012, 0.05)
    for _, block in groupby(repetitions, key=lambda record: record.block):
        cells = {record.cell for record in block}
        for model in ("alexnet", "vit_b_16"):
            again = {cell for cell in cells & seen if cell.model == model}
            due = {cell for cell in seen | cells if cell.model == model and cell.batch_size == 4}
            assert len(due) == 3 or len(again) <= 1, (budget_s, model)
        seen |= cells


def test_a_budget_too_short_for_all_sizes_visits_those_that_it_has_time_for() -> None:
    cells = [record.cell for record in raced(60, 0.012, 0.05)]
    assert len(cells) == len(set(cells)) == 10


def test_a_size_that_waited_is_measured_with_the_best_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    race, measured = Race(design(models=["alexnet"])), machine(torch=1.3, openvino=1.6)
    for slot in race.slots():
        if slot.block:
            break
        race.add(measured(slot), slot.attempt)
    (group,) = race._groups
    waits = min(group.alive - group.records.keys())
    assert len(group.judgement.open) > 1
    for visits in ([], [waits]):
        monkeypatch.setattr(race, "_next_visits", lambda _, visits=visits: visits)
        beside = group.judgement.best if visits else group.judgement.open
        assert [*race._goes_on_with(group)] == [*beside, *visits]


def test_a_budget_that_is_spent_ends_the_race_and_is_kept() -> None:
    journal: Journal = []
    study = design(budget="2m", models=["alexnet"])
    carry_out(study, machine(spread=0.2), journal)
    assert [decision.outcome for decision in decisions(journal)] == ["time"]
    measured = [record for record in journal if isinstance(record, Repetition)]
    spent_s = sum(r.phases_s["wall"] + r.conditions.rest_s for r in measured)
    assert 100 < spent_s <= 120


def test_a_question_that_was_not_decided_says_how_much_longer_it_would_take() -> None:
    whole: Journal = []
    measured = machine(spread=0.05, torch=1.3, openvino=1.6)
    carry_out(design(budget="1h", models=["alexnet"]), measured, whole)
    (decision,) = decisions(whole)
    assert decision.outcome in ("answered", "tie")
    assert decision.further_s is None
    needed_s, predicted = decision.spent_s, []
    for budget_s in (120, 150, 200):
        journal: Journal = []
        carry_out(design(budget=budget_s, models=["alexnet"]), measured, journal)
        (late,) = decisions(journal)
        assert late.outcome == "time"
        assert late.further_s
        predicted.append((late.spent_s + late.further_s) / needed_s)
    assert all(1 / 5 < share < 5 for share in predicted), predicted


def unlike(slot: Slot) -> Repetition:
    """A large network whose batches take a hundred times as long as those of a small one."""
    image_s = {"alexnet": 0.002, "vit_b_16": 0.2}[slot.cell.model]
    return machine(spread=0.005, image_s=image_s, torch=1.3, openvino=1.6)(slot)


def test_a_budget_too_small_for_all_questions_answers_the_cheap_ones() -> None:
    whole: Journal = []
    study = design(budget=150)
    carry_out(study, unlike, whole)
    outcomes = {decision.model: decision.outcome for decision in decisions(whole)}
    assert outcomes["alexnet"] in ("answered", "tie")
    assert outcomes["vit_b_16"] == "time"
    # The large one has what its share has time for, and all of the budget is spent.
    spent_s = dict.fromkeys(("alexnet", "vit_b_16"), 0.0)
    for record in whole:
        if isinstance(record, Repetition):
            spent_s[record.cell.model] += record.phases_s["wall"] + record.conditions.rest_s
    assert spent_s["vit_b_16"] > 0.4 * 150
    assert sum(spent_s.values()) > 0.95 * 150
    for cut in range(5, len(whole), 7):
        journal = list(whole[:cut])
        carry_out(study, unlike, journal)
        assert [encode(record) for record in journal] == [encode(record) for record in whole]


def test_what_ended_questions_took_is_not_shared_again() -> None:
    race = Race(design(models=["alexnet", "resnet18", "vit_b_16"], budget="5m"))
    ended, small, large = race._groups
    ended.ended, ended.spent_s = "answered", 120.0
    small.spent_s = large.spent_s = 80.0  # of 90 s each
    assert race._costs.expected_s(small.cells[0]) == 5
    assert race._in_turn([small.cells[:2], large.cells[:3]]) == [*small.cells[:2]]
    assert race._in_turn([large.cells[:3]], begun=True) == []
    assert race._in_turn([small.cells[:4], large.cells[:3]]) == [*large.cells[:3]]


def test_no_question_has_more_blocks_than_the_study_allows() -> None:
    journal: Journal = []
    carry_out(design(budget="10h", max_repetitions=4), machine(spread=0.3), journal)
    assert [(one.outcome, one.blocks) for one in decisions(journal)] == [("time", 4)] * 2


@pytest.mark.parametrize("decide", ["best", "front", "knee", "crossover", "ratio"])
@pytest.mark.parametrize("budget_s", [6, 30])
def test_nothing_is_answered_before_every_curve_was_looked_at(decide: str, budget_s: int) -> None:
    journal: Journal = []
    backends = ["torch-cpu", "openvino-cpu"]
    study = design(models=["alexnet"], decide=decide, backends=backends, budget=budget_s)
    carry_out(study, machine(torch=1.5), journal)
    assert {decision.outcome for decision in decisions(journal)} == {"time"}


def test_batch_sizes_that_take_a_tenth_of_the_budget_are_left_by_name() -> None:
    journal: Journal = []
    study = design(models=["alexnet"], budget="5m", batch_sizes=[1, 8, 64, 128])
    carry_out(study, machine(image_s=0.05), journal)
    slow = {cell.batch_size for cell, left in lefts(journal).items() if left.why == "slow"}
    assert slow == {64, 128}  # 9 batches of 64 x 0.1 s at least: more than 30 s
    reason = next(left.reason for left in lefts(journal).values() if left.why == "slow")
    assert "a tenth of the budget of 5 min 00 s" in reason
    assert not any(isinstance(r, Repetition) and r.cell.batch_size > 8 for r in journal)


@pytest.mark.parametrize(
    ("decide", "kills"), [("best", 10), ("front", 2), ("knee", 2), ("crossover", 2), ("ratio", 2)]
)
def test_a_run_that_is_killed_anywhere_decides_as_one_that_was_not(decide: str, kills: int) -> None:
    members = {"models": ["alexnet"], "batch_sizes": [1, 2, 4, 8, 16], "decide": decide}
    study = design(**members, backends=["onnxruntime-cpu", "torch-cpu"])
    measured = machine(spread=0.02, disturbed=0.1, torch=1.05)
    whole: Journal = []
    carry_out(study, measured, whole)
    assert decisions(whole)
    read_back = [decode(encode(record)) for record in whole]
    draw = Random(18)
    for _ in range(kills):
        cut = draw.randrange(len(whole))  # between records that are written together, too
        journal: Journal = list(read_back[:cut])  # type: ignore[arg-type]
        carry_out(study, measured, journal)
        assert [encode(record) for record in journal] == [encode(record) for record in whole]


def test_a_run_that_is_over_measures_and_writes_nothing_more() -> None:
    journal: Journal = []
    carry_out(design(), machine(), journal)
    again = list(journal)
    carry_out(design(), machine(), again)
    assert again == journal


def test_a_disturbed_repetition_is_measured_again_in_its_block() -> None:
    journal: Journal = []
    carry_out(design(models=["alexnet"]), machine(disturbed=0.3), journal)
    again = [r for r in journal if isinstance(r, Repetition) and r.attempt]
    assert again
    assert all(r.attempt == 1 for r in again)


def test_a_cell_that_fails_leaves_with_its_reason_and_the_others_go_on() -> None:
    fails = "torch-cpu"
    measured = machine()

    def failing(slot: Slot) -> Repetition:
        if slot.cell.backend == fails:
            return runs.failed(slot.cell, slot.block)
        return measured(slot)

    journal: Journal = []
    carry_out(design(models=["alexnet"]), failing, journal)
    failed = [left for left in lefts(journal).values() if left.why == "failed"]
    assert {left.cell.backend for left in failed} == {fails}
    assert failed[0].reason == "the child was killed for memory at 3.1 GB"
    assert decisions(journal)[0].best[0].backend != fails


def test_where_nothing_can_be_measured_that_is_said() -> None:
    journal: Journal = []
    carry_out(design(), lambda slot: runs.failed(slot.cell, slot.block), journal)
    assert [decision.outcome for decision in decisions(journal)] == ["failed", "failed"]


def test_a_front_keeps_what_is_quick_and_what_is_frugal() -> None:
    journal: Journal = []
    study = design(models=["alexnet"], decide="front", budget="1h")
    carry_out(study, machine(torch=1.5, openvino=2), journal)
    (decision,) = decisions(journal)
    sizes = {cell.batch_size for cell in decision.best if cell.backend == "onnxruntime-cpu"}
    assert {1, 32} <= sizes
    assert {cell.backend for cell in decision.best} == {"onnxruntime-cpu"}


def test_a_ratio_is_measured_until_it_is_known_to_the_indifference() -> None:
    journal: Journal = []
    study = design(models=["alexnet"], decide="ratio", backends=["torch-cpu", "openvino-cpu"])
    carry_out(study, machine(torch=1.5), journal)
    assert [decision.outcome for decision in decisions(journal)] == ["answered"]
    reasons = {left.reason for left in lefts(journal).values() if left.why == "decided"}
    shares = [float(reason.split("± ")[1].split(" ")[0]) for reason in reasons]
    assert max(shares) <= 3.0


def test_a_crossover_looks_between_the_sizes_where_another_one_leads() -> None:
    plain = machine(spread=0.005)

    def crossing(slot: Slot) -> Repetition:
        record = plain(slot)
        if slot.cell.backend == "torch-cpu":
            factor = 1.3 if slot.cell.batch_size < 8 else 0.8
            energy = tuple(replace(e, energy_j=(e.energy_j or 0) * factor) for e in record.energy)
            return replace(record, energy=energy)
        return record

    journal: Journal = []
    study = design(
        models=["alexnet"],
        decide="crossover",
        backends=["torch-cpu", "openvino-cpu"],
        batch_sizes=[1, 2, 4, 8, 16, 32, 64, 128],
        budget="1h",
    )
    carry_out(study, crossing, journal)
    assert [decision.outcome for decision in decisions(journal)] == ["answered"]
    sizes = {r.cell.batch_size for r in journal if isinstance(r, Repetition)}
    assert {4, 8} <= sizes
    assert len(sizes) < 8


def test_a_knee_is_found() -> None:
    journal: Journal = []
    study = design(models=["alexnet"], decide="knee", backends=["torch-cpu"], budget="1h")
    carry_out(study, machine(spread=0.003), journal)
    (decision,) = decisions(journal)
    assert decision.outcome == "answered"
    assert decision.best[0].batch_size in (2, 4)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"precision_target": 0.02}, "precision_target is 0.02 and budget 600 s"),
        ({"decide": "ratio"}, "compares two backends, and the study has 3"),
        ({"order": "latin-square"}, "order is latin-square"),
        ({"repetitions": 1}, "an interval, and so a budget, needs at least 2"),
        ({"budget": "ten"}, "budget is 'ten'"),
        ({"budget": 0}, "budget is 0"),
        ({"decide": "all"}, "decide is 'all'"),
        ({"within": "3"}, "within is '3'"),
        ({"decide": "knee", "batch_sizes": [1, 2, 4]}, "needs 4 batch sizes, and there are 3"),
        ({"decide": "knee", "scenarios": ["server"], "rates": [10]}, "decide is knee"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(members: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        design(**members)


@pytest.mark.parametrize(
    ("text", "budget_s"), [("90s", 90), ("10m", 600), ("1.5 h", 5400), ("5min", 300), (42, 42)]
)
def test_a_budget_is_a_time(text: object, budget_s: float) -> None:
    study = design(budget=text)
    assert (study.budget, study.repetitions, study.max_repetitions) == (budget_s, 2, 30)


@pytest.mark.parametrize("text", ["10x", "", "1h30m", "soon"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(StudyError, match=r"budget is '.*': wanted a time, e\.g\. 90s, 10m or 1h"):
        design(budget=text)


def failing(*backends: str, least: int = 1) -> Measured:
    """Cells of these backends, from a batch size on, fail; all others are measured."""

    def measured(slot: Slot) -> Repetition:
        if slot.cell.backend in backends and slot.cell.batch_size >= least:
            record = runs.failed(slot.cell, slot.block)
            return replace(record, phases_s={"wall": 3.0})
        return machine()(slot)

    return measured


@pytest.mark.parametrize("models", [["alexnet"], ["alexnet", "vit_b_16"]])
def test_a_cell_without_another_is_answered_by_the_fewest_repetitions(models: list[str]) -> None:
    journal: Journal = []
    study = design(models=models, backends=["torch-cpu"], batch_sizes=[1])
    carry_out(study, machine(), journal)
    assert [decision.outcome for decision in decisions(journal)] == ["answered"] * len(models)
    measured = [record for record in journal if isinstance(record, Repetition)]
    assert len(measured) == study.repetitions * len(models)


def test_a_single_cell_of_a_curve_is_no_answer_before_the_others_were_looked_at() -> None:
    journal: Journal = []
    carry_out(design(models=["alexnet"], backends=["torch-cpu"]), machine(), journal)
    (decision,) = decisions(journal)
    assert decision.best[0].batch_size >= 16


@pytest.mark.parametrize("decide", ["crossover", "ratio", "knee"])
def test_a_question_of_which_a_part_failed_is_not_answered(decide: str) -> None:
    journal: Journal = []
    backends = ["torch-cpu", "openvino-cpu"]
    study = design(models=["alexnet"], backends=backends, decide=decide)
    broken = failing("torch-cpu", least=4) if decide == "knee" else failing("torch-cpu")
    carry_out(study, broken, journal)
    outcomes = [decision.outcome for decision in decisions(journal)]
    assert outcomes[0] == "failed"
    assert len(outcomes) == 1 or outcomes[1] != "failed"


def test_cells_of_a_curve_that_failed_are_not_said_to_be_ruled_out_by_it() -> None:
    journal: Journal = []
    carry_out(design(models=["alexnet"]), failing("torch-cpu"), journal)
    assert {left.why for cell, left in lefts(journal).items() if cell.backend == "torch-cpu"} == {
        "failed"
    }


def test_what_is_predicted_to_be_measured_has_room_in_the_budget() -> None:
    journal: Journal = []
    study = design(models=["alexnet"], budget="2m")
    race = carry_out(study, machine(spread=1.0), journal, most=14)
    assert 0 < len(race.left()) < 25
    assert race.most_s == pytest.approx(1.1 * 120 - sum(_walls(journal)))


def _walls(journal: Journal) -> list[float]:
    found = [record for record in journal if isinstance(record, Repetition)]
    return [record.phases_s["wall"] + record.conditions.rest_s for record in found]


def test_in_sessions_a_race_brings_the_batch_sizes_of_later_blocks_together() -> None:
    def changes(isolation: str) -> int:
        journal: Journal = []
        carry_out(design(isolation=isolation), machine(torch=1.3, openvino=1.6), journal)
        later = [r for r in journal if isinstance(r, Repetition) and r.block == 1]
        assert len(later) == 6
        return len([*groupby((r.cell.model, r.cell.backend) for r in later)])

    assert changes("fork") > 2
    assert changes("session") == 2
