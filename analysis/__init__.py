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
    from greenbatch.analysis.crossovers import Crossover, crossover
    from greenbatch.analysis.dataset import compile_dataset, open_run, write_dataset
    from greenbatch.analysis.footprint import carbon_and_cost, intensity_of
    from greenbatch.analysis.intervals import Interval, mean, median, ratio
    from greenbatch.analysis.labelled_intervals import Figure, figure_of, intervals_of, ratios_of
    from greenbatch.analysis.one_off import (
        BreakEven,
        StartUp,
        break_even,
        break_evens,
        start_ups,
    )
    from greenbatch.analysis.recommendation import Choice, Recommendation, recommend
    from greenbatch.analysis.recommendation_search import Limits
    from greenbatch.analysis.report import write_report
    from greenbatch.analysis.service_curves import ServiceCurve, read_service_curves
    from greenbatch.analysis.statistics import Summary
    from greenbatch.analysis.tables import CellRow, cell_rows
    from greenbatch.analysis.tidy_table import tidy
    from greenbatch.analysis.tradeoffs import BestBatch, best_batch, energy_delay_product, pareto
    from greenbatch.analysis.turning_points import Knee, Saturation, knee, saturation
    from greenbatch.analysis.verdicts import CellVerdict, Judgement, Side, Verdict, judge

__all__ = [
    "Answer",
    "BestBatch",
    "BestRow",
    "BreakEven",
    "Caveat",
    "CellRow",
    "CellVerdict",
    "Choice",
    "ComparisonRow",
    "Crossover",
    "Figure",
    "Interval",
    "Judgement",
    "Knee",
    "Limits",
    "Ratio",
    "Recommendation",
    "Saturation",
    "ServiceCurve",
    "Severity",
    "Side",
    "StartUp",
    "Summary",
    "Verdict",
    "best_batch",
    "best_rows",
    "break_even",
    "break_evens",
    "carbon_and_cost",
    "cell_rows",
    "comparison_rows",
    "compile_dataset",
    "crossover",
    "energy_delay_product",
    "figure_of",
    "intensity_of",
    "intervals_of",
    "judge",
    "knee",
    "mean",
    "median",
    "open_run",
    "pareto",
    "ratio",
    "ratios_of",
    "read_service_curves",
    "recommend",
    "saturation",
    "start_ups",
    "tidy",
    "write_dataset",
    "write_report",
]

_HOMES = {
    "answers": ("Answer",),
    "caveats": ("Caveat", "Severity"),
    "comparisons": ("BestRow", "ComparisonRow", "Ratio", "best_rows", "comparison_rows"),
    "crossovers": ("Crossover", "crossover"),
    "dataset": ("compile_dataset", "open_run", "write_dataset"),
    "footprint": ("carbon_and_cost", "intensity_of"),
    "intervals": ("Interval", "mean", "median", "ratio"),
    "labelled_intervals": ("Figure", "figure_of", "intervals_of", "ratios_of"),
    "one_off": ("BreakEven", "StartUp", "break_even", "break_evens", "start_ups"),
    "recommendation": ("Choice", "Recommendation", "recommend"),
    "recommendation_search": ("Limits",),
    "report": ("write_report",),
    "service_curves": ("ServiceCurve", "read_service_curves"),
    "statistics": ("Summary",),
    "tables": ("CellRow", "cell_rows"),
    "tidy_table": ("tidy",),
    "tradeoffs": ("BestBatch", "best_batch", "energy_delay_product", "pareto"),
    "turning_points": ("Knee", "Saturation", "knee", "saturation"),
    "verdicts": ("CellVerdict", "Judgement", "Side", "Verdict", "judge"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
