"""Runs of every kind: opened, merged and reported by what they hold."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset import store
from greenbatch.analysis.dataset.merging import Along, merge_datasets, run_names
from greenbatch.analysis.dataset.store import kind_of
from greenbatch.errors import RunError, UsageError

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.report.findings import InferenceReport
    from greenbatch.analysis.training.report.findings import TrainingReport


def open_runs(
    *runs: Path | str, along: Along | None = None, allow: Collection[str] = ()
) -> "xr.Dataset":
    """Open a run's dataset, or those of several runs as one; see `merge`.

    Args:
        runs: Directories of runs, or dataset files.
        along: As in `merge`.
        allow: As in `merge`.

    Returns:
        The dataset, loaded; no file stays open.

    Raises:
        UsageError: No run was given.
        RunError: A run cannot be read, or the runs are incompatible.
    """
    _register()
    if len(runs) == 1 and kind_of(runs[0]) == "inference":
        return store.open_run(runs[0])
    return merge(runs, along, allow)


def merge(
    runs: Sequence[Path | str], along: Along | None = None, allow: Collection[str] = ()
) -> "xr.Dataset":
    """Make one dataset of several runs.

    Runs on one machine, of one design, become more repetitions of it: numbered on, in the order
    of ``runs``, with the coordinates ``run`` and ``run_repetition``. Runs on several machines
    stand along a new first dimension ``machine``, by the hosts' names; what one of them
    has not measured is a hole (``not_run``, and not ``in_design``).

    Args:
        runs: Directories of runs, or dataset files of single runs.
        along: ``machine`` puts every run on a machine of its own, ``repetition`` takes all as
            repetitions of one design, ``run`` keeps all apart along a dimension ``run``, alike or
            not; ``None`` goes by the machines.
        allow: Names of facts that may differ; see `greenbatch.analysis.dataset.compatibility`.

    Returns:
        The dataset. ``attrs["parts"]`` has what `separate` needs, and the study and environment
        of each run; ``attrs["allowed_differences"]`` what differs all the same.

    Raises:
        UsageError: Fewer than one run, or an unknown ``along``.
        RunError: A run cannot be read, is given twice, or is merged already; or the runs are
            incompatible.
    """
    names = run_names(runs)
    kinds = {name: kind_of(run) for name, run in zip(names, runs, strict=True)}
    if len({*kinds.values()}) > 1:
        mixed = ", ".join(f"{name} of {kind}" for name, kind in kinds.items())
        raise RunError(f"incompatible runs: {mixed}; merge runs of one kind")
    if "training" in kinds.values():
        from greenbatch.analysis.training.dataset.merging import merge_training

        return merge_training(runs, along, allow)
    parts = dict(zip(names, (store.open_run(run) for run in runs), strict=True))
    return merge_datasets(parts, along, allow)


def write_report(
    run: Path,
    *,
    carbon_intensity: float | str | None = None,
    price: float | None = None,
    currency: str = "",
    timeline_batch: int | None = None,
    timeline_backend: str | None = None,
    metric: str | None = None,
    within: float | None = None,
    welch: bool = False,
    figures: bool = False,
) -> "InferenceReport | TrainingReport":
    """Compile a run and write its report.

    Args:
        run: The run directory; ``report/`` in it is written anew, ``dataset.nc``
            where it is out of date. Or a dataset file alone, for example a merged one:
            ``NAME-report/`` beside it is written, and says what a dataset lacks; of several
            machines or runs a report each, and a page that leads to them.
        carbon_intensity: In g CO2e per kWh, or a country or region as
            `greenbatch.analysis.intensity_of` takes it: the report then says what a million
            images emit, or a training or search.
        price: Of a kWh: the report then says what those cost.
        currency: Of the price.
        timeline_batch: Show networks by year also at this batch size, all at the same; of servers
            the largest batch of the policy.
        timeline_backend: The same, all on this backend.
        metric: Of trainings: by which correctness is judged, ``accuracy`` (the default), ``f1``,
            ``precision``, ``recall`` or ``auc``.
        within: Of trainings: how much less correct the greenest choice may be, as a share of the
            best; 0.01 where not given.
        welch: Of trainings: test means beside ranks, by Welch's analysis of variance and Games and
            Howell's pairs.
        figures: Of a dataset of several machines or runs of inference: write figures for print
            (SVG, PDF, PNG) of each; a single run always has them.

    Returns:
        ``page``, the path of ``index.html``, and ``findings``, what it shows.

    Raises:
        RunError: The run cannot be read or written to.
        FileError: A link is in it.
        UsageError: The intensity or the price is not positive; or a place is given and
            codecarbon is not installed; or no cell has the batch size of the timeline, or the run
            is one of trainings; or correctness is to be judged, and the run is one of inference or
            a search.
        UnknownNameError: The place or the metric is not known, or no cell has the backend of the
            timeline.
    """
    from greenbatch.analysis.findings.timeline import TimelineChoice
    from greenbatch.analysis.report import build
    from greenbatch.analysis.report.findings import InferenceReport
    from greenbatch.analysis.report.tables.tradeoffs import Footprint
    from greenbatch.analysis.training.findings.judge import judge_of
    from greenbatch.analysis.training.report import build as training_build
    from greenbatch.analysis.training.report.findings import TrainingReport

    run = Path(run)
    footprint = Footprint(carbon_intensity=carbon_intensity, price=price, currency=currency)
    choice = TimelineChoice(batch_size=timeline_batch, backend=timeline_backend)
    dataset = store.load_dataset(run) if run.is_file() else None
    kind = kind_of(run) if dataset is None else dataset.attrs.get("kind")
    judged = metric is not None or within is not None or welch
    if kind != "training":
        if judged:
            raise UsageError(
                f"{run} is no run of trainings: it has no correctness to judge; leave metric, "
                "within and welch out"
            )
        if dataset is not None:
            return build.report_of_file(run, dataset, footprint, choice, figures=figures)
        page, found = build.report_of_run(run, footprint, choice)
        return InferenceReport(page, {found.title: found})
    if choice:
        raise UsageError(
            f"a timeline {choice.words} is of networks that infer, and {run.name} is of trainings; "
            "leave out the batch and the backend of the timeline"
        )
    judge = judge_of(metric, within, welch=welch)
    if dataset is not None:
        return training_build.report_of_file(run, dataset, footprint, judge)
    page, trained = training_build.report_of_run(run, footprint, judge)
    return TrainingReport(page, {trained.title: trained})


def open_run(run: Path | str) -> "xr.Dataset":
    """Open the dataset of a run of inference, with the accessor ``gb``.

    See `greenbatch.analysis.dataset.store.open_run`.
    """
    _register()
    return store.open_run(run)


def _register() -> None:
    """Give datasets their accessor ``gb``."""
    import greenbatch.analysis.accessor  # noqa: F401
