"""The pages that the browser opens: the report of each kind of run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from greenbatch.analysis import write_report
from greenbatch.records import EnergySource, Idle
from tests.fakes import runs
from tests.fakes.report_text import without_figures
from tests.fakes.served_run import served_run
from tests.fakes.traced_run import traced_run
from tests.fakes.unlike_run import unlike_run

HOSTILE = "<script>alert(1)</script> & <b>$x^{</b>"
MODELS = ("alexnet", "densenet121")


class Pages:
    """Pages by the name of their run, each written when it is first opened."""

    def __init__(self, new_folder: Callable[[str], Path]) -> None:
        self._new_folder = new_folder
        self._written: dict[str, Path] = {}

    def __getitem__(self, name: str) -> Path:
        if name not in self._written:
            self._written[name] = _write(name, self._new_folder(name.replace(" ", "-")))
        return self._written[name]


def _write(name: str, folder: Path) -> Path:
    run = _RUNS[name.removesuffix(" with figures")](folder)
    if name.endswith(" with figures"):
        return write_report(run).page
    with pytest.MonkeyPatch.context() as patch:
        without_figures(patch)
        return write_report(run).page


def _partly_net(folder: Path) -> Path:
    """Of one backend the idle power is not known."""
    records = [
        record
        for record in runs.realistic_records(models=MODELS)
        if not (isinstance(record, Idle) and record.backend == "torch-cpu")
    ]
    return runs.write_run(folder, records, runs.study(MODELS, runs.BACKENDS, (1, 4, 16)))


_RUNS: dict[str, Callable[[Path], Path]] = {
    "estimated": lambda folder: traced_run(folder, EnergySource.ESTIMATED, models=MODELS),
    "missing": lambda folder: runs.realistic_run(folder, EnergySource.MISSING, models=MODELS),
    "partly net": _partly_net,
    "servers": lambda folder: served_run(folder, EnergySource.ESTIMATED, models=MODELS),
    "unlike": unlike_run,
    "hostile": lambda folder: runs.hostile_run(folder, HOSTILE, fails=False),
}
