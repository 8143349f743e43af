"""The messages between a parent and the child that measures: one JSON object a line.

A line is ``{"version": 1, "kind": "Warm", "fields": {"window_s": 2.0}}``. The sender checks it, and
so does the receiver: every field is there, has its type, and there is no other field. Instants are
on `time.perf_counter`, which every process of a machine shares.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError

from greenbatch.design.images import ImageSet
from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.documents import parse_json
from greenbatch.errors import MessageError
from greenbatch.records import Agreement, Cell, Pipeline, Queue, Status, WarmUp
from greenbatch.runners.backends.options import Setting

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

VERSION = 1
_ENVELOPE = {"version", "kind", "fields"}
_SHOWN = 60  # characters of what was received, in a sentence


def _in_order(stretch: tuple[float, float]) -> tuple[float, float]:
    if stretch[1] < stretch[0]:
        raise ValueError("it ends before it begins")
    return stretch


Stretch = Annotated[tuple[float, float], AfterValidator(_in_order)]
"""Begin and end of a stretch of time, in s."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Message:
    """One line between parent and child."""

    __pydantic_config__: ClassVar[ConfigDict] = {
        "strict": True,
        "extra": "forbid",
        "allow_inf_nan": False,
        "ser_json_inf_nan": "constants",
    }


MessageT = TypeVar("MessageT", bound=Message)


def encode(message: Message) -> bytes:
    """Write a message as a line.

    Raises:
        MessageError: A field has not its type, or a number is not finite.
    """
    kind, adapter = type(message).__name__, adapter_of(type(message))
    try:
        fields = adapter.dump_json(message, warnings="error")
        adapter.validate_json(fields)
    except ValueError as error:  # pydantic's errors among them
        raise MessageError(f"cannot send {kind}: {_cause(error)}") from error
    return b'{"version": %d, "kind": "%s", "fields": %s}\n' % (VERSION, kind.encode(), fields)


def decode(line: bytes, *kinds: type[MessageT]) -> MessageT:
    """Read a line.

    Args:
        line: As `encode` writes it.
        kinds: The messages that can come now.

    Raises:
        MessageError: It is another message, or none, or of another version; a field is missing,
            unknown or has another type.
    """
    wanted = " or ".join(kind.__name__ for kind in kinds)
    try:
        members = parse_json(line)
    except ValueError:
        members = None
    if not isinstance(members, dict) or members.keys() != _ENVELOPE:
        raise MessageError(f"got {_shown(line.decode(errors='replace'))}, wanted {wanted} as JSON")
    if members["version"] != VERSION:
        raise MessageError(
            f"got a message of version {_shown(members['version'])}, wanted {VERSION}; install "
            "greenbatch again"
        )
    kind = next((kind for kind in kinds if kind.__name__ == members["kind"]), None)
    if kind is None:
        raise MessageError(f"got the message {_shown(members['kind'])}, wanted {wanted}")
    try:
        message = adapter_of(kind).validate_json(json.dumps(members["fields"]))
    except ValidationError as error:
        raise MessageError(f"got an invalid {kind.__name__}: {_cause(error)}") from error
    assert isinstance(message, kind)
    return message


_adapters: dict[type[Message], TypeAdapter[Message]] = {}


def adapter_of(kind: type[Message]) -> TypeAdapter[Message]:
    """Return what checks a message; to make it takes milliseconds, and is done once."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _cause(error: ValueError) -> str:
    """Say which field is wrong, what it is and what was wanted."""
    if not isinstance(error, ValidationError):
        return str(error).partition("\n")[0]
    fault: ErrorDetails = error.errors(include_url=False)[0]
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "unexpected_keyword_argument":
        return f"{where} is unknown"
    got = _shown(fault["input"])
    return f"{where + ' is ' if where else ''}{got}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Message):
    """What a parent asks of its child, after an `Order`.

    Attributes:
        events: The messages that may come before its result.
    """

    events: ClassVar[Iterable[type[Message]]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Message):
    """A job; the child gets ready for it before it is sent the job's request.

    Attributes:
        job: One of `greenbatch.runners.child.jobs.JOBS`.
        backend: Its name.
    """

    job: str
    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Message):
    """The child has imported what the backend needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Message):
    """The child ends without a result.

    Attributes:
        status: How.
        reason: One sentence.
        disk: What is the matter with the disk, if it is full, read-only or faulty.
    """

    status: Status
    reason: str
    disk: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed(Message):
    """Why a backend cannot run on this machine; ``None`` if it can."""

    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried(Message):
    """What came of a one-node network on a backend.

    Attributes:
        reason: Why it does not run; ``None`` if it does.
        placement: Nodes by execution provider, or results by device.
        trial_s: Since the process began; ``None`` where it does not run.
    """

    reason: str | None
    placement: dict[str, int]
    trial_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a child is to load; see `greenbatch.runners.backends.Task`.

    Attributes:
        cell: What is measured.
        artifact, manifest, weights: Files.
        source: What a network of the user's own came from; else empty.
        threads: Of work on the CPU.
        seed: Of synthetic images, and of the order of those of a folder.
        images: Those of the study; ``None``: synthetic ones.
        preprocessing: When images are decoded and transformed.
        allow_fallback: Let nodes run elsewhere than requested.
        cache: Folder for what the backend compiles; ``None``: nothing is kept.
    """

    cell: Cell
    artifact: Path
    manifest: Path
    weights: Path
    source: str
    threads: int
    seed: int
    images: ImageSet | None
    preprocessing: Literal["before", "pipeline"]
    allow_fallback: bool
    cache: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Message):
    """The network is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idling(Message):
    """Nothing runs any more; idle power is measured once the parent has answered `Settled`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(Message):
    """Power has settled, or was waited for long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm(Message):
    """The warm-up has ended: the window begins after the lead.

    Attributes:
        window_s: How long it is going to be, in s.
    """

    window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Message):
    """The window has just ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRepetition(Request):
    """Measure a cell once; answered by `Measured`.

    Where that says that the network goes on, another may follow, of a cell that differs in the
    batch size alone.

    Attributes:
        load: What is measured.
        reference: File of the logits that the backend's are compared with.
        arithmetic: File of those of the same artifact in float32, where it is int8 on a CPU.
        protocol: The rules.
        window_s, lead_s: Length of the window, and of the lead in which it is kept warm, in s.
        arrivals_seed: Of a server's requests.
        tail_s: How long a server's window is followed by silence, in s.
        idle_before_s, idle_after_s: Lengths of idle measurements, in s; 0: none.
        settles: Whether idle power takes its time to settle, see `Idling`.
        arrays: File to save the trace's arrays to.
    """

    events: ClassVar = (Loaded, Idling, Warm, Ended)

    load: Load
    reference: Path
    arithmetic: Path | None
    protocol: MeasurementProtocol
    window_s: float
    lead_s: float
    arrivals_seed: int
    tail_s: float
    idle_before_s: float
    idle_after_s: float
    settles: bool
    arrays: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Message):
    """What a child reports at its end, of an inference as of a training.

    Attributes:
        pid: Its process id.
        window: The stretch of time that was measured.
        cpu_s: CPU time that it used in the window.
        memory_host_bytes: Its peak resident memory.
        settings: The effective ones.
        phases_s: Seconds by phase.
        gpu_uuid: Of the GPU that it computed on, as the CUDA driver reports it; ``None`` on
            another device, or where the driver does not report it.
    """

    pid: int
    window: Stretch
    cpu_s: float
    memory_host_bytes: int | None
    settings: dict[str, Setting]
    phases_s: dict[str, float]
    gpu_uuid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFigures:
    """What a scenario counted in its window; see `greenbatch.records.Repetition`.

    Attributes:
        iterations, images, latency_s, queue, pipeline: As in the record.
        steady: Whether the window's halves agree.
        overloaded, late: Of a server: it did not hold its rate; requests came late.
    """

    iterations: int
    images: int
    latency_s: dict[str, float]
    steady: bool
    overloaded: bool
    late: bool
    queue: Queue | None
    pipeline: Pipeline | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Finished):
    """A repetition; see `greenbatch.records.Repetition`.

    Attributes:
        figures: Of the window.
        idle: Stretches of idle power beside it.
        one_off: Stretches of loading, if the network was loaded for it, and of the first inference.
        cache: Whether what the backend compiles was at hand.
        agreement: Of its logits with the reference's.
        warm_up: Before the window.
        memory_children_bytes: Peak of the largest process that it started.
        placement: Nodes by execution provider, or by device.
        fell_back: Whether something ran elsewhere than requested.
        goes_on: Whether the network that is loaded can run another batch size next.
        was_loaded: Whether the network was loaded for it. If not, the process ran another batch
            size before, and its peaks of memory are also of that.
    """

    figures: WindowFigures
    idle: dict[Literal["before", "after"], Stretch]
    one_off: dict[Literal["load", "first"], Stretch]
    cache: Literal["cold", "warm"] | None
    agreement: Agreement
    warm_up: WarmUp
    memory_children_bytes: int | None
    placement: dict[str, int]
    fell_back: bool
    goes_on: bool
    was_loaded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TryBatch(Request):
    """Load a network and run its batch twice; answered by `Fits`."""

    load: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Fits(Message):
    """The batch fits into memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeReference(Request):
    """Save a backend's logits of the first images to ``out``; answered by `Made`."""

    load: Load
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Made(Message):
    """The reference is saved."""
