"""Training runs: their dataset, and what searches, factors and correctness say of energy.

`greenbatch.analysis.training.correctness.correctness` and `greenbatch.analysis.training.factorial.
factorial` are named like their modules, and are imported from there.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenbatch.analysis.training.answers import saving_sentence
    from greenbatch.analysis.training.correctness import (
        Correctness,
        CorrectnessRow,
        environments,
    )
    from greenbatch.analysis.training.dataset import (
        compile_training,
        open_training,
        open_training_with_files,
        write_training_dataset,
    )
    from greenbatch.analysis.training.factorial import Factorial
    from greenbatch.analysis.training.merging import merge_training
    from greenbatch.analysis.training.report import write_training_report
    from greenbatch.analysis.training.searches import (
        SearchCurve,
        SearchRow,
        search_curves,
        search_rows,
    )

__all__ = [
    "Correctness",
    "CorrectnessRow",
    "Factorial",
    "SearchCurve",
    "SearchRow",
    "compile_training",
    "environments",
    "merge_training",
    "open_training",
    "open_training_with_files",
    "saving_sentence",
    "search_curves",
    "search_rows",
    "write_training_dataset",
    "write_training_report",
]

_HOMES = {
    "answers": ("saving_sentence",),
    "correctness": ("Correctness", "CorrectnessRow", "environments"),
    "dataset": (
        "compile_training",
        "open_training",
        "open_training_with_files",
        "write_training_dataset",
    ),
    "factorial": ("Factorial",),
    "merging": ("merge_training",),
    "report": ("write_training_report",),
    "searches": ("SearchCurve", "SearchRow", "search_curves", "search_rows"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
