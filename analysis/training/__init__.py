"""Training runs: their dataset, and what searches, factors and correctness say of energy.

`greenbatch.analysis.training.findings.correctness.correctness` and
`greenbatch.analysis.training.findings.factorial.factorial` are imported from there.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenbatch.analysis.training.dataset.merging import merge_training
    from greenbatch.analysis.training.dataset.store import (
        compile_training,
        open_training,
        open_training_with_files,
        write_training_dataset,
    )
    from greenbatch.analysis.training.findings.answers import saving_sentence
    from greenbatch.analysis.training.findings.correctness import Correctness, CorrectnessRow
    from greenbatch.analysis.training.findings.environments import environments, machines_compared
    from greenbatch.analysis.training.findings.factorial import Factorial
    from greenbatch.analysis.training.findings.searches import (
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
    "machines_compared",
    "merge_training",
    "open_training",
    "open_training_with_files",
    "saving_sentence",
    "search_curves",
    "search_rows",
    "write_training_dataset",
]

_HOMES = {
    "findings.answers": ("saving_sentence",),
    "findings.correctness": ("Correctness", "CorrectnessRow"),
    "findings.environments": ("environments", "machines_compared"),
    "dataset.store": (
        "compile_training",
        "open_training",
        "open_training_with_files",
        "write_training_dataset",
    ),
    "findings.factorial": ("Factorial",),
    "dataset.merging": ("merge_training",),
    "findings.searches": ("SearchCurve", "SearchRow", "search_curves", "search_rows"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
