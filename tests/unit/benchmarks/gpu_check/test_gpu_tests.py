"""Each test of tests/gpu is a line, whatever becomes of the process that runs them."""

import ast
import json
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_check import models
from benchmarks.gpu_check.children import Ended
from benchmarks.gpu_check.gpu_tests import judged
from benchmarks.gpu_check.lines import Verdict

ROOT = Path(__file__).parents[4]
CORE = {"numpy", "pytest", "xarray", "greenbatch", "tests", "benchmarks"}

EVENTS = [
    {"collected": ["a", "b", "c", "d", "e"]},
    {"begun": "a"},
    {"test": "a", "outcome": "passed", "reason": "", "duration_s": 1.0},
    {"begun": "b"},
    {"test": "b", "outcome": "skipped", "reason": "no TensorRT", "duration_s": 0.0},
    {"begun": "c"},
    {"test": "c", "outcome": "failed", "reason": "AssertionError", "duration_s": 1.0},
    {"begun": "d"},
]


def verdicts(tmp_path: Path, code: int | None) -> dict[str, tuple[Verdict, str]]:
    """Judge these events for a pytest that ended with this code."""
    results, log = tmp_path / "tests.jsonl", tmp_path / "log.txt"
    results.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    log.write_text("Fatal Python error\n")
    return {
        line.what: (line.verdict, line.reason) for line in judged(results, Ended(code, log, 60.0))
    }


def test_a_crash_is_a_failure_of_the_test_that_it_came_in(tmp_path: Path) -> None:
    found = verdicts(tmp_path, -11)
    assert found["a"] == (Verdict.OK, "")
    assert found["b"] == (Verdict.NOT_RUN, "no TensorRT")
    assert found["c"] == (Verdict.FAILED, "AssertionError")
    assert found["d"][0] is Verdict.FAILED
    assert "killed by signal 11: Fatal Python error" in found["d"][1]
    assert found["e"][0] is Verdict.NOT_RUN


def test_a_test_that_the_limit_ended_is_not_run(tmp_path: Path) -> None:
    found = verdicts(tmp_path, None)
    assert found["d"] == found["e"] == (Verdict.NOT_RUN, "the time limit of 60 s was reached")


def test_tests_that_cannot_be_collected_are_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("ImportError: no module\n")
    (line,) = judged(tmp_path / "none.jsonl", Ended(4, log, 60.0))
    assert line.verdict is Verdict.FAILED
    assert "exit code 4: ImportError: no module" in line.reason


@pytest.mark.parametrize(
    "pattern", ["tests/gpu/*.py", "benchmarks/gpu_check/*.py", "benchmarks/gpu_*.py"]
)
def test_nothing_is_imported_at_once_that_only_developers_have(pattern: str) -> None:
    files = sorted(ROOT.glob(pattern))
    assert files
    allowed = CORE | set(sys.stdlib_module_names)
    if pattern.startswith("benchmarks/gpu_check"):
        allowed -= {"numpy", "pytest", "xarray", "greenbatch"}
    for file in files:
        for node in _at_once(ast.parse(file.read_text())):
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            assert {str(name).partition(".")[0] for name in names} <= allowed, file


def _at_once(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    """Return the imports of a module but for those in functions and for type checkers alone."""
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def test_the_default_backends_get_most_of_the_time_and_each_other_one_some() -> None:
    groups = models._groups(["torch-cuda", "torch-aot-cuda", "onnxruntime-cuda", "mine-cuda"])
    assert groups == [["torch-cuda", "onnxruntime-cuda"], ["torch-aot-cuda"], ["mine-cuda"]]
    left, shares = 1.0, []
    for number in range(len(groups)):
        shares.append(left * models._share(groups[number:]))
        left -= shares[-1]
    assert shares == [0.75, 0.125, 0.125]
    assert models._share([["mine-cuda"]]) == 1.0
