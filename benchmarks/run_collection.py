"""How long many runs of many machines take to merge and to report, and how much memory.

Writes the journals of simulated runs: 10 runs on each of 20 machines of five kinds, each of 4
networks on 2 backends at 6 batch sizes, in 5 blocks (48,000 records in all, with the members of
real ones). Children of their own then merge the runs (at first each is compiled, later its
``dataset.nc`` is read), write the report of the merged dataset, and open the merged file lazily,
with the mean energy of each cell (needs dask). Printed are wall time, CPU time and peak memory of
each.

    python -m benchmarks.run_collection [--machines 20] [--runs 10] [--keep FOLDER]
"""

import argparse
import itertools
import json
import random
import tempfile
from pathlib import Path

import yaml

from benchmarks.large_compile import records, timed
from greenbatch.records import Cell, encode

KINDS = ("Example CPU 9000", "Example CPU 7000", "Sample CPU 500", "Sample CPU 700", "CPU 1")
MODELS = ("alexnet", "resnet18", "resnet50", "vgg16")
BACKENDS = ("onnxruntime-cpu", "torch-cpu")
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
REPETITIONS = 5
MERGE = """
from greenbatch.analysis.dataset.store import store
from greenbatch.analysis.runs import merge
store(merge(sorted((run / "runs").iterdir()), {along!r}), run / "{name}.nc")
"""
STEPS = {
    "merge, compiling each run": MERGE.format(along=None, name="first"),
    "merge of stored datasets": MERGE.format(along=None, name="merged"),
    "merge, each run apart": MERGE.format(along="run", name="apart"),
    "report": (
        "from greenbatch.analysis.runs import write_report; write_report(run / 'merged.nc')"
    ),
    "open lazily, and one mean": (
        "found = xarray.open_dataset(run / 'merged.nc', chunks={}); "
        "assert found['energy_per_image'].chunks; "
        "found['energy_per_image'].mean('repetition').compute()"
    ),
}


def main() -> None:
    """Write the runs, take each step, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=20)
    parser.add_argument("--runs", type=int, default=10, help="of each machine")
    parser.add_argument("--keep", type=Path, help="a folder for the runs, kept and used again")
    parser.add_argument("--only", choices=STEPS, action="append")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = options.keep or Path(temporary)
        if not (home / "runs").exists():
            for machine, run in itertools.product(range(options.machines), range(options.runs)):
                write_run(home / f"runs/machine-{machine:02}-{run:02}", machine, run)
        size_mb = sum(path.stat().st_size for path in home.glob("runs/*/journal.jsonl")) / 1e6
        print(f"{options.machines * options.runs} runs, {size_mb:,.0f} MB of journals")
        for step in options.only or STEPS:
            timed(step, STEPS[step], home)


def write_run(path: Path, machine: int, run: int) -> None:
    """Write a run on a machine; both are numbers from 0."""
    design = [
        Cell(model, backend, batch_size=size)
        for model, backend, size in itertools.product(MODELS, BACKENDS, BATCH_SIZES)
    ]
    study = {
        "schema": 1,
        "name": "collection",
        "models": [*MODELS],
        "backends": [*BACKENDS],
        "precisions": ["fp32"],
        "batch_sizes": [*BATCH_SIZES],
        "io": ["host"],
        "scenarios": ["offline"],
        "repetitions": REPETITIONS,
        "artifacts": {},
    }
    environment = {
        "machine": {
            "name": f"machine-{machine:02}",
            "cpu": KINDS[machine % len(KINDS)],
            "architecture": "x86_64",
            "cores": 8 << machine % 3,
            "memory_bytes": 64 << 30,
        },
        "versions": {"greenbatch": "1.0.0", "onnxruntime": "1.31.1", "torch": "2.13.0"},
        "meters": [],
    }
    path.mkdir(parents=True)
    draw = random.Random(f"{machine} {run}")
    with (path / "journal.jsonl").open("wb") as journal:
        for record in records(design, REPETITIONS, draw):
            journal.write(encode(record))
    (path / "environment.json").write_text(json.dumps(environment))
    (path / "study.yaml").write_text(yaml.safe_dump(study))


if __name__ == "__main__":
    main()
