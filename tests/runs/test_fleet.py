"""A study on a fleet of workers on this machine, each with a simulated meter of its own."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import xarray as xr

from greenbatch.records.journal import read
from tests.conftest import Gb
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve
from tests.thorough import examples, needs_thorough

pytestmark = [pytest.mark.alone, pytest.mark.slow]

POWERS_W = {"north": 20.0, "south": 50.0, "west": 80.0}
STUDY = """
models: [shufflenet_v2_x0_5]
backends: [onnxruntime-cpu]
batch_sizes: [1, 2]
repetitions: REPETITIONS
weights: random
meters: [rapl]
profile: quick
protocol: {warm_up_min_s: 0.1, warm_up_max_s: 0.3, rest_min_s: 0.05, rest_max_s: 1, idle_s: 0.3}
"""


@contextmanager
def metered(folder: Path, powers_w: Mapping[str, float]) -> Iterator[Path]:
    """Give the variables of workers whose machines draw these powers; 'south' and 'west' share one
    lock, as two names of one machine.
    """
    variables = []
    with ExitStack() as running:
        for name, power_w in powers_w.items():
            powercap = Powercap(folder / name / "sys")
            powercap.add("intel-rapl:0", "package-0")
            running.enter_context(powercap.running({"intel-rapl:0": PowerCurve(power_w)}))
            runtime = folder / ("north" if name == "north" else "other") / "runtime"
            runtime.mkdir(parents=True, exist_ok=True)
            variables.append(
                powercap.environment()
                | {
                    "GB_MACHINE": name,
                    "XDG_RUNTIME_DIR": str(runtime),
                    "XDG_CACHE_HOME": str(folder / "cache"),
                    "XDG_STATE_HOME": str(folder / "state"),
                }
            )
        file = folder / "workers.yaml"
        file.write_text(json.dumps(variables))
        yield file


@needs_thorough
def test_three_workers_give_one_dataset_with_the_energy_of_each_machine(
    gb: Gb, artifacts: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.yaml"
    repetitions = examples(1, 3)
    study.write_text(STUDY.replace("REPETITIONS", str(repetitions)))
    home = tmp_path / "fleet"
    with metered(tmp_path, POWERS_W) as variables:
        ran = gb(
            *("fleet", "run", study, "--artifacts", artifacts, "--out", home),
            *("--local", 3, "--worker-env", variables, "--json"),
        )
    found = json.loads(ran.stdout)
    assert found["repetitions"] == dict.fromkeys(POWERS_W, 2 * repetitions)
    with xr.open_dataset(home / "dataset.nc") as opened:
        dataset = opened.load()
    assert dict(dataset.sizes)["machine"] == 3
    assert set(dataset["machine"].to_numpy()) == set(POWERS_W)
    for name, power_w in POWERS_W.items():
        one = dataset.sel(machine=name)
        per_image = power_w * one["duration"] / one["images"]
        apart = abs(one["energy_per_image"] / per_image - 1)
        assert int(apart.notnull().sum()) == 2 * repetitions
        assert float(apart.max()) < 0.005, name
    assert_apart(home / "machines/south", home / "machines/west")
    assert (home / "dataset-report/index.html").exists()
    for name in POWERS_W:
        tried = json.loads((home / f"doctor/{name}.json").read_text())["backends"]
        assert [each["name"] for each in tried] == ["onnxruntime-cpu"]
    status = json.loads(gb("fleet", "status", home, "--json").stdout)
    assert set(status["machines"]) == set(POWERS_W)
    assert {each["repetitions"] for each in status["machines"].values()} == {2 * repetitions}
    again = gb("fleet", "run", study, "--artifacts", artifacts, "--out", home, expect=2)
    assert f"gb fleet attach {home}" in again.stderr


def assert_apart(*runs: Path) -> None:
    """Check that no repetition of these runs was measured beside another one."""
    spans = sorted(
        (began, began + timedelta(seconds=record.phases_s["wall"] + record.conditions.rest_s))
        for run in runs
        for record in read(run / "journal.jsonl").repetitions
        for began in [datetime.fromisoformat(record.started_at)]
    )
    assert len(spans) >= 4
    for (_, end), (began, _) in pairwise(spans):
        assert end <= began + timedelta(seconds=0.05)
