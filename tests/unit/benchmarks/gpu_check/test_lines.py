"""What the lines of the check amount to, and the page with them."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu_check import page
from benchmarks.gpu_check.lines import Line, Verdict, exit_code, failed, not_run
from benchmarks.gpu_check.steps import Taken

UUID = "GPU-1a2b3c4d-0000-1111-2222-333344445555"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], 3),
        ([Line("Python"), not_run("torch-cuda", "no device", on_gpu=True)], 3),
        ([Line("torch-cuda", on_gpu=True), not_run("tensorrt", "not installed", on_gpu=True)], 0),
        ([Line("torch-cuda", on_gpu=True), failed("NVML", "no power")], 1),
        ([failed("NVML", "no power")], 1),
    ],
)
def test_the_exit_code_is_that_of_the_worst_line_or_of_a_machine_without_a_gpu(
    lines: list[Line], code: int
) -> None:
    assert exit_code(lines) == code


def test_a_line_that_is_not_ok_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="torch-cuda is not run; it needs a reason"):
        Line("torch-cuda", Verdict.NOT_RUN)


def test_the_page_has_each_line_with_its_verdict_and_nothing_of_the_person(tmp_path: Path) -> None:
    steps = [
        Taken("Machine", 60.0, [Line("device", values={"found": f"A | {UUID}"}, on_gpu=True)], 1.0),
        Taken("Tests", 30.0, [failed("test_x", "a\nb in /home/ada/x"), not_run("test_y", "late")]),
    ]
    page.write(tmp_path, steps, complete=True)
    text = (tmp_path / "README.md").read_text()
    assert "**Something failed.** 1 ok, 1 failed, 1 not run." in text
    assert "| device | A \\| GPU-1a2b3c4d | ok |" in text
    assert "| test_x | failed: a b in ~/x |" in text
    assert "| test_y | not run: late |" in text
    assert "| Machine | 1 s | 60 s | 1 | 0 | 0 |" in text
    written = (tmp_path / "gpu-check.json").read_text()
    assert UUID not in written
    data = json.loads(written)
    assert data["exit_code"] == 1
    assert data["steps"][1]["lines"][1]["verdict"] == "not run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "gpu-check.json"]


def test_a_page_of_a_check_that_goes_on_states_so(tmp_path: Path) -> None:
    page.write(tmp_path, [Taken("Machine", 60.0)], complete=False)
    assert "The check has not ended." in (tmp_path / "README.md").read_text()


def test_what_processes_wrote_is_masked_too(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for name in ("logs/bench.txt", "meters.jsonl"):
        (tmp_path / name).write_text(f"{UUID} in /home/ada/x\n")
    page.mask(tmp_path)
    for name in ("logs/bench.txt", "meters.jsonl"):
        assert (tmp_path / name).read_text() == "GPU-1a2b3c4d in ~/x\n"
