"""A study says in one sentence what is wrong with it, and reads back as it was written."""

from pathlib import Path
from typing import Any

import pytest

from greenbatch.design.files import read_study
from greenbatch.design.study import make_study
from greenbatch.design.training_study import make_training_study
from greenbatch.errors import StudyError, UnknownNameError, UsageError
from greenbatch.records import Cell
from greenbatch.runners.known import ThisMachine

MEMBERS: dict[str, Any] = {
    "models": ["alexnet"],
    "backends": ["onnxruntime-cpu", "torch-cpu"],
    "batch_sizes": [1, 8],
    "repetitions": 2,
    "profile": "quick",
}


def test_a_study_reads_back_as_it_was_written(tmp_path: Path) -> None:
    study = make_study(MEMBERS)
    (tmp_path / "study.yaml").write_text(study.to_yaml())
    assert read_study(tmp_path / "study.yaml") == study
    assert "window_s: 0.5" in study.to_yaml()


def test_cells_are_every_combination() -> None:
    assert make_study(MEMBERS).cells() == [
        Cell("alexnet", backend, batch_size=size)
        for backend in ("onnxruntime-cpu", "torch-cpu")
        for size in (1, 8)
    ]


def test_a_study_file_may_change_single_rules_of_its_profile() -> None:
    rules = make_study(MEMBERS | {"protocol": {"window_s": 4}}).rules
    assert rules.window_s == 4
    assert rules.rest_min_s == 0.1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_sizes": [0]}, r"batch_sizes\.0 is 0: .*greater than or equal to 1"),
        ({"batch_sizes": [-4]}, r"batch_sizes\.0 is -4"),
        ({"batch_sizes": ["many"]}, r"batch_sizes\.0 is 'many': .*integer"),
        ({"batch_sizes": []}, "batch_sizes is missing or empty; give one"),
        ({"batch_sizes": [1, 1]}, "1 is named twice"),
        ({"repetitions": 0}, "repetitions is 0"),
        ({"profile": "sloppy"}, "profile is 'sloppy': .*'quick', 'standard' or 'rigorous'"),
        ({"protocol": {"windows": 4}}, "protocol has no rule 'windows'; it has window_s"),
        ({"protocol": {"window_s": -1}}, r"protocol\.window_s is -1"),
        ({"protocol": {"window_ticks": 1.5}}, "wanted a whole number"),
        ({"colour": "green"}, "colour is not a member of a study; it has"),
        ({"schema": 9}, "schema is 9: .*1"),
    ],
)
def test_a_fault_is_named_with_what_was_found(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        make_study(MEMBERS | changes)


def test_a_missing_member_is_named() -> None:
    with pytest.raises(StudyError, match="batch_sizes is missing"):
        make_study({"backends": ["torch-cpu"]})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"models": ["alexnett"]}, "unknown model 'alexnett'; did you mean 'alexnet'"),
        ({"backends": ["torch-gpu"]}, "unknown backend 'torch-gpu'; did you mean 'torch-cpu'"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UnknownNameError, match=sentence):
        make_study(MEMBERS | changes, known=ThisMachine())


def test_a_study_is_read_without_a_look_at_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was looked at")

    for name in ("open", "stat", "exists", "is_file", "is_dir", "iterdir"):
        monkeypatch.setattr(Path, name, refuse)
    names = {
        "models": ["nowhere"],
        "backends": ["gone-cpu"],
        "settings": {"gone-cpu.colour": ["green"]},
        "scenarios": ["server"],
        "arrivals": ["replay:nowhere.csv"],
        "images": {"folder": "nowhere", "found": 1, "count": 1, "sha256": "0"},
    }
    study = make_study(MEMBERS | names)
    assert (study.models, study.backends, study.arrivals) == (
        ("nowhere",),
        ("gone-cpu",),
        ("replay:nowhere.csv",),
    )
    trainings = make_training_study({"models": ["gone"], "data": ["nothing"]})
    assert trainings.data == ("nothing",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("models: [alexnet\nbackends: [", r"is not YAML in line \d"),
        ("- alexnet\n", "holds list; wanted a mapping"),
        (b"\xff\xfe\x00", "is not YAML"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(StudyError, match=sentence):
        read_study(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot read the study file .*No such file"):
        read_study(tmp_path / "study.yaml")


def test_bursts_too_short_for_a_rate_are_refused_before_anything_is_measured() -> None:
    members = MEMBERS | {
        "scenarios": ["server"],
        "policies": ["greedy:4"],
        "arrivals": ["bursty:4:1us:0.1"],
        "rates": [100_000, 1],
    }
    with pytest.raises(UsageError, match=r"bursts for each request at 1 requests/s"):
        make_study(members)
    make_study(members | {"rates": [100_000]})


def test_several_numbers_of_threads_are_a_setting_of_each_backend_on_the_cpu(
    tmp_path: Path,
) -> None:
    backends = ["onnxruntime-cpu", "torch-cpu", "torch-cuda"]
    members = MEMBERS | {"backends": backends, "threads": [1, 2], "batch_sizes": [8]}
    study = make_study(members, known=ThisMachine())
    assert study.threads == 0
    assert study.settings == dict.fromkeys(
        ("onnxruntime-cpu.threads", "torch-cpu.threads"), ("1", "2")
    )
    assert [(cell.backend, cell.settings) for cell in study.cells()] == [
        ("onnxruntime-cpu", (("threads", "1"),)),
        ("onnxruntime-cpu", (("threads", "2"),)),
        ("torch-cpu", (("threads", "1"),)),
        ("torch-cpu", (("threads", "2"),)),
        ("torch-cuda", ()),
    ]
    (tmp_path / "study.yaml").write_text(study.to_yaml())
    assert read_study(tmp_path / "study.yaml", ThisMachine()) == study


def test_one_number_of_threads_is_no_factor() -> None:
    assert make_study(MEMBERS | {"threads": [2]}) == make_study(MEMBERS | {"threads": 2})
    assert make_study(MEMBERS | {"threads": 2}).settings == {}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"threads": [0, 2]}, "threads has 0; wanted whole numbers of 1 or more"),
        ({"threads": [1, "all"]}, "threads has 'all'"),
        ({"threads": []}, "threads has no value"),
        ({"threads": [2, 2]}, "2' is named twice"),
        ({"threads": [1, 2], "backends": ["torch-cuda"]}, "none of torch-cuda computes on the CPU"),
        ({"threads": [1, 2], "settings": {"torch-cpu.threads": 3}}, r"\(torch-cpu.threads\) both"),
        (
            {"threads": [1, 2], "settings": {"onnxruntime-cpu.intra_op_num_threads": 1}},
            "onnxruntime-cpu.intra_op_num_threads and the threads of onnxruntime-cpu set the same",
        ),
        ({"settings": {"torch-cpu.threads": 0}}, "torch-cpu.threads is '0'; wanted a whole number"),
    ],
)
def test_threads_that_cannot_be_a_factor_are_refused(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(StudyError, match=sentence):
        make_study(MEMBERS | changes, known=ThisMachine())


def test_sessions_bring_cells_together_which_a_square_does_not() -> None:
    members = {"models": ["alexnet"], "backends": ["torch-cpu"], "batch_sizes": [1, 4]}
    assert make_study(members | {"isolation": "session"}).in_sessions
    assert not make_study(members).in_sessions
    with pytest.raises(StudyError, match=r"isolation is session.*order is latin-square"):
        make_study(members | {"isolation": "session", "order": "latin-square"})
