"""A run with a dataset, to be spoilt."""

import shutil
from pathlib import Path

import pytest

from greenbatch.analysis import write_dataset
from greenbatch.records import Cell
from tests.fakes.runs import figure, repetition, study, write_run

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a compiled dataset, which tests leave as it is."""
    backends = ("onnxruntime-cpu", "torch-cpu")
    cells = [Cell("alexnet", name, batch_size=size) for name in backends for size in (1, 4)]
    records = [
        repetition(
            cell,
            block,
            energy=[figure(20.0 + block + number)],
            latency_s=0.01 + 0.001 * block,
            iterations=100 + block,
        )
        for block in range(3)
        for number, cell in enumerate(cells)
    ]
    path = write_run(tmp_path_factory.mktemp("compiled"), records, study(backends=backends))
    write_dataset(path)
    return path


@pytest.fixture
def run(compiled: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(compiled, tmp_path / "run"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A run of an earlier version, to merge with."""
    return Path(shutil.copytree(GOLDEN / "run-schema-1", tmp_path / "other"))
