"""How long compiling, opening and laying out a large journal takes, and how much memory.

Writes a journal of 10,000 cells x 30 repetitions (300,000 records of about four kilobytes, with
the members of a real one; their latencies would lie in traces, which compiling does not read).
``--settings`` writes one of 1,280 cells x 5 repetitions instead, of two backends with five and four
settings, whose values would multiply to millions of places if each were a dimension.

In each round a child of its own decodes the repetitions of the journal into their types and does
nothing else, and others compile the dataset, open it and lay it out as a table. Printed are wall
time, CPU time and peak memory of each, the medians of CPU time over that of the bare decoding, and
the places in the grid for each repetition.

    python benchmarks/large_compile.py [--settings] [--rounds 3] [--keep FOLDER]
"""

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from greenbatch.analysis.dataset.store import open_run
from greenbatch.analysis.dataset.variables import STATUSES
from greenbatch.records import (
    Agreement,
    Cell,
    Conditions,
    EnergyFigure,
    EnergySource,
    Idle,
    IdleFigure,
    OneOff,
    Record,
    Repetition,
    Status,
    WarmUp,
    encode,
)

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
BATCH_SIZES = tuple(2**k for k in range(10))
DOMAINS = ("package-0", "gpu-0")
NOTE = (
    "the driver states energy in millijoules at about 10 ticks a second; the figure is "
    "interpolated between ticks, and half a tick at each end is its uncertainty"
)
QUANTILES = ("0.5", "0.9", "0.95", "0.99", "0.999", "1.0")
DECODING = """
from greenbatch.records import Repetition
from msgspec.json import Decoder
decoder = Decoder(Repetition)
with open(run / "journal.jsonl", "rb") as lines:
    found = [decoder.decode(line) for line in lines if b'"kind":"repetition"' in line]
"""
STEPS = {
    "decode": DECODING,
    "write": "from greenbatch.analysis.dataset.store import write_dataset; write_dataset(run)",
    "open": "from greenbatch.analysis.dataset.store import open_run; open_run(run)",
    "open and tidy": (
        "from greenbatch.analysis import open_run, tidy; found = tidy(open_run(run)); "
        "assert len(found)"
    ),
}
CHILD = """
import gc, pathlib, resource, sys, time
import netCDF4, pandas, xarray, greenbatch.analysis.dataset.store
run = pathlib.Path(sys.argv[1])
wall_s, cpu_s = time.perf_counter(), time.process_time()
{0}
print(
    time.perf_counter() - wall_s,
    time.process_time() - cpu_s,
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
)
"""


def main() -> None:
    """Make the journal, compile it, open it, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--settings", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the run, kept and used again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = options.keep or Path(temporary)
        if not (run / "study.yaml").exists():
            if options.settings:
                write_settings_run(run)
            else:
                write_run(run, options.cells, options.repetitions)
        size_mb = (run / "journal.jsonl").stat().st_size / 1e6
        print(f"{size_mb:,.0f} MB of journal")
        cpu_s: dict[str, list[float]] = {step: [] for step in STEPS}
        for _ in range(options.rounds):
            for step, code in STEPS.items():
                # Without collections of garbage, as compiling is.
                cpu_s[step].append(timed(step, f"gc.disable()\n{code}", run))
        bare_s = statistics.median(cpu_s["decode"])
        for step, found_s in cpu_s.items():
            print(f"{step}: {statistics.median(found_s) / bare_s:.2f} times the bare decoding")
        print(f"dataset.nc: {(run / 'dataset.nc').stat().st_size / 1e6:,.0f} MB")
        dataset = open_run(run)
        measured = int((dataset["status"] != STATUSES.index("not_run")).sum())
        print(f"{dataset['status'].size:,} places for {measured:,} repetitions")


def timed(step: str, code: str, run: Path) -> float:
    """Run a step in a child, print what it took, and return its CPU time in s.

    Args:
        step: Its name.
        code: Python, in which ``run`` is the folder.
        run: The folder.
    """
    found = subprocess.run(
        [sys.executable, "-c", CHILD.format(code), str(run)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    wall_s, cpu_s, peak = map(float, found.stdout.split())
    peak_gb = peak * (1 if sys.platform == "darwin" else 1024) / 1e9
    print(f"{step}: {wall_s:.1f} s ({cpu_s:.1f} s of CPU), {peak_gb:.2f} GB at most", flush=True)
    return cpu_s


def write_settings_run(
    run: Path, models: int = 4, sizes: int = 8, levels: Sequence[int] = (5, 3), repetitions: int = 5
) -> None:
    """Write a run whose two backends have settings of their own.

    Args:
        run: The directory.
        models, sizes: How many there are.
        levels: How many settings of each backend have two values; the second has one more, of one.
        repetitions: Of each cell.
    """
    backends = ("onnxruntime-cpu", "torch-cpu")
    settings = {
        f"{backend}.option_{number}": ["0", "1"]
        for backend, count in zip(backends, levels, strict=True)
        for number in range(count)
    } | {f"{backends[1]}.mode": ["plain"]}
    design = [
        Cell(f"network_{model}", backend, batch_size=2**size, settings=pairs)
        for model in range(models)
        for backend in backends
        for pairs in itertools.product(
            *(
                [(key.partition(".")[2], value) for value in values]
                for key, values in settings.items()
                if key.startswith(backend)
            )
        )
        for size in range(sizes)
    ]
    _write(
        run,
        design,
        repetitions,
        models=[f"network_{model}" for model in range(models)],
        backends=list(backends),
        precisions=["fp32"],
        batch_sizes=[2**size for size in range(sizes)],
        settings=settings,
    )


def write_run(run: Path, cells: int, repetitions: int) -> None:
    """Write a run directory of so many cells: models x 10 backends x 4 precisions x 10 sizes."""
    models = [f"network_{number}" for number in range(max(1, cells // 400))]
    backends = [f"backend-{number}" for number in range(10)]
    design = [
        Cell(model, backend, precision, batch_size=size)
        for model, backend, precision, size in itertools.product(
            models, backends, PRECISIONS, BATCH_SIZES
        )
    ]
    _write(
        run,
        design[:cells],
        repetitions,
        models=models,
        backends=backends,
        precisions=list(PRECISIONS),
        batch_sizes=list(BATCH_SIZES),
    )


def _write(run: Path, design: list[Cell], repetitions: int, **factors: object) -> None:
    run.mkdir(parents=True, exist_ok=True)
    study = {
        "schema": 1,
        "name": "large",
        "io": ["host"],
        "scenarios": ["offline"],
        "repetitions": repetitions,
        "artifacts": {},
        **factors,
    }
    with (run / "journal.jsonl").open("wb") as journal:
        for record in records(design, repetitions):
            journal.write(encode(record))
    (run / "environment.json").write_text(json.dumps({"machine": {}, "meters": []}))
    (run / "study.yaml").write_text(yaml.safe_dump(study))


def records(
    design: list[Cell], repetitions: int, draw: random.Random | None = None
) -> Iterator[Record]:
    """Draw the records of a run, shuffled within each block."""
    draw = draw or random.Random(0)
    backends = list(dict.fromkeys(cell.backend for cell in design))
    for block in range(repetitions):
        for backend in backends:
            yield Idle(
                backend=backend,
                model=design[0].model,
                block=block,
                when="before",
                started_at="2026-11-21T08:00:00Z",
                duration_s=2.0,
                figures=tuple(
                    IdleFigure(
                        domain=domain,
                        source=EnergySource.COUNTER,
                        power_w=draw.uniform(10, 20),
                        uncertainty_w=0.1,
                    )
                    for domain in DOMAINS
                ),
            )
        for position, cell in enumerate(draw.sample(design, len(design))):
            yield repetition(draw, cell, block, position)


def repetition(draw: random.Random, cell: Cell, block: int, position: int) -> Repetition:
    """Draw a repetition with all that a record of a real run has."""
    batch_s = 0.001 * cell.batch_size**0.8 * draw.lognormvariate(0, 0.02)
    iterations = max(5, round(2 / batch_s))
    window_s = iterations * batch_s
    return Repetition(
        cell=cell,
        block=block,
        position=position,
        status=Status.OK,
        started_at=f"2026-11-21T08:{position % 60:02}:00Z",
        duration_s=window_s,
        images=iterations * cell.batch_size,
        iterations=iterations,
        latency_s={q: batch_s * (1 + 0.1 * n) for n, q in enumerate(QUANTILES)},
        energy=figures(draw, window_s),
        memory_host_bytes=500_000_000 + position,
        memory_children_bytes=0,
        warm_up=WarmUp(iterations=12, duration_s=draw.uniform(1, 2), settled=True),
        conditions=Conditions(
            rest_s=draw.uniform(1, 2),
            temperature_c={"package": draw.uniform(40, 60), "gpu-0": draw.uniform(40, 60)},
            clock_hz={"gpu-0": 1.2e9},
            foreign_load=draw.random() / 100,
        ),
        agreement=Agreement(images=4, max_rel=draw.random() * 1e-6, cosine=0.999999),
        cache="warm",
        placement={"CUDAExecutionProvider": 120, "CPUExecutionProvider": 0},
        settings={f"setting_{number}": f"value {number}" for number in range(15)},
        one_off={
            phase: OneOff(duration_s=draw.uniform(0.1, 3), energy=figures(draw, 1.0))
            for phase in ("load", "first")
        },
        phases_s={
            phase: draw.uniform(0.1, 3)
            for phase in ("start", "load", "first", "warm_up", "window", "wall", "images")
        },
        trace=f"traces/{cell.slug}_r{block}.npz",
    )


def figures(draw: random.Random, window_s: float) -> tuple[EnergyFigure, ...]:
    """Draw the energy of every domain."""
    powers_w = [draw.uniform(50, 60) for _ in DOMAINS]
    return tuple(
        EnergyFigure(
            domain=domain,
            source=EnergySource.COUNTER,
            energy_j=power_w * window_s,
            uncertainty_j=0.5,
            power_mean_w=power_w,
            power_max_w=power_w * 1.1,
            reason=NOTE,
        )
        for domain, power_w in zip(DOMAINS, powers_w, strict=True)
    )


if __name__ == "__main__":
    main()
