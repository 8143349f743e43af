"""`gb bench`: which design its options make."""

from pathlib import Path

import pytest

from greenbatch.errors import BackendUnavailable
from greenbatch.workflows import inference
from tests.fakes.command import gb

BUDGET = "measuring for at most 15 min 00 s to find the best cell of each model, to within 3 %"


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ((), BUDGET),
        (("alexnet", "--seed", "3"), BUDGET),
        (("--full",), "block 0: "),
        (("--repetitions", "2"), "block 0: "),
        (("--batch-sizes", "1,2", "--repetitions", "1", "--profile", "quick"), "block 0: "),
        (("--precision-target", "2%"), "block 0: "),
        (("--budget", "90s"), "measuring for at most 1 min 30 s to find the best cell"),
        (("--batch-sizes", "1,2", "--budget", "1h"), "measuring for at most 1 h 00 min"),
        (("--decide", "front"), "measuring for at most 15 min 00 s to find each model's Pareto"),
        (("--batch-sizes", "1", "--within", "5%"), "measuring for at most 15 min 00 s"),
    ],
    ids=" ".join,
)
def test_a_budget_is_the_default_where_no_option_sets_the_design(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    first: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    provider = ("--provider", "cpu", "--runtime", "onnxruntime", "--dry-run")
    code, shown, _ = gb(capsys, "bench", *provider, *options)
    assert code == 0
    assert shown.startswith(first)
    assert ("of measuring time" in shown) == first.startswith("measuring")


def test_a_list_may_have_commas_or_an_option_for_each(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    design = ("bench", "alexnet", "--provider", "cpu", "--full", "--dry-run", "--batch-sizes", "1")
    lists = ("--runtime", "onnxruntime,openvino", "--precision", "fp32, int8")
    each = [*("--runtime", "onnxruntime", "--runtime", "openvino")]
    each += ["--precision", "fp32", "--precision", "int8"]
    assert gb(capsys, *design, *lists) == gb(capsys, *design, *each)
    for empty in ("", "fp32,"):
        code, _, said = gb(capsys, *design, "--precision", empty)
        assert (code, "is '': input should be 'fp32'" in said) == (2, True)


def test_a_study_file_has_the_budget_that_it_states(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = "models: [alexnet]\nbackends: [onnxruntime-cpu]\nbatch_sizes: [1, 2, 4]\n"
    plain, budget = tmp_path / "plain.yaml", tmp_path / "budget.yaml"
    plain.write_text(text)
    budget.write_text(f"{text}budget: 2m\nwithin: 10%\n")
    shown = [gb(capsys, "bench", "--study", path, "--dry-run")[1] for path in (plain, budget)]
    assert "9 repetitions of 3 cells" in shown[0]
    assert "at most 2 min 00 s to find the best cell of each model, to within 10 %" in shown[1]


def test_a_run_says_first_what_is_measured_how_long_and_what_its_energy_is_worth(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(*_: object) -> None:
        raise BackendUnavailable("that far")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inference, "check_backends", check)
    options = ("--batch-sizes", "1,2", "--provider", "cpu", "--runtime", "onnxruntime")
    code, out, errors = gb(capsys, "bench", "alexnet", *options, "--meter", "estimate")
    assert (code, out) == (3, "")
    design, energy, last = errors.splitlines()
    assert design.startswith("gb: measuring 6 repetitions of 2 cells, at least ")
    assert energy.startswith("energy of cpu-estimate is estimated, not measured: ")
    assert last == "gb: that far"
