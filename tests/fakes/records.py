"""Records with something in each member."""

from typing import Any

from greenbatch.records import (
    Cell,
    EnergyFigure,
    EnergySource,
    Idle,
    IdleFigure,
    Repetition,
    Status,
)

CELL = Cell("alexnet", "onnxruntime-cpu", batch_size=8)


def repetition(**changes: Any) -> Repetition:
    members: dict[str, Any] = {
        "cell": CELL,
        "block": 0,
        "position": 2,
        "status": Status.OK,
        "started_at": "2026-01-01T00:00:00+00:00",
        "duration_s": 2.0,
        "iterations": 10,
        "images": 80,
        "latency_s": {"0.5": 0.2},
        "energy": (
            EnergyFigure(
                domain="gpu-0", source=EnergySource.COUNTER, energy_j=4.0, uncertainty_j=0.1
            ),
            EnergyFigure(domain="dram-0", source=EnergySource.MISSING, reason="no such zone"),
        ),
        "flags": ("unsteady", "disturbed"),
    }
    return Repetition(**(members | changes))


IDLE = Idle(
    backend="onnxruntime-cpu",
    model="alexnet",
    block=0,
    when="before",
    started_at="2026-01-01T00:00:00+00:00",
    duration_s=1.0,
    figures=(IdleFigure(domain="gpu-0", source=EnergySource.COUNTER, power_w=30.0),),
)
