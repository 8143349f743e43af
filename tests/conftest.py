"""What tests of whole runs share: artifacts, exported once for all workers."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import pytest
from filelock import FileLock

from tests.fakes.report_text import without_figures


def pytest_configure() -> None:
    """Let an example take its time: a machine is busy, or slow."""
    if find_spec("hypothesis"):  # tests/gpu run without it
        from hypothesis import settings

        settings.register_profile("any machine", deadline=None)
        settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    """Collect garbage more rarely: a worker holds the objects of torch and of all tests."""
    gc.set_threshold(100_000, 50, 50)


@pytest.fixture(scope="session", autouse=True)
def _private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each worker has a machine of its own to lock, and leaves no notes with the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _denormals_stay() -> Iterator[None]:
    """A test that tells a runtime to flush denormals does it to the tests after it too."""
    yield
    assert sys.float_info.min / 2 > 0, "this thread now counts the smallest numbers as zero"


SMALL_MODELS = ("squeezenet1_1", "shufflenet_v2_x0_5")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures on paper, which take most of a report's time."""
    without_figures(monkeypatch)


class Gb(Protocol):
    """Runs the command in a process of its own."""

    def __call__(
        self, *arguments: object, expect: int | None = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``gb`` with these arguments, and check its exit code unless ``expect`` is None."""


@pytest.fixture(scope="session")
def gb() -> Gb:
    """The command, as a user runs it."""

    def run(
        *arguments: object, expect: int | None = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "greenbatch.cli", *map(str, arguments)]
        environment = {**os.environ, **(env or {})}
        if env and "PYTHONPATH" in env and "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert expect is None or ran.returncode == expect, ran.stdout + ran.stderr
        return ran

    return run


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory, gb: Gb) -> Path:
    """A folder with two small networks, weights drawn at random; tests leave it as it is.

    ``GB_TEST_ARTIFACTS`` names a folder that several runs of pytest share.
    """
    given = os.environ.get("GB_TEST_ARTIFACTS")
    root = Path(given) if given else tmp_path_factory.getbasetemp()
    if not given and "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of all workers
    folder = root / "artifacts"
    with FileLock(root / "artifacts.lock"):
        if not folder.exists():
            draft = root / "artifacts-draft"
            gb("export", *SMALL_MODELS, "--weights", "random", "--out", draft)
            draft.rename(folder)
    return folder
