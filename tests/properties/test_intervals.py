"""One policy: of one cell the report, ``ds.gb``, compare and recommend say the same."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import greenbatch
from greenbatch.analysis import cell_rows, open_run
from greenbatch.analysis.recommendation import recommend as recommendation
from greenbatch.cli.application import app
from greenbatch.records import Cell
from tests.fakes.runs import figure, repetition, study, write_run

pytestmark = pytest.mark.numeric

CELL = Cell("alexnet", "onnxruntime-cpu", batch_size=1)
OTHER = Cell("alexnet", "torch-cpu", batch_size=1)
BASE_J = 2.0
WINDOW_S = 2.0
times_s = st.floats(min_value=0.01, max_value=0.1)

Said = tuple[float | None, float, float | None]


def written(path: Path, batches_s: Sequence[float], factor: float = 1.0) -> Path:
    """A cell whose energy per image is ``factor`` J/s of its batch time, beside a constant one."""
    records = []
    for block, batch_s in enumerate(batches_s):
        for cell, image_j in ((CELL, factor * batch_s), (OTHER, BASE_J)):
            iterations = math.ceil(WINDOW_S / batch_s)
            records.append(
                repetition(
                    cell,
                    block,
                    energy=[figure(image_j * iterations, window_s=iterations * batch_s)],
                    latency_s=batch_s,
                    duration_s=iterations * batch_s,
                    iterations=iterations,
                )
            )
    backends = (CELL.backend, OTHER.backend)
    return write_run(path, records, study(("alexnet",), backends, (1,), len(batches_s)))


def printed_by(*arguments: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    return found


def scaled(said: Said, factor: float) -> list[float]:
    return [math.nan if value is None else value * factor for value in said]


@pytest.fixture(autouse=True, scope="module")
def _short() -> Iterator[None]:
    """Simulate shortly: only the rate that is held is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SEARCHED", "SIMULATED", "LEAST_SIMULATED"):
            patch.setattr(recommendation, name, 200)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3, 5, 10])
@settings(max_examples=1)  # one run for each n: it is written and read six times
@given(data=st.data())
def test_the_report_the_accessor_compare_and_recommend_say_the_same(
    n: int, data: st.DataObject
) -> None:
    batches_s = data.draw(st.lists(times_s, min_size=n, max_size=n, unique=True))
    with TemporaryDirectory() as folder:
        run = written(Path(folder) / "run", batches_s)
        base = written(Path(folder) / "base", [1.0] * n, BASE_J)
        with open_run(run) as dataset:
            row = next(row for row in cell_rows(dataset) if row.cell == CELL)
        energy, throughput = row.energy_per_image_j, row.throughput
        assert energy is not None
        assert throughput is not None
        assert (energy.kind, energy.n) == (["none", "range"][n - 1] if n < 3 else "t", n)
        report = scaled((energy.low, energy.centre, energy.high), 1.0)

        with greenbatch.open(run) as dataset:
            cell = {"model": "alexnet", "variant": f"{CELL.backend} fp32", "batch_size": 1}
            alone = dataset.gb.energy_per_image().sel(cell)
            ratios = dataset.gb.relative_to(backend=OTHER.backend).sel(cell)
        for found, name, factor in (
            (alone, "energy_per_image", 1.0),
            (ratios, "energy_per_image_ratio", BASE_J),
        ):
            bounds = [float(found[f"{name}{end}"].item()) for end in ("_low", "", "_high")]
            assert [factor * bound for bound in bounds] == pytest.approx(report, nan_ok=True)

        # A base without any spread leaves Welch's interval that of the new run's cell.
        compared = printed_by("compare", str(base), str(run))["cells"]
        assert isinstance(compared, list)
        ratio = next(c["ratio"] for c in compared if CELL.backend in c["cell"])
        said = scaled((ratio["low"], ratio["centre"], ratio["high"]), BASE_J)
        assert said == pytest.approx(report, nan_ok=True)

        # Requests at batch 1 are held at the rate that is the cell's throughput.
        models = printed_by("recommend", str(run), "--rate", "1", "--backend", CELL.backend)[
            "models"
        ]
        assert isinstance(models, list)
        held = models[0]["largest_rate_hz"]
        assert (held["kind"], held["repetitions"]) == (throughput.kind, n)
        assert scaled((held["low"], held["centre"], held["high"]), 1.0) == pytest.approx(
            scaled((throughput.low, throughput.centre, throughput.high), 1.0), nan_ok=True
        )
