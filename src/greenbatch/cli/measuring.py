"""What `gb bench`, `train`, `tune`, `study run` and `resume` share: measure, then print the answer.

The kind of a study decides how it is measured and what is printed; that choice is made here alone.
"""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import typer

from greenbatch import units
from greenbatch.cli.output.next_steps import suggest_again, suggest_policy
from greenbatch.cli.output.printing import note
from greenbatch.errors import MeasurementError
from greenbatch.records import Status

if TYPE_CHECKING:
    from greenbatch.design.presets import AnyStudy
    from greenbatch.design.study import Study
    from greenbatch.design.training_study import TrainingStudy
    from greenbatch.workflows.inference import Run

PARTLY_FAILED = 4  # exit code of a run in which repetitions failed and others were measured
_FAILED = (Status.ERROR, Status.TIMEOUT, Status.UNSUPPORTED)
_NAMED = 3


class Sharing(TypedDict, total=False):
    """What to do where another run measures on this machine.

    Attributes:
        share_machine: Measure beside another run; what is measured is flagged as disturbed.
        wait_machine_s: How long to wait for another run on this machine to end, in s.
    """

    share_machine: bool
    wait_machine_s: float


def measure(
    design: "AnyStudy",
    path: Path,
    as_json: bool,
    *,
    trust: bool = False,
    **sharing: Unpack[Sharing],
) -> None:
    """Measure a study in a new run, and print the answer.

    Args:
        design: The study, of either kind.
        path: The run's directory.
        as_json: Print the answer as JSON.
        trust: Run the code that the study names.
        **sharing: See `Sharing`.

    Raises:
        MeasurementError: Nothing could be measured.
    """
    from greenbatch.design.study import Study

    if isinstance(design, Study):
        _inference(design, path, as_json, trust=trust, **sharing)
    else:
        _trainings(design, path, as_json, trust=trust, **sharing)


def resume_run(
    path: Path, as_json: bool, *, trust: bool = False, **sharing: Unpack[Sharing]
) -> None:
    """Resume an interrupted run of any kind, and print the answer; see `measure`.

    Raises:
        RunError: There is no run in ``path``, or it cannot be resumed on this machine.
        MeasurementError: Nothing could be measured.
    """
    from greenbatch.runners.run.directory import holds_trainings

    if holds_trainings(path):
        _trainings(None, path, as_json, trust=trust, **sharing)
    else:
        _inference(None, path, as_json, trust=trust, **sharing)


def require_consent(
    design: "AnyStudy", file: Path, members: "Mapping[str, object] | None" = None
) -> None:
    """Refuse a study file that names code, unless it is that of a run that the user began here.

    Args:
        design: The study.
        file: It came from.
        members: What stands in the file, where the user changed some of it.
    """
    from greenbatch.runners.run import consent

    run = file.parent if file.name == "study.yaml" else None
    consent.require(design, f"the study {file}", run=run, members=members)


def _inference(
    design: "Study | None", path: Path, as_json: bool, *, trust: bool, **sharing: Unpack[Sharing]
) -> None:
    from greenbatch.cli.output.inference import run_as_json, show_run
    from greenbatch.cli.output.progress import Display
    from greenbatch.workflows import inference

    if design:
        note_recordings(design)
        if design.images:
            _note_images(design)
    with _resumable(path, "repetitions"), Display() as display:
        if design:
            run = inference.run_study(design, path, display.listener, trust=trust, **sharing)
        else:
            run = inference.resume(path, display.listener, trust=trust, **sharing)
    if as_json:
        typer.echo(run_as_json(run.path, run.findings, run.report))
    else:
        show_run(run.findings, run.report)
        suggest_again(run.path)
        suggest_policy(run.path, run.findings.cells)
    if not run.measured:
        reason = next(iter(run.repetitions)).reason
        raise MeasurementError(
            f"no repetition of {run.path} could be measured; the first: {reason}"
        )
    _end(run)


def _end(run: "Run") -> None:
    """End with a sentence and a code of its own where repetitions failed.

    A batch that does not fit into memory, and larger ones that are not tried then, are findings.
    """
    failed = [each for each in run.repetitions if each.status in _FAILED]
    if failed:
        cells = dict.fromkeys(f"{each.cell.model} on {each.cell.how}" for each in failed)
        named = ", ".join(list(cells)[:_NAMED]) + (", ..." if len(cells) > _NAMED else "")
        note(
            f"{len(failed)} of {units.count(len(run.repetitions), 'repetition')} failed ({named}); "
            f"the first: {failed[0].reason}"
        )
        raise typer.Exit(PARTLY_FAILED)


def _trainings(
    design: "TrainingStudy | None",
    path: Path,
    as_json: bool,
    *,
    trust: bool,
    **sharing: Unpack[Sharing],
) -> None:
    from greenbatch.cli.output.searches import searches_as_json, show_searches
    from greenbatch.cli.output.training import show_trainings, trainings_as_json
    from greenbatch.cli.output.training_progress import TrainingDisplay
    from greenbatch.runners.run.directory import open_training_study
    from greenbatch.workflows import training

    search = (design or open_training_study(path)).search
    with _resumable(path, "trainings and epochs"), TrainingDisplay() as display:
        listener = display.training_listener
        if design:
            run = training.run_training(design, path, listener, trust=trust, **sharing)
        else:
            run = training.resume_training(path, listener, trust=trust, **sharing)
    if as_json:
        typer.echo(searches_as_json(run, search) if search else trainings_as_json(run))
    else:
        if search:
            show_searches(run, search)
        else:
            show_trainings(run)
        suggest_again(run.path)
    if not run.measured:
        reason = next((each.reason for each in run.trainings), "there was none")
        raise MeasurementError(
            f"no {'trial' if search else 'training'} of {run.path} completed; the first: {reason}"
        )


@contextmanager
def _resumable(path: Path, what: str) -> Iterator[None]:
    """Name, where the user interrupts a run that was begun, the command that resumes it."""
    try:
        yield
    except KeyboardInterrupt:
        if not (path / "study.yaml").exists():
            raise
        command = shlex.join(["gb", "resume", str(path)])
        raise KeyboardInterrupt(f"finished {what} are kept; resume with: {command}") from None


def _note_images(design: "Study") -> None:
    """Note on standard error, before anything is measured, what the folder of images lacks."""
    from greenbatch.analysis.findings.caveats import image_caveats

    largest = max(cell.batch_size for cell in design.cells())
    for caveat in image_caveats(design.images, largest):
        note(caveat.sentence)


def note_recordings(design: "Study") -> None:
    """Note on standard error what must be known of recorded arrivals."""
    from greenbatch.queueing.arrivals import Replay, is_replay, parse_arrivals

    for text in filter(is_replay, design.arrivals):
        replay = parse_arrivals(text)
        for sentence in replay.recording.notes if isinstance(replay, Replay) else ():
            note(sentence)
