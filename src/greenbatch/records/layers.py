"""What ``gb layers`` measured: windows of a network and its parts, and times of its operators."""

import json
from dataclasses import asdict, dataclass, field

from greenbatch.records.energy import EnergyFigure, IdleFigure

SCHEMA = 1

WHOLE = "whole"
"""The window of the network as it is."""

PROFILED = "profiled"
"""The window of the same network with the profiler at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """The time of one operator in a profiled window.

    Attributes:
        name: The runtime's own.
        operator: Its kind: ``Conv``, ``aten::conv2d``, ...
        layer: Path of the module that it computes; ``""``: the network itself, or the runtime put
            it there (a change of layout), see ``origin``.
        origin: ``network``, ``runtime``, or ``unknown``.
        stands_for: Nodes of the artifact that were fused into it, where that is known.
        part: Which part of the network holds it, from 1; ``None`` where it was not cut.
        calls: How often it ran in the window.
        time_s: All its calls together, in s.
    """

    name: str
    operator: str
    layer: str
    origin: str = "network"
    stands_for: tuple[str, ...] = ()
    part: int | None = None
    calls: int
    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWindow:
    """A window in which one network, or one part of it, ran back to back.

    Attributes:
        what: `WHOLE`, `PROFILED` or ``part-N``.
        block: Which repetition.
        position: Its place in that block, which is shuffled.
        duration_s: Of the window, in s.
        iterations: Batches in it.
        settled: Whether latencies had become stationary before it.
        energy: A figure for each domain.
    """

    what: str
    block: int
    position: int
    duration_s: float
    iterations: int
    settled: bool
    energy: tuple[EnergyFigure, ...] = ()

    def __post_init__(self) -> None:
        if not self.duration_s > 0 or self.iterations < 1:
            raise ValueError(f"the window {self.what} of block {self.block} has nothing in it")

    @property
    def batch_s(self) -> float:
        """Time of one batch, in s."""
        return self.duration_s / self.iterations


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBlock:
    """A repetition: one fresh process that held the network and its parts.

    Attributes:
        block: Its number, from 0.
        windows: In the order in which they were measured.
        idle: Power while that process was alive and nothing ran.
        operators: Of the profiled window, in the order of their first call.
    """

    block: int
    windows: tuple[LayerWindow, ...]
    idle: tuple[IdleFigure, ...]
    operators: tuple[OperatorTime, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece that was cut from the network.

    Attributes:
        number: From 1.
        reads, writes: The tensors between which it lies.
        nodes: How many it has, after what is constant was folded.
        first_layer, last_layer: Paths of the modules at its ends.
    """

    number: int
    reads: str
    writes: str
    nodes: int
    first_layer: str
    last_layer: str

    @property
    def what(self) -> str:
        """The name of its windows."""
        return f"part-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRun:
    """All that was measured of one network.

    Attributes:
        model, backend, precision, batch_size: What was measured.
        threads: Of work on the CPU.
        seed: Of images and of the order of windows.
        artifact_sha256: Of the ``.onnx`` file.
        started_at: When, in ISO 8601.
        protocol: The rules of a repetition.
        settings: The effective settings, as the runtime reports them.
        parts: That were cut; empty: not cut, ``uncut`` has the reason.
        uncut: Why there are no parts.
        blocks: The repetitions.
        failed: Why others are not there, a sentence each.
        absent: Why other meters are not there, one sentence by name.
    """

    model: str
    backend: str
    precision: str
    batch_size: int
    threads: int
    seed: int
    artifact_sha256: str
    started_at: str
    protocol: dict[str, float]
    settings: dict[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    uncut: str | None = None
    blocks: tuple[LayerBlock, ...] = ()
    failed: tuple[str, ...] = ()
    absent: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Write all of it as JSON."""
        return json.dumps(asdict(self))
