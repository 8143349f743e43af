"""What was in force, and the mismatches that stand beside a ratio."""

from dataclasses import replace
from typing import Any

import pytest

from greenbatch.analysis.findings.fairness import (
    NATURES,
    InForce,
    Kind,
    Mismatch,
    fairness,
    in_words,
    mismatches,
)
from greenbatch.records import FACTORS, Cell, Repetition
from tests.fakes import runs

TOLD: dict[str, Any] = dict.fromkeys(FACTORS, "none") | {
    "threads": 2,
    "affinity": "0-1",
    "spinning": True,
    "arithmetic": "fp32",
    "layout": "channels first",
    "optimization": "all",
}


def record(backend: str, batch_size: Any = 1, **settings: Any) -> Repetition:
    cell = Cell("alexnet", backend, batch_size=batch_size)
    return replace(runs.repetition(cell), settings=TOLD | settings)


def settings_of(*records: Repetition) -> list[InForce]:
    return list(fairness(records).variants)


def between(a: Repetition, b: Repetition) -> list[str]:
    return [str(mismatch) for mismatch in mismatches(*settings_of(a, b))]


def test_every_factor_has_a_nature() -> None:
    assert set(NATURES) == set(FACTORS)


def test_equal_settings_of_two_runtimes_are_no_mismatch() -> None:
    assert between(record("torch-cpu"), record("onnxruntime-cpu")) == []


@pytest.mark.parametrize(
    ("factor", "left", "right", "said"),
    [
        ("threads", 2, 1, "threads: 2 against 1"),
        ("inter_op_threads", 2, "none", "inter op threads: 2 against none"),
        ("affinity", "0-1", "0", "affinity: 0-1 against 0"),
        ("spinning", False, True, "spinning: off against on"),
        ("arithmetic", "tf32", "fp32", "arithmetic: tf32 against fp32"),
        ("transfers", "in the window", "none", "transfers: in the window against none"),
        ("graph_capture", "a CUDA graph", "off", "graph capture: a CUDA graph against off"),
        ("autotuning", "exhaustive", "none", "autotuning: exhaustive against none"),
        ("autotuning", "timed", "none: a heuristic", "autotuning: timed against none: a heuristic"),
    ],
)
def test_a_setting_that_could_be_made_equal_is_a_mismatch(
    factor: str, left: object, right: object, said: str
) -> None:
    a, b = record("a-cpu", **{factor: left}), record("b-cpu", **{factor: right})
    assert between(a, b) == [said]


@pytest.mark.parametrize(
    ("factor", "left", "right"),
    [
        ("layout", "channels last", "channels first"),
        ("optimization", "none", "all"),
        ("graph_capture", "off", "none"),
        ("spinning", "none", False),
        ("spinning", "for 200 ms (OpenMP)", True),
        ("spinning", "OMP_WAIT_POLICY=passive", False),
        ("autotuning", "off (the default)", "none"),
        ("autotuning", "none: cuDNN's heuristic, mode A", "none: cuDNN's heuristic"),
        ("inter_op_threads", 1, "none"),
    ],
)
def test_what_is_the_runtimes_own_or_the_same_in_effect_is_not(
    factor: str, left: object, right: object
) -> None:
    assert between(record("a-cpu", **{factor: left}), record("b-cpu", **{factor: right})) == []


def test_the_runtimes_own_choice_is_a_mismatch_within_one_runtime() -> None:
    a, b = record("torch-cpu", layout="channels last"), record("torch-cpu")
    other = replace(b, cell=replace(b.cell, settings=(("channels_last", "0"),)))
    assert between(a, other) == ["layout: channels last against channels first"]


def test_a_value_that_is_not_told_is_an_unknown_and_not_a_difference() -> None:
    found = mismatches(*settings_of(record("torch-cpu", spinning=None), record("onnxruntime-cpu")))
    assert found == [Mismatch("spinning", Kind.UNKNOWN, "not reported by torch-cpu")]
    both = mismatches(*settings_of(record("a-cpu", spinning=None), record("b-cpu", spinning=None)))
    assert [str(mismatch) for mismatch in both] == ["spinning: not reported by either"]


def test_a_librarys_default_is_not_known_to_be_on() -> None:
    found = mismatches(
        *settings_of(record("torch-cpu", spinning="OpenMP's default"), record("b-cpu"))
    )
    assert found == [Mismatch("spinning", Kind.UNKNOWN, "OpenMP's default against on")]


def test_what_one_runtime_never_tells_is_no_mismatch_between_its_settings() -> None:
    a = record("torch-cpu", spinning=None)
    b = replace(a, cell=replace(a.cell, settings=(("num_threads", "1"),)))
    b = replace(b, settings=a.settings | {"threads": 1})
    assert between(a, b) == ["threads: 2 against 1"]


def test_a_library_that_both_loaded_in_other_versions_is_a_mismatch() -> None:
    a = record("onnxruntime-cuda", cudnn=91000, onnxruntime="1.31.1")
    b = record("torch-cuda", cudnn=90800, torch="2.15.0")
    assert between(a, b) == ["cudnn: 91000 against 90800"]


def test_an_option_of_a_provider_is_no_version() -> None:
    (found,) = settings_of(
        record("onnxruntime-cpu", **{"provider.level": "1.2.3", "onnxruntime": "1.31"})
    )
    assert found.libraries == ("onnxruntime",)


def test_a_value_that_differs_between_cells_of_a_backend_is_listed() -> None:
    records = [
        record("torch-cpu", batch_size=1, threads=1),
        record("torch-cpu", batch_size=4, threads=2),
    ]
    (found,) = settings_of(*records)
    assert found.text("threads") == "1 or 2"


def test_a_ratio_is_touched_by_the_settings_of_its_own_cells_only() -> None:
    records = [
        record(backend, batch_size=batch, threads=1 if batch == 4 and backend == "torch-cpu" else 2)
        for backend in ("onnxruntime-cpu", "torch-cpu")
        for batch in (1, 4)
    ]
    found = fairness(records)
    cells = {(r.cell.backend, r.cell.batch_size): r.cell for r in records}
    assert found.between(cells["torch-cpu", 1], cells["onnxruntime-cpu", 1]) == []
    touched = found.between(cells["torch-cpu", 4], cells["onnxruntime-cpu", 4])
    assert touched == [Mismatch("threads", Kind.DIFFERS, "1 against 2")]


def test_a_journal_from_before_says_not_recorded() -> None:
    old = [
        runs.repetition(Cell("alexnet", backend)) for backend in ("torch-cpu", "onnxruntime-cpu")
    ]
    found = fairness(old)
    assert found.recorded == ("threads",)
    assert found.variants[0].text("spinning") == "not recorded"
    kinds = {m.factor: m.kind for m in mismatches(*found.variants)}
    assert "threads" not in kinds
    assert set(kinds.values()) == {Kind.UNKNOWN}


def test_a_repetition_that_ended_before_it_told_adds_nothing() -> None:
    lost = runs.failed(Cell("alexnet", "torch-cpu"))
    found = fairness([lost])
    assert found.variants == []
    assert found.between(lost.cell, lost.cell) is None


def test_backends_stand_in_the_studys_order_not_in_that_of_the_shuffled_journal() -> None:
    a, b = record("onnxruntime-cpu"), record("torch-cpu")
    found = fairness([b, a], [a.cell, b.cell])
    assert [variant.label for variant in found.variants] == ["onnxruntime-cpu", "torch-cpu"]


def test_precisions_of_a_backend_are_apart_where_a_run_has_several() -> None:
    half = record("torch-cpu", arithmetic="fp16")
    half = replace(half, cell=replace(half.cell, precision="fp16"))
    assert [v.label for v in settings_of(record("torch-cpu"), half)] == [
        "torch-cpu fp32",
        "torch-cpu fp16",
    ]


def test_the_same_want_is_said_once() -> None:
    found = [
        Mismatch("affinity", Kind.UNKNOWN, "not recorded"),
        Mismatch("threads", Kind.DIFFERS, "2 against 1"),
        Mismatch("graph_capture", Kind.UNKNOWN, "not recorded"),
    ]
    assert in_words(found) == "threads: 2 against 1; affinity, graph capture: not recorded"
