"""Find the runtime, precision and batch size that cost the least energy per image.

    run = greenbatch.bench(["alexnet"], providers=["cpu"], batch_sizes=[1, 8])
    dataset = greenbatch.open("runs/a")

What stands in ``__all__`` is the public interface; nothing heavy is imported before it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenbatch.analysis import write_report as report
    from greenbatch.analysis.runs import open_runs as open
    from greenbatch.errors import GreenbatchError
    from greenbatch.runners.metering.meter_context import Measurement, Meter
    from greenbatch.workflows.inference import Run, bench
    from greenbatch.workflows.resume import resume

__all__ = [
    "GreenbatchError",
    "Measurement",
    "Meter",
    "Run",
    "__version__",
    "bench",
    "open",
    "report",
    "resume",
]

_HOMES = {
    "GreenbatchError": ("greenbatch.errors", "GreenbatchError"),
    "Measurement": ("greenbatch.runners.metering.meter_context", "Measurement"),
    "Meter": ("greenbatch.runners.metering.meter_context", "Meter"),
    "Run": ("greenbatch.workflows.inference", "Run"),
    "bench": ("greenbatch.workflows.inference", "bench"),
    "open": ("greenbatch.analysis.runs", "open_runs"),
    "report": ("greenbatch.analysis", "write_report"),
    "resume": ("greenbatch.workflows.resume", "resume"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        from importlib import metadata  # slow, and submodules are asked for here too

        return metadata.version("greenbatch")
    if name not in _HOMES:
        raise AttributeError(f"module 'greenbatch' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
