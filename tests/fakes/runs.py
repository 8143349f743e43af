"""Run directories with a synthetic journal, whose energies and latencies are known."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from greenbatch.documents import write_yaml
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

STARTED = "2026-11-21T08:00:00Z"
WINDOW_S = 2.0
IDLE_W = 10.0
MODELS = ("alexnet", "densenet121", "shufflenet_v2_x0_5", "vit_b_16", "convnext_base")
BACKENDS = ("onnxruntime-cpu", "torch-cpu")
_COST_S = {
    "alexnet": 0.012,
    "densenet121": 0.055,
    "shufflenet_v2_x0_5": 0.006,
    "vit_b_16": 0.21,
    "convnext_base": 0.26,
}


def image_s(cell: Cell) -> float:
    """Time per image of a cell: a part that a batch shares and a part that each image needs."""
    cost_s = _COST_S.get(cell.model, 0.02)
    slower = 1.0 if cell.backend.startswith("onnxruntime") else 1.35 - 0.03 * cell.batch_size
    return cost_s * slower * (0.7 + 0.6 / cell.batch_size)


def figure(
    energy_j: float,
    domain: str = "package-0",
    source: EnergySource = EnergySource.COUNTER,
    *,
    counts: bool = True,
    window_s: float = WINDOW_S,
) -> EnergyFigure:
    """An energy figure with a metering error of 1 %."""
    return EnergyFigure(
        domain=domain,
        source=source,
        counts=counts,
        energy_j=energy_j,
        uncertainty_j=energy_j * 0.01,
        power_mean_w=energy_j / window_s,
        power_max_w=energy_j / window_s * 1.1,
        reason="15 W per busy core" if source is EnergySource.ESTIMATED else None,
    )


def missing(domain: str, reason: str = "the counter stood still", **more: Any) -> EnergyFigure:
    """An energy figure that could not be obtained."""
    return EnergyFigure(domain=domain, source=EnergySource.MISSING, reason=reason, **more)


def repetition(
    cell: Cell,
    block: int = 0,
    *,
    energy: Sequence[EnergyFigure] = (),
    latency_s: float = 0.01,
    duration_s: float = WINDOW_S,
    iterations: int = 100,
    flags: tuple[str, ...] = (),
    position: int = 0,
    **more: Any,
) -> Repetition:
    """A repetition that went well; ``more`` is what else its record has."""
    quantiles = {"0.5": 1.0, "0.9": 1.1, "0.95": 1.15, "0.99": 1.3, "0.999": 1.5, "1.0": 1.6}
    return Repetition(
        cell=cell,
        block=block,
        position=position,
        status=Status.OK,
        started_at=STARTED,
        flags=flags,
        duration_s=duration_s,
        images=iterations * cell.batch_size,
        iterations=iterations,
        latency_s={key: latency_s * factor for key, factor in quantiles.items()},
        energy=tuple(energy),
        memory_host_bytes=500_000_000,
        warm_up=WarmUp(iterations=12, duration_s=0.4, settled=True),
        conditions=Conditions(rest_s=1.5, temperature_c={"package": 51.0}, foreign_load=0.01),
        placement={"CPUExecutionProvider": 40},
        settings={"threads": 2},
        phases_s={"start": 1.2, "load": 0.3, "first": 0.05, "window": duration_s, "wall": 4.5},
        **more,
    )


def start(
    load_s: float,
    first_s: float,
    power_w: float | None = 30.0,
    source: EnergySource = EnergySource.COUNTER,
) -> dict[str, OneOff]:
    """What a start cost at a steady power; ``None``: its energy could not be obtained."""
    return {
        phase: OneOff(
            duration_s=duration_s,
            energy=(
                missing("package-0", "no tick came")
                if power_w is None
                else figure(duration_s * power_w, source=source, window_s=duration_s),
            ),
        )
        for phase, duration_s in (("load", load_s), ("first", first_s))
    }


def agreement(max_rel: float = 2e-6, cosine: float = 0.999999) -> Agreement:
    """Of outputs with the reference's."""
    return Agreement(images=4, max_rel=max_rel, cosine=cosine)


def failed(
    cell: Cell,
    block: int = 0,
    status: Status = Status.OOM,
    reason: str = "the child was killed for memory at 3.1 GB",
) -> Repetition:
    """A repetition that was lost."""
    return Repetition(
        cell=cell, block=block, position=0, status=status, started_at=STARTED, reason=reason
    )


def idle(
    backend: str,
    block: int = 0,
    power_w: float | None = IDLE_W,
    *,
    domain: str = "package-0",
    source: EnergySource = EnergySource.COUNTER,
    when: str = "before",
) -> Idle:
    """An idle measurement of one domain."""
    given = (
        IdleFigure(domain=domain, source=source, power_w=power_w, uncertainty_w=0.1)
        if power_w is not None
        else IdleFigure(domain=domain, source=EnergySource.MISSING, reason="no tick came")
    )
    return Idle(
        backend=backend,
        model="alexnet",
        block=block,
        when="after" if when == "after" else "before",
        started_at=STARTED,
        duration_s=3.0,
        figures=(given,),
    )


def study(
    models: Sequence[str] = ("alexnet",),
    backends: Sequence[str] = ("onnxruntime-cpu",),
    batch_sizes: Sequence[int] = (1, 4),
    repetitions: int = 3,
    **more: Any,
) -> dict[str, Any]:
    """A study file's members."""
    weights = {"kind": "random", "detail": "seed 0"}
    return {
        "schema": 1,
        "name": "fake",
        "models": list(models),
        "backends": list(backends),
        "precisions": ["fp32"],
        "io": ["host"],
        "scenarios": ["offline"],
        "batch_sizes": list(batch_sizes),
        "repetitions": repetitions,
        "seed": 0,
        "profile": "standard",
        "protocol": {"window_s": WINDOW_S},
        "threads": 2,
        "meters": ["auto"],
        "artifacts": {
            m: {"file": f"{m}-fp32.onnx", "sha256": "0" * 64, "weights": weights} for m in models
        },
    } | more


def environment(**more: Any) -> dict[str, Any]:
    """An environment file's members."""
    return {
        "machine": {
            "hostname": "bench",
            "cpu": "Example CPU 9000",
            "cores": 2,
            "memory_bytes": 8 << 30,
            "os": "Linux",
            "kernel": "6.8.0",
        },
        "versions": {"python": "3.11.7", "onnxruntime": "1.31.1", "torch": "2.15.0"},
        "meters": [{"name": "rapl", "domains": [{"name": "package-0", "counts": True}]}],
        "meters_absent": {"nvml": "there is no NVIDIA driver"},
        "backends": {
            "onnxruntime-cpu": {"runtime": "onnxruntime", "provider": "cpu", "device": "cpu"},
            "torch-cpu": {"runtime": "torch", "provider": "cpu", "device": "cpu"},
        },
        "gpus": [],
    } | more


def write_run(
    path: Path,
    records: Iterable[Record],
    study_members: dict[str, Any] | None = None,
    environment_members: dict[str, Any] | None = None,
    *,
    torn: bytes = b"",
) -> Path:
    """Write a run directory and return its path."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "study.yaml").write_text(write_yaml(study_members or study()))
    (path / "environment.json").write_text(
        json.dumps(environment() if environment_members is None else environment_members)
    )
    (path / "journal.jsonl").write_bytes(b"".join(map(encode, records)) + torn)
    return path


def _spoilt(record: Repetition) -> Repetition:
    return record


def realistic_records(
    source: EnergySource = EnergySource.COUNTER,
    *,
    models: Sequence[str] = MODELS,
    backends: Sequence[str] = BACKENDS,
    batch_sizes: Sequence[int] = (1, 4, 16),
    blocks: int = 3,
    spoil: Callable[[Repetition], Repetition] = _spoilt,
) -> list[Record]:
    """A whole run with noise of about 1.5 %, drawn from a fixed seed.

    Args:
        source: Of every energy; ``missing`` makes a run without energy.
        models, backends, batch_sizes, blocks: The design.
        spoil: Replaces a repetition, to put failures and flags where a test wants them.
    """
    draw = Random(7)
    records: list[Record] = []
    for block in range(blocks):
        records += [
            idle(b, block, IDLE_W + draw.gauss(0, 0.2), source=source)
            for b in backends
            if source is not EnergySource.MISSING
        ]
        position = 0
        for model in models:
            for backend in backends:
                for batch in batch_sizes:
                    cell = Cell(model, backend, batch_size=batch)
                    batch_s = image_s(cell) * batch * math.exp(draw.gauss(0, 0.015))
                    iterations = max(1, math.ceil(WINDOW_S / batch_s))
                    window_s = iterations * batch_s
                    power_w = (27.0 if backend == "torch-cpu" else 29.0) + draw.gauss(0, 0.3)
                    energy = (
                        missing("package-0", "--meter none was asked for")
                        if source is EnergySource.MISSING
                        else figure(power_w * window_s, source=source, window_s=window_s)
                    )
                    records.append(
                        spoil(
                            repetition(
                                cell,
                                block,
                                energy=[energy],
                                latency_s=batch_s,
                                duration_s=window_s,
                                iterations=iterations,
                                position=position,
                            )
                        )
                    )
                    position += 1
    return records


def realistic_run(path: Path, source: EnergySource = EnergySource.COUNTER, **more: Any) -> Path:
    """Write the run of `realistic_records`; ``more`` goes to it."""
    records = realistic_records(source, **more)
    return write_run(
        path,
        records,
        study(
            more.get("models", MODELS),
            more.get("backends", BACKENDS),
            more.get("batch_sizes", (1, 4, 16)),
            more.get("blocks", 3),
        ),
    )


def hostile_run(
    path: Path,
    text: str,
    *,
    backends: Sequence[str] = BACKENDS,
    batch_sizes: Sequence[int] = (1, 4),
    fails: bool = True,
) -> Path:
    """Write a run with a text wherever whoever wrote its files may choose one.

    Args:
        path: The run directory.
        text: Name of study and machine, a setting of each backend, why a meter and a repetition
            failed, ...
        backends, batch_sizes: Of the cells of alexnet.
        fails: Whether a repetition failed.
    """

    def chosen(record: Repetition) -> Repetition:
        cell = replace(record.cell, settings=(("mode", text),))
        if fails and record.block == 2:
            return failed(cell, record.block, Status.ERROR, text)
        energy = tuple(replace(figure, reason=text) for figure in record.energy)
        return replace(record, cell=cell, energy=energy, settings={"threads": 2, "mode": text})

    records = realistic_records(
        models=("alexnet",), backends=backends, batch_sizes=batch_sizes, spoil=chosen
    )
    members = study(("alexnet",), backends, batch_sizes)
    settings = {f"{backend}.mode": [text] for backend in backends}
    members |= {"name": text, "about": text, "artifacts_dir": text, "settings": settings}
    described = environment(meters_absent={"nvml": text})
    described["machine"] |= {"hostname": text, "cpu": text, "kernel": text}
    return write_run(path, records, members, described)
