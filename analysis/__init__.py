"""From a run's journal to a labelled dataset, tables, figures and a report.

dataset/     a run's files as arrays        statistics/      intervals, tests, models
findings/    what the arrays say            tradeoffs/       fronts, crossovers, turning points
report/      pages, tables, figures         recommendation/  which policy for which traffic
training/    the same for trainings         accessor         ``dataset.gb``

Imports neither torch, onnxruntime nor NVML: a report can be made where none of them is.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenbatch.analysis.dataset.store import compile_dataset, write_dataset
    from greenbatch.analysis.dataset.tidy import tidy
    from greenbatch.analysis.findings.answers import Answer
    from greenbatch.analysis.findings.caveat import Caveat, Severity
    from greenbatch.analysis.findings.cells import CellRow, cell_rows
    from greenbatch.analysis.findings.comparisons import (
        BestRow,
        ComparisonRow,
        Ratio,
        best_rows,
        comparison_rows,
    )
    from greenbatch.analysis.findings.startup import (
        BreakEven,
        StartUp,
        break_even,
        break_evens,
        start_ups,
    )
    from greenbatch.analysis.findings.verdicts import CellVerdict, Judgement, Side, Verdict, judge
    from greenbatch.analysis.recommendation.choices import Choice
    from greenbatch.analysis.recommendation.limits import Limits
    from greenbatch.analysis.recommendation.recommend import Recommendation, recommend
    from greenbatch.analysis.recommendation.service_curves import ServiceCurve, read_service_curves
    from greenbatch.analysis.runs import open_run, write_report
    from greenbatch.analysis.statistics.by_dimension import (
        Figure,
        figure_of,
        intervals_of,
        ratios_of,
    )
    from greenbatch.analysis.statistics.intervals import Interval, interval, ratio, ratio_of_runs
    from greenbatch.analysis.tradeoffs.best_batch import BestBatch, best_batch
    from greenbatch.analysis.tradeoffs.crossovers import Crossover, crossover
    from greenbatch.analysis.tradeoffs.footprint import carbon_and_cost, intensity_of
    from greenbatch.analysis.tradeoffs.pareto import energy_delay_product, pareto
    from greenbatch.analysis.tradeoffs.turning_points import Knee, Saturation, knee, saturation

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
    "interval",
    "intervals_of",
    "judge",
    "knee",
    "open_run",
    "pareto",
    "ratio",
    "ratio_of_runs",
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
    "findings.answers": ("Answer",),
    "findings.caveats": ("Caveat", "Severity"),
    "findings.comparisons": ("BestRow", "ComparisonRow", "Ratio", "best_rows", "comparison_rows"),
    "tradeoffs.crossovers": ("Crossover", "crossover"),
    "dataset.store": ("compile_dataset", "write_dataset"),
    "tradeoffs.footprint": ("carbon_and_cost", "intensity_of"),
    "statistics.intervals": ("Interval", "interval", "ratio", "ratio_of_runs"),
    "statistics.by_dimension": ("Figure", "figure_of", "intervals_of", "ratios_of"),
    "findings.startup": ("BreakEven", "StartUp", "break_even", "break_evens", "start_ups"),
    "recommendation.choices": ("Choice",),
    "recommendation.recommend": ("Recommendation", "recommend"),
    "recommendation.limits": ("Limits",),
    "runs": ("open_run", "write_report"),
    "recommendation.service_curves": ("ServiceCurve", "read_service_curves"),
    "findings.cells": ("CellRow", "cell_rows"),
    "dataset.tidy": ("tidy",),
    "tradeoffs.best_batch": ("BestBatch", "best_batch"),
    "tradeoffs.pareto": ("energy_delay_product", "pareto"),
    "tradeoffs.turning_points": ("Knee", "Saturation", "knee", "saturation"),
    "findings.verdicts": ("CellVerdict", "Judgement", "Side", "Verdict", "judge"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
