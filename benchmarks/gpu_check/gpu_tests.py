"""The last step: tests/gpu, each test a line; those that do not fit any more are named."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu_check import artifacts, children
from benchmarks.gpu_check.lines import Line, failed, not_run
from benchmarks.gpu_check.steps import Check

_FOLDER = "tests/gpu"
_MODEL = "shufflenet_v2_x0_5"  # of most tests
_LAST = ("test_torch.py",)  # many, and each of them compiles
_ENDING_S = 20.0
# In the place of the project's own options: pytest-timeout may be missing, and a warning of another
# version of a library is no fault of the GPU.
_OPTIONS = [
    *("-o", "addopts=--strict-markers --import-mode=importlib"),
    *("-o", "filterwarnings="),
    *("-W", "default"),
    *("-p", "no:cacheprovider"),
    *("-ra", "-v"),
]


def lines(check: Check, limit_s: float) -> Iterator[Line]:
    """Run the tests in a process of its own."""
    if check.no_gpu:
        yield not_run(_FOLDER, check.no_gpu, on_gpu=True)
        return
    if find_spec("pytest") is None:
        yield not_run(_FOLDER, "pytest is not installed", on_gpu=True)
        return
    results = check.folder / "tests.jsonl"
    variables = {"GB_GPU_RESULTS": str(results), "GB_GPU_SECONDS": str(limit_s - _ENDING_S)}
    if tuple(check.artifacts.get(_MODEL, ())) == artifacts.PRECISIONS:
        variables["GB_TEST_ARTIFACTS"] = str(check.scratch)
    command = ["-m", "pytest", *_OPTIONS, *_files()]
    ended = children.run(command, check.log("tests"), limit_s, variables)
    yield from judged(results, ended)


def _files() -> list[str]:
    """Return the files of tests, those that take long at the end."""
    names = sorted(path.name for path in (children.ROOT / _FOLDER).glob("test_*.py"))
    return [f"{_FOLDER}/{name}" for name in sorted(names, key=lambda name: name in _LAST)]


def judged(results: Path, ended: children.Ended) -> Iterator[Line]:
    """Return a line for each test.

    Args:
        results: What tests/gpu/conftest.py wrote: a line of JSON for the list of tests, one for
            each that began, and one for each that ended.
        ended: How pytest ended; 1: some tests failed.
    """
    texts = results.read_text().splitlines() if results.exists() else []
    events = [json.loads(text) for text in texts]
    tests = [test for event in events for test in event.get("collected", ())]
    begun = {event["begun"] for event in events if "begun" in event}
    done = {event["test"]: event for event in events if "test" in event}
    for test in tests:
        event = done.get(test)
        if event is None and ended.code is not None and test in begun:
            yield failed(test, f"its process ended in it: {ended.reason}", on_gpu=True)
        elif event is None:
            yield not_run(test, ended.reason or "pytest ended before it", on_gpu=True)
        elif event["outcome"] == "passed":
            took = f"{event['duration_s']:.1f} s"
            yield Line(test, values={"time": took}, on_gpu=True)
        elif event["outcome"] == "skipped":
            yield not_run(test, event["reason"], on_gpu=True)
        else:
            yield failed(test, event["reason"], on_gpu=True)
    if ended.code is not None and ended.code > 1 and not tests:
        yield failed(_FOLDER, ended.reason, on_gpu=True)
