"""The messages between a parent and the child that measures layers.

See `greenbatch.runners.child.messages`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.records.layers import Part
from greenbatch.runners.child.messages import Ended, Idling, Load, Message, Request, Stretch, Warm


@dataclass(frozen=True, slots=True, kw_only=True)
class CutNetwork(Request):
    """Trace operators to layers and cut the network; answered by `NetworkCut`.

    Attributes:
        load: The network.
        parts: How many are wanted; 0: it is not cut.
        folder: Where parts and weights are put.
    """

    load: Load
    parts: int
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSource:
    """Where an operator comes from; see `greenbatch.records.layers.OperatorTime`."""

    layer: str
    origin: str
    stands_for: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCut(Message):
    """What is known of the operators before anything is timed.

    Attributes:
        operators: By name; empty for torch.
        cut_after: Names of the operators behind which the cuts are.
        parts: Between the cuts.
        uncut: Why there are none.
    """

    operators: dict[str, OperatorSource]
    cut_after: tuple[str, ...]
    parts: tuple[Part, ...]
    uncut: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureLayers(Request):
    """Measure a network and its parts once; answered by `LayersMeasured`.

    Attributes:
        load: The network.
        parts: Names of its parts.
        folder: Of their files.
        profile_events: Of a profile, a run.
        protocol: The rules.
        window_s, lead_s: Length of a window, and of the lead before it, in s.
        order_seed: Of the order of windows.
        settles: As in `greenbatch.runners.child.messages.MeasureRepetition`.
    """

    events: ClassVar = (Idling, Warm, Ended)

    load: Load
    parts: tuple[str, ...]
    folder: Path
    profile_events: int
    protocol: MeasurementProtocol
    window_s: float
    lead_s: float
    order_seed: int
    settles: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetWindow:
    """A window of the network or of a part; see `greenbatch.records.layers.LayerWindow`."""

    what: str
    window: Stretch
    iterations: int
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledOperator:
    """An operator in the profiled window; see `greenbatch.records.layers.OperatorTime`.

    Attributes:
        layer: Path of its module, where the profiler reports it; else empty.
    """

    name: str
    operator: str
    calls: int
    time_s: float
    layer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersMeasured(Message):
    """A block of windows.

    Attributes:
        windows: In the order in which they were measured.
        idle: Stretches of idle power before and after them.
        operators: In the order of their first call.
        settings: The effective ones.
        gpu_uuid: See `greenbatch.runners.child.messages.Finished`.
    """

    windows: tuple[TargetWindow, ...]
    idle: tuple[Stretch, Stretch]
    operators: tuple[ProfiledOperator, ...]
    settings: dict[str, str]
    gpu_uuid: str | None
