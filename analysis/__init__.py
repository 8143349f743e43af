"""From a run's journal to a labelled dataset, tables, figures and a report.

Imports neither torch, onnxruntime nor NVML: a report can be made where none of them is.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenbatch.analysis.answers import Answer
    from greenbatch.analysis.caveats import Caveat, Severity
    from greenbatch.analysis.comparisons import (
        BestRow,
        ComparisonRow,
        Ratio,
        best_rows,
        comparison_rows,
    )
    from greenbatch.analysis.dataset import compile_dataset, open_run, write_dataset
    from greenbatch.analysis.one_off import (
        BreakEven,
        StartUp,
        break_even,
        break_evens,
        start_ups,
    )
    from greenbatch.analysis.report import write_report
    from greenbatch.analysis.statistics import Interval
    from greenbatch.analysis.tables import CellRow, cell_rows

__all__ = [
    "Answer",
    "BestRow",
    "BreakEven",
    "Caveat",
    "CellRow",
    "ComparisonRow",
    "Interval",
    "Ratio",
    "Severity",
    "StartUp",
    "best_rows",
    "break_even",
    "break_evens",
    "cell_rows",
    "comparison_rows",
    "compile_dataset",
    "open_run",
    "start_ups",
    "write_dataset",
    "write_report",
]

_HOMES = {
    "answers": ("Answer",),
    "caveats": ("Caveat", "Severity"),
    "comparisons": ("BestRow", "ComparisonRow", "Ratio", "best_rows", "comparison_rows"),
    "dataset": ("compile_dataset", "open_run", "write_dataset"),
    "one_off": ("BreakEven", "StartUp", "break_even", "break_evens", "start_ups"),
    "report": ("write_report",),
    "statistics": ("Interval",),
    "tables": ("CellRow", "cell_rows"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
