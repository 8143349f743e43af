"""What tests of whole runs share: artifacts, exported once for all of them."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest


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
        told = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert expect is None or told.returncode == expect, told.stdout + told.stderr
        return told

    return run


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory, gb: Gb) -> Path:
    """A folder with alexnet and shufflenet_v2_x0_5, weights drawn at random."""
    folder = tmp_path_factory.mktemp("artifacts")
    gb("export", "alexnet", "shufflenet_v2_x0_5", "--weights", "random", "--out", folder)
    return folder
