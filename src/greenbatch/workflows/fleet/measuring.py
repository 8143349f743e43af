"""The process that measures one unit on a machine of a fleet.

``python -m greenbatch.workflows.fleet.measuring`` reads an assignment from standard input and
writes messages to standard output. The machine keeps a run folder of its own for the fleet, in the
user's state folder: what was measured is not measured again, whatever became of the client.
"""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from greenbatch.errors import (
    BackendUnavailable,
    GreenbatchError,
    MeasurementError,
    MeterUnavailable,
    RunError,
    first_line,
)
from greenbatch.runners.fleet.artifact_store import ArtifactStore
from greenbatch.runners.fleet.messages import (
    Assignment,
    Diagnosed,
    Ended,
    Lines,
    Message,
    Opened,
    Progressed,
    Step,
    decode_assignment,
    encode,
)

if TYPE_CHECKING:
    from greenbatch.design.study import Study
    from greenbatch.runners.run.directory import RunDirectory
    from greenbatch.runners.run.execute import Progress
    from greenbatch.runners.scheduling.schedule import Part

_KEPT_S = 30 * 24 * 3600.0
"""For how long the folders of a fleet stay on a machine after the last unit."""
_TRACE_BYTES = 100_000_000

Send = Callable[[Message], None]


class Refused(MeasurementError):
    """This machine cannot measure the study, however often it is tried."""


def measure_unit(assignment: Assignment, send: Send) -> Ended:
    """Measure what is left of a unit, and send each record as soon as it is on the disk.

    Args:
        assignment: What to measure.
        send: Receives the messages.

    Returns:
        How it ended; an error of this program is a reason, and is not raised.
    """
    ended = Ended(machine=assignment.machine, unit=assignment.unit, outcome="finished")
    os.environ["GB_MACHINE"] = assignment.machine  # the environment of the run names it so
    try:
        lines = _measure(assignment, send)
    except (BackendUnavailable, MeterUnavailable, Refused) as error:
        return msgspec.structs.replace(ended, outcome="refused", reason=str(error))
    except GreenbatchError as error:
        return msgspec.structs.replace(ended, outcome="failed", reason=str(error))
    return msgspec.structs.replace(ended, lines=lines)


def _measure(assignment: Assignment, send: Send) -> tuple[str, ...]:
    from greenbatch.runners.host.machine_lock import machine_for
    from greenbatch.runners.run import consent
    from greenbatch.runners.run.execute import execute
    from greenbatch.workflows.inference import Listener, check_backends, meters_for
    from greenbatch.workflows.study_artifacts import load_artifacts

    about = {"machine": assignment.machine, "unit": assignment.unit}

    def step(sentence: str) -> None:
        send(Step(**about, text=sentence))

    folder = _folder(assignment.fleet)
    artifacts_dir = folder / ("artifacts-control" if assignment.control else "artifacts")
    ArtifactStore().lay_out(assignment.files, artifacts_dir)
    _check_versions(assignment.environment)
    study = _study(assignment, artifacts_dir)
    if not assignment.trust:
        consent.require(study, f"the study of the fleet {assignment.fleet}")
    label = f"fleet {assignment.fleet}, {assignment.unit}"
    with machine_for(label, share=None, wait_s=assignment.wait_s, on_step=step) as machine:
        if assignment.diagnose:
            send(_diagnose(assignment, step))
        check_backends(study, Listener(on_step=step))
        artifacts = load_artifacts(study)
        with meters_for(study) as metering:
            kind = "control" if assignment.control else "runs"
            run = folder / kind / assignment.machine
            with _directory(run, study, metering) as directory:
                if problem := consent.remember(run, study):
                    step(problem)
                text = (run / "environment.json").read_text(encoding="utf-8")
                send(Opened(**about, environment=text))
                courier = _Courier(assignment, directory, send)
                courier.send_unknown()
                directory.on_append = courier.send
                with directory.resumable():
                    execute(
                        directory,
                        artifacts,
                        metering,
                        courier.progress,
                        step,
                        machine.neighbours,
                        _part(assignment, study),
                    )
        return tuple(courier.lines)


def _diagnose(assignment: Assignment, step: Callable[[str], None]) -> Diagnosed:
    """Look at the machine as ``gb doctor`` does, and try the backends of the fleet's study."""
    from greenbatch.runners.doctor import examine

    found = examine(step, assignment.diagnose)
    disturbing = [each.text for each in found.disturbances if each.disturbs]
    failing = [f"{each.name}: {each.reason}" for each in found.backends or () if not each.usable]
    return Diagnosed(
        machine=assignment.machine,
        unit=assignment.unit,
        report=json.dumps(found.as_data(), indent=2),
        findings=(*disturbing, *failing),
    )


def _folder(fleet: str) -> Path:
    """Return this machine's folder for a fleet; those of old fleets are removed."""
    from greenbatch.user_folders import state_folder

    every = state_folder("fleet")
    for old in every.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - old.lstat().st_mtime > _KEPT_S:
                shutil.rmtree(old, ignore_errors=True)
    folder = state_folder("fleet", fleet)
    os.utime(folder)
    return folder


def _study(assignment: Assignment, artifacts_dir: Path) -> "Study":
    """Read the study with the artifacts of this machine; its names are checked against it.

    Raises:
        Refused: It names something that this machine does not have.
    """
    from greenbatch.design.study import make_study
    from greenbatch.documents import DocumentError, parse_yaml_lines
    from greenbatch.runners.known import ThisMachine

    try:
        members, _ = parse_yaml_lines(assignment.study.encode())
        assert isinstance(members, dict)
        members["artifacts_dir"] = str(artifacts_dir)
        return make_study(members, "the study of the fleet", known=ThisMachine())
    except (DocumentError, GreenbatchError) as error:
        raise Refused(str(error)) from error


def _check_versions(wanted: Mapping[str, str]) -> None:
    """Refuse a machine whose software is not that of the others.

    Raises:
        Refused: A version differs.
    """
    from greenbatch.runners.run.environment import versions

    found = versions()
    differing = [
        f"{name} is {found.get(name, 'not installed')}, wanted {version}"
        for name, version in sorted(wanted.items())
        if found.get(name) != version
    ]
    if differing:
        raise Refused(f"its software differs from the fleet's: {'; '.join(differing[:3])}")


def _directory(run: Path, study: "Study", metering: object) -> "RunDirectory":
    """Begin the machine's run, or go on with it.

    Raises:
        Refused: The machine is no longer the one that it began on.
    """
    from greenbatch.runners.metering import Metering
    from greenbatch.runners.run.directory import RunDirectory
    from greenbatch.runners.run.environment import describe

    assert isinstance(metering, Metering)
    environment = describe(study, metering)
    if not (run / "study.yaml").exists():
        return RunDirectory.create(run, study, environment)
    try:
        RunDirectory.require_same(run, environment)
    except RunError as error:
        raise Refused(str(error)) from error
    return RunDirectory.resume(run, environment)


def _part(assignment: Assignment, study: "Study") -> "Part | None":
    from greenbatch.runners.scheduling.schedule import Part

    if assignment.blocks is None:
        return None
    by_slug = {cell.slug: cell for cell in study.cells()}
    elsewhere = frozenset((by_slug[slug], block) for slug, block in assignment.elsewhere)
    return Part(frozenset(assignment.blocks), elsewhere)


class _Courier:
    """Sends the journal lines of a unit, each with the trace that it names.

    Attributes:
        lines: Checksums of the unit's lines.
    """

    def __init__(self, assignment: Assignment, directory: "RunDirectory", send: Send) -> None:
        self._about = {"machine": assignment.machine, "unit": assignment.unit}
        self._blocks = assignment.blocks
        self._known = frozenset(assignment.known)
        self._run = directory.path
        self._send = send
        self.lines: list[str] = []

    def send_unknown(self) -> None:
        """Send what an earlier process measured of the unit and the client does not have."""
        from greenbatch.files import read_bytes
        from greenbatch.records.journal import MOST_BYTES

        path = self._run / "journal.jsonl"
        data = read_bytes(path, MOST_BYTES) if path.exists() else b""
        self.send(data, self._known)

    def send(self, data: bytes, known: Container[str] = ()) -> None:
        """Send lines that are on the disk, but for those that the client has."""
        from greenbatch.files import read_bytes
        from greenbatch.records import Repetition
        from greenbatch.records.journal import checksum_of, decode

        traces, lines = {}, []
        for line in data.splitlines(keepends=True):
            record = decode(line)
            block = getattr(record, "block", None)
            if block is not None and self._blocks is not None and block not in self._blocks:
                continue
            checksum = checksum_of(line)
            self.lines.append(checksum)
            if checksum in known:
                continue
            lines.append(line)
            if isinstance(record, Repetition) and record.trace:
                path = self._run / "traces" / record.trace
                if path.exists():
                    traces[record.trace] = read_bytes(path, _TRACE_BYTES)
        if lines:
            self._send(Lines(**self._about, data=b"".join(lines), traces=traces))

    def progress(self, progress: "Progress") -> None:
        """Report where the unit stands."""
        from greenbatch.records import Status

        last = progress.last
        failed = last is not None and last.status in (Status.ERROR, Status.TIMEOUT)
        self._send(
            Progressed(
                **self._about,
                done=progress.done,
                total=progress.total,
                left_s=progress.left_s,
                now=str(progress.next.cell) if progress.next else "",
                failure=(last.reason or "") if last is not None and failed else "",
            )
        )


def main() -> None:
    """Read an assignment, measure it, and report; standard output is for messages alone."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is not a message
    assignment = decode_assignment(sys.stdin.buffer.readline())
    try:
        ended = measure_unit(assignment, lambda message: _write(out.fileno(), encode(message)))
    except Exception as error:
        import traceback

        traceback.print_exc()
        reason = f"{type(error).__name__}: {first_line(error)}"
        ended = Ended(
            machine=assignment.machine, unit=assignment.unit, outcome="failed", reason=reason
        )
    _write(out.fileno(), encode(ended))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main()
