"""The records of a journal: a finished repetition, an idle measurement, a capacity."""

import math
from dataclasses import dataclass, field
from typing import Literal

from greenbatch.records.cells import Cell, Flag, Status
from greenbatch.records.energy import EnergyFigure, IdleFigure

SCHEMA = 1
_FLAGS = frozenset(Flag(~Flag(0)).names)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """How long it took until latencies were stationary."""

    iterations: int
    duration_s: float
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the machine was like around a window; ``None`` is 'this machine does not report it'.

    Attributes:
        rest_s: How long the machine rested before the cell, in s.
        temperature_c: Temperature by sensor when the cell began, in degrees Celsius.
        clock_hz: Mean clock by device in the window, in Hz.
        power_limit_w: The lowest effective power limit in the window, by device.
        throttle_reasons: The reasons that a device gave for clocks lower than asked, but for its
            power limit.
        power_capped: Share of the window in which the power limit held the clock down, by device.
        utilization, memory_utilization: Share of the window in which the processors had work, and
            in which the device memory was read or written, by device.
        temperature_mean_c, temperature_end_c: Mean temperature in the window, and the temperature
            at its end, by device, in degrees Celsius.
        foreign_load: CPU time that others used in the window (stolen time included) over what
            the cores granted to this run offer; 0.1 is a tenth of them.
        memory_device_bytes: Highest device memory in use by anybody in the window, by device.
        foreign_processes: Other processes that held a device of this cell, and another run that
            measured on this machine (``host: ...``).
        processes_unknown: Why the processes on a device are not known, ``gpu-0: ...``; then there
            may have been others.
    """

    rest_s: float = 0.0
    temperature_c: dict[str, float] = field(default_factory=dict)
    clock_hz: dict[str, float] = field(default_factory=dict)
    power_limit_w: dict[str, float] = field(default_factory=dict)
    throttle_reasons: tuple[str, ...] = ()
    foreign_load: float | None = None
    memory_device_bytes: dict[str, int] = field(default_factory=dict)
    foreign_processes: tuple[str, ...] = ()
    processes_unknown: tuple[str, ...] = ()
    power_capped: dict[str, float] = field(default_factory=dict)
    utilization: dict[str, float] = field(default_factory=dict)
    memory_utilization: dict[str, float] = field(default_factory=dict)
    temperature_mean_c: dict[str, float] = field(default_factory=dict)
    temperature_end_c: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A backend's outputs against those of fp32 on ONNX Runtime's CPU provider, for equal images.

    Attributes:
        images: How many were compared.
        max_rel: Largest difference of a value over the largest absolute value of that output of
            the reference; ``None`` where no output holds values.
        cosine: Lowest cosine similarity of an image's output; ``None`` likewise.
        equal: Lowest share of an output's positions, or of its detections, that are the same;
            ``None`` where there are none.
        counts: How many rows the data decided in the last batch, by output.
        weak: Outputs whose values for these images are mostly rounding: agreement proves little.
    """

    images: int
    max_rel: float | None
    cosine: float | None
    equal: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    weak: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOff:
    """What a start cost before the steady state, once in the life of a process.

    Attributes:
        duration_s: From its begin to its end.
        energy: A figure for each domain, gross.
    """

    duration_s: float
    energy: tuple[EnergyFigure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AsPublished:
    """Energy by the estimator of a study that is repeated, to be held against ours.

    Mean power, the idle tail after the last batch included, times the window's length without it.

    Attributes:
        energy_j: By that estimator.
        domains: Which it is of.
        tail_s: How long power was read after the window.
    """

    energy_j: float
    domains: tuple[str, ...]
    tail_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What became of the requests of a server in its window.

    Attributes:
        requests: Planned to arrive in the window; the response times are theirs.
        unserved: Requests that were still waiting when a server that did not hold its rate was
            given up; the response times lack theirs.
        response_s: Quantiles of the time from planned arrival to result, keyed ``0.5``, ...; in s.
        response_mean_s: Their mean; ``None`` where none was served before an overloaded server was
            given up.
        busy_s: For how long a batch was running.
        batch_sizes: How many batches of which size were formed.
        waiting_mean, waiting_max: Requests that waited when a batch started, its own among them.
        lateness_s: Quantiles of how much later than planned requests were handed over, in s.
        growth_hz: By how much the queue grew each second: where the server is overloaded, what the
            rate exceeds it by.
        generator_cpu_s: CPU time of the process that let requests arrive.
        as_published: Where the study asks for it, and the energy is known.
    """

    requests: int
    response_s: dict[str, float]
    response_mean_s: float | None
    busy_s: float
    batch_sizes: dict[int, int]
    waiting_mean: float
    waiting_max: int
    lateness_s: dict[str, float]
    growth_hz: float
    generator_cpu_s: float
    as_published: AsPublished | None = None
    unserved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What became of images that were decoded and transformed in the window, before each batch.

    Attributes:
        images: So many, in the batches that began in the window.
        decode_s: Time from the bytes of their files to pixels.
        transform_s: Time from there to the backend's input.
        cpu_s: CPU time of both, of the one thread that did them.
        process_cpu_s: CPU time of the whole measuring process in the window, that one's included.
    """

    images: int
    decode_s: float
    transform_s: float
    cpu_s: float
    process_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why a cell is not measured again.

    Attributes:
        why: ``fixed``: as often as the study asks; ``target``: its interval is narrow enough;
            ``maximum``: it is not, after as many repetitions as the study allows; ``failed``: none
            of as many repetitions as the study asks was ok.
        quantity: What the interval is of, per image: gross energy, or time where no energy is
            known; ``None`` where the study has no target.
        half_width: Relative half-width of that interval, 0.02 for ± 2 %; ``None`` with fewer than
            two values.
    """

    why: Literal["fixed", "target", "maximum", "failed"]
    quantity: Literal["energy", "time"] | None = None
    half_width: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """A cell measured once in a fresh process.

    Attributes:
        kind: Distinguishes the journal's records.
        cell: What was measured.
        block: The repetition's number, from 0: a pass over all cells in shuffled order.
        position: The place in the block's order, from 0.
        status: How it ended.
        reason: Why it is not ok; one sentence.
        flags: Names of the flags that apply, see `Flag`.
        started_at: Wall time (ISO 8601, UTC); a label, never used for durations.
        duration_s, images, iterations: Of the window; of a server, the results that came in it
            and the batches that were started.
        latency_s: Quantiles of the latency of one batch, keyed ``0.5``, ``0.9``, ...; in s.
        energy: A figure for each domain.
        memory_host_bytes: Peak resident memory of the child.
        memory_children_bytes: Of the largest process that the child started (a compiler); 0: none.
        warm_up: See `WarmUp`.
        placement: Nodes by execution provider (or 1 by device where the runtime has no graph).
        settings: The effective ones: `greenbatch.records.FACTORS`, library versions as loaded, ...
        agreement: Of its outputs with the reference's, before it was timed.
        one_off: The costs of ``load`` (reading, compiling ahead, building an engine) and ``first``
            (the first inference, with what the runtime puts off until then).
        cache: Whether what the backend compiles was at hand: ``cold``, ``warm`` (kept from an
            earlier repetition of the cell), or ``None`` where it keeps nothing.
        queue: Of a server; ``None`` offline.
        pipeline: Where images were preprocessed in the window; else ``None``.
        attempt: 0, or how often the cell had been measured in this block before; those attempts
            were disturbed and are superseded by this one.
        stop: Why the cell is not measured in later blocks; ``None``: it is, or that is open.
        phases_s: Seconds of ``start`` (until the process had imported what it needs),
            ``load``, ``first`` (first inference), ``warm_up``, ``window``, ``wall`` (the whole
            repetition), and ``fork_server`` where the server that forks was started for it.
        trace: Name of the file in ``traces/``; ``None`` where nothing was measured.

    Raises:
        ValueError: An ok repetition without a window or latencies, or a failed one with no reason.
    """

    cell: Cell
    block: int
    position: int
    status: Status
    started_at: str
    kind: Literal["repetition"] = "repetition"
    reason: str | None = None
    flags: tuple[str, ...] = ()
    duration_s: float | None = None
    images: int | None = None
    iterations: int | None = None
    latency_s: dict[str, float] = field(default_factory=dict)
    energy: tuple[EnergyFigure, ...] = ()
    memory_host_bytes: int | None = None
    memory_children_bytes: int | None = None
    warm_up: WarmUp | None = None
    conditions: Conditions = field(default_factory=Conditions)
    placement: dict[str, int] = field(default_factory=dict)
    settings: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    agreement: Agreement | None = None
    one_off: dict[str, OneOff] = field(default_factory=dict)
    cache: Literal["cold", "warm"] | None = None
    queue: Queue | None = None
    pipeline: Pipeline | None = None
    attempt: int = 0
    stop: Stop | None = None
    phases_s: dict[str, float] = field(default_factory=dict)
    trace: str | None = None

    def __post_init__(self) -> None:
        if unknown := set(self.flags) - _FLAGS:
            raise ValueError(f"unknown flags: {', '.join(sorted(unknown))}")
        if self.status is not Status.OK:
            if not self.reason:
                raise ValueError(f"a repetition that ended {self.status} needs a reason")
            return
        if not self.duration_s or not math.isfinite(self.duration_s) or self.duration_s < 0:
            raise ValueError(f"duration_s is {self.duration_s}; an ok repetition has a window")
        if self.cell.is_server:
            if self.queue is None:
                raise ValueError("an ok repetition of a server has a queue")
        elif not self.iterations or self.images != self.iterations * self.cell.batch_size:
            raise ValueError("images must be iterations x batch size, and at least one")
        if not self.latency_s:
            raise ValueError("an ok repetition has latencies")

    @property
    def mask(self) -> Flag:
        """The flags as a bit mask."""
        mask = Flag(0)
        for name in self.flags:
            mask |= Flag[name.upper()]
        return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Idle power around a block, measured inside a child of ``backend`` with its model loaded.

    Attributes:
        settings: What was set on the backend, as in a `Cell`.
        settled: Whether the power of GPUs had settled when it began; ``None``: it was not waited
            for.
    """

    backend: str
    model: str
    block: int
    when: Literal["before", "after"]
    started_at: str
    duration_s: float
    figures: tuple[IdleFigure, ...]
    settings: tuple[tuple[str, str], ...] = ()
    settled: bool | None = None
    kind: Literal["idle"] = "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The largest batch that fits into memory, found by bisection in processes of their own.

    Attributes:
        cell: The cell at that batch size; at 1 where even that does not fit.
        fits: Whether the cell fits.
        smallest_failing: The smallest batch size that was tried and did not fit; ``None``: none.
        reason: What ended that one.
        ended: What ended the search before an answer, if something else than memory did. Larger
            batches than the cell's may fit; if it is at 1 and does not ``fit``, nothing is known.
    """

    cell: Cell
    fits: bool
    smallest_failing: int | None
    reason: str = ""
    ended: str = ""
    started_at: str = ""
    kind: Literal["capacity"] = "capacity"
