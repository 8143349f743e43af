"""Many networks at a time, each exported in a process of its own, within a bound of memory.

A network that fails, or takes all memory, costs its own export alone.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenbatch.errors import ArtifactError
from greenbatch.exporter.publishing import clear
from greenbatch.models import ModelSpec
from greenbatch.models.artifacts import read_manifest
from greenbatch.records import Manifest

GIB = 1 << 30

# Above the peak of every network that was measured (squeezenet1_1 to vit_l_16).
_BASE_BYTES = 1.7e9  # torch, torchvision, onnxscript, onnxruntime, and a small network
_PER_PARAMETER_BYTES = 11.0
_PER_PIXEL_BYTES = 4e3  # activations of the images that weights are drawn and proved on
# The same of networks that put out something for each pixel (peaks: deeplabv3_resnet101 8.7 GB,
# raft_large 4.8 GB), of detectors (keypointrcnn_resnet50_fpn 4.9 GB), and of those that attend to
# all pixels of a few frames (mvit_v2_s 14.7 GB, swin3d_b 15.0 GB).
_PER_PIXEL_BYTES_OF = {
    "segmentation": 24e3,
    "optical_flow": 11e3,
    "detection": 12e3,
    "video": 16e3,
}
_TICK_S = 0.2
_END_TIMEOUT_S = 5.0  # of a worker that gets a signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the export of one network ended.

    Attributes:
        model: Its name.
        verdict: ``proved``, ``up to date`` or ``failed``.
        reason: Why it failed, in a sentence.
        seconds: From the start of its process to its end.
        memory_peak_bytes: Of its process; ``None`` if there was none.
        manifest: Of its artifact; ``None`` if it failed.
        notes: What the process warned of.
        gpu_notes: What CUDA and TensorRT would leave to the CPU of its artifacts.
        exported: The precisions that were exported; the others were up to date.
        exit_code: Of its process.
    """

    model: str
    verdict: str
    reason: str = ""
    seconds: float = 0.0
    memory_peak_bytes: int | None = None
    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()
    gpu_notes: tuple[str, ...] = ()
    exported: tuple[str, ...] = ()
    exit_code: int = 0

    @property
    def good(self) -> bool:
        """Whether there is a proved artifact now."""
        return self.verdict != "failed"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to export many networks.

    Attributes:
        folder: Of the artifacts.
        command: From a model's name to the command line that exports it and prints a JSON line
            with ``precision``, ``up_to_date``, ``notes`` and ``gpu_notes`` for each artifact.
        jobs: How many at a time.
        memory_bytes: Bound on what all of them need together, as estimated; a network that needs
            more runs alone.
        threads: Of each process; ``None``: as many as there are cores.
        precision: Of the artifacts.
    """

    folder: Path
    command: Callable[[str], Sequence[str]]
    jobs: int
    memory_bytes: int
    threads: int | None = None
    precision: str = "fp32"


@dataclass(slots=True)
class _Worker:
    spec: ModelSpec
    process: "subprocess.Popen[str]"
    began_s: float = field(default_factory=time.perf_counter)


def cost(spec: ModelSpec) -> float:
    """Estimate how long an export takes beside others: for the time that is left, not in s."""
    return 1.0 + spec.parameters / 100e6 + (spec.flops or 0.0) / 10e9


def need_bytes(spec: ModelSpec) -> int:
    """Estimate the most memory that the export of a network takes at once, in bytes.

    Fitted from above to the peaks that exports of torchvision's networks were seen to have.
    """
    pixels = spec.input.height * spec.input.width * (spec.input.frames or 1)
    each = _PER_PIXEL_BYTES_OF.get(spec.family, _PER_PIXEL_BYTES)
    return int(_BASE_BYTES + _PER_PARAMETER_BYTES * spec.parameters + each * pixels)


class Fleet:
    """Exports networks in processes of their own.

    Attributes:
        memory_peak_bytes: The most that all processes had resident at once, as sampled.
    """

    def __init__(self, plan: Plan) -> None:
        self.memory_peak_bytes = 0
        self._plan = plan
        self._at_work: dict[str, _Worker] = {}

    @property
    def at_work(self) -> tuple[str, ...]:
        """The networks that are being exported."""
        return tuple(self._at_work)

    def run(
        self, specs: Sequence[ModelSpec], on_tick: Callable[[], None] = lambda: None
    ) -> Generator[Outcome, None, None]:
        """Export networks, and give each one's outcome as it ends.

        The next network in the order given that fits beside those at work is started. When the
        caller stops early, by an exception or by closing the generator, all processes are ended
        and what they had begun is removed.

        Args:
            specs: The networks.
            on_tick: Is called now and then while processes work.
        """
        waiting = list(specs)
        ended: queue.SimpleQueue[tuple[_Worker, Outcome]] = queue.SimpleQueue()
        try:
            while waiting or self._at_work:
                while spec := self._next(waiting):
                    waiting.remove(spec)
                    worker = self._at_work[spec.name] = _start(spec, self._plan)
                    threading.Thread(
                        target=_attend, args=(worker, self._plan, ended), daemon=True
                    ).start()
                try:
                    worker, outcome = ended.get(timeout=_TICK_S)
                except queue.Empty:
                    self._sample()
                    on_tick()
                    continue
                del self._at_work[worker.spec.name]
                self._saw(outcome.memory_peak_bytes or 0)
                yield outcome
        finally:
            _end(list(self._at_work.values()), self._plan.folder)
            self._at_work.clear()

    def _next(self, waiting: Sequence[ModelSpec]) -> ModelSpec | None:
        """Return the first network that may start now."""
        if len(self._at_work) >= self._plan.jobs:
            return None
        taken = sum(need_bytes(worker.spec) for worker in self._at_work.values())
        free = self._plan.memory_bytes - taken
        alone = waiting[0] if waiting and not self._at_work else None
        return next((spec for spec in waiting if need_bytes(spec) <= free), alone)

    def _sample(self) -> None:
        import psutil

        resident = 0
        for worker in self._at_work.values():
            with contextlib.suppress(psutil.Error):
                resident += psutil.Process(worker.process.pid).memory_info().rss
        self._saw(resident)

    def _saw(self, resident_bytes: int) -> None:
        self.memory_peak_bytes = max(self.memory_peak_bytes, resident_bytes)


def _start(spec: ModelSpec, plan: Plan) -> _Worker:
    environment = dict(os.environ)
    if plan.threads is not None:
        environment["OMP_NUM_THREADS"] = str(plan.threads)
    process = subprocess.Popen(
        list(plan.command(spec.name)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,  # Ctrl-C is ours: we end the workers, and wait for them
    )
    return _Worker(spec, process)


def _attend(
    worker: _Worker, plan: Plan, ended: "queue.SimpleQueue[tuple[_Worker, Outcome]]"
) -> None:
    """Read what a worker prints until it ends, and report how it ended."""
    process = worker.process
    errors: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as printed, process.stderr as complained:
        reader = threading.Thread(target=lambda: errors.extend(complained), daemon=True)
        reader.start()
        lines = [line for line in printed if line.strip()]
        reader.join()
    _, status, usage = os.wait4(process.pid, 0)  # this one knows the peak of its memory
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.put((worker, _judge(worker, plan, lines, errors, _peak_bytes(usage.ru_maxrss))))


def _peak_bytes(maxrss: int) -> int:
    return maxrss if sys.platform == "darwin" else maxrss * 1024


def _judge(
    worker: _Worker, plan: Plan, lines: Sequence[str], errors: Sequence[str], peak_bytes: int
) -> Outcome:
    name, code = worker.spec.name, worker.process.returncode
    seconds = time.perf_counter() - worker.began_s
    reason, manifest = "", None
    events = list(_events(lines))
    if code == 0:
        try:
            manifest = read_manifest(plan.folder, name, plan.precision)
            if not events:
                raise ValueError("it printed no result")
        except (ArtifactError, ValueError) as error:
            reason = f"its process ended well but left no proof: {error}"
    else:
        reason = _reason(code, errors, peak_bytes)
    return Outcome(
        model=name,
        verdict="failed" if reason else "proved",
        reason=reason,
        seconds=seconds,
        memory_peak_bytes=peak_bytes,
        manifest=manifest,
        notes=_sentences(events, "notes"),
        gpu_notes=_sentences(events, "gpu_notes"),
        exported=tuple(event["precision"] for event in events if not event["up_to_date"]),
        exit_code=code,
    )


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Read the results that a worker prints; what a user's own module prints is skipped."""
    for line in lines:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and "verdict" in event:
                yield event


def _sentences(events: Iterable[dict[str, Any]], key: str) -> tuple[str, ...]:
    """Return what the results of a worker say under a key, each sentence once."""
    return tuple(dict.fromkeys(sentence for event in events for sentence in event[key]))


def _reason(code: int, errors: Sequence[str], peak_bytes: int) -> str:
    """Say why a worker failed: its own last sentence, or the signal that ended it."""
    if code == -signal.SIGKILL:
        return (
            f"its process was killed at {peak_bytes / GIB:.1f} GiB, most likely because the "
            "memory was full; give fewer --jobs or export it alone"
        )
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-code).name}; export it alone to see"
    lines = [line.strip() for line in errors if line.strip()]
    own = [line.removeprefix("gb: ") for line in lines if line.startswith("gb: ")]
    return (own or lines or [f"its process ended with {code}; export it alone to see why"])[-1]


def _end(workers: Sequence[_Worker], folder: Path) -> None:
    """End processes, gently first, and remove what they had begun."""
    for number in (signal.SIGINT, signal.SIGKILL):
        for worker in workers:
            if worker.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, number)
        deadline = time.monotonic() + _END_TIMEOUT_S
        while time.monotonic() < deadline:
            if all(worker.process.returncode is not None for worker in workers):
                break
            time.sleep(0.02)
    for worker in workers:
        clear(folder, worker.spec.name)
