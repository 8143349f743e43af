"""What the page's scripts draw, by kind of chart; plain JSON once it is written.

``templates/report.js`` and ``templates/training.js`` read it by these names.
"""

from collections.abc import Sequence
from typing import Literal, NotRequired, TypedDict

from greenbatch.analysis.statistics.intervals import Interval, bounds

Bounds = tuple[float, float, float, str]
"""Centre, low and high, and the kind of interval; the centre stands for bounds that there are not.
"""
Share = tuple[float, float | None, float | None]
"""An accuracy in percent, with its bounds."""


def bounded(value: Interval) -> Bounds:
    """Write a figure to six digits."""
    low, high = bounds(value)
    centre, low, high = (float(f"{number:.6g}") for number in (value.centre, low, high))
    return centre, low, high, value.kind


class BatchCurve(TypedDict):
    """A figure over the batch size."""

    variant: int
    label: str
    estimated: bool
    sizes: Sequence[int]
    y: Sequence[Bounds]
    layer: int
    words: str
    net: NotRequired[Sequence[Bounds | None]]


class BatchFacts(TypedDict):
    """Energy or latency of a model over the batch size."""

    kind: Literal["energy", "latency"]
    model: str
    unit: str
    curves: Sequence[BatchCurve]


class TradeoffCurve(TypedDict):
    """Energy (y) against latency (x), a point for each batch size."""

    variant: int
    label: str
    estimated: bool
    sizes: Sequence[int]
    y: Sequence[Bounds]
    x: Sequence[Bounds]
    pareto_status: Sequence[str | None]
    net: Sequence[Bounds | None]
    net_pareto_status: Sequence[str | None]


class TradeoffFacts(TypedDict):
    """Energy against latency of a model."""

    kind: Literal["tradeoff"]
    model: str
    curves: Sequence[TradeoffCurve]


class ServerPoint(TypedDict):
    """A server under a policy."""

    policy: str
    energy: Bounds | None
    net: Bounds | None
    p99: Bounds | None
    mean: Bounds | None
    pareto_status: str | None
    net_pareto_status: str | None


class ServerCurve(TypedDict):
    """Servers of one backend under one kind of policy."""

    variant: int
    label: str
    policy: str
    estimated: bool
    points: Sequence[ServerPoint]


ServerView = Literal["serving", "serving-energy", "serving-response"]
"""One against the other, or either of them by batching policy."""


class ServingFacts(TypedDict):
    """Energy and response time of a model under some traffic; policies in their order."""

    kind: ServerView
    model: str
    policies: Sequence[str]
    curves: Sequence[ServerCurve]


class YearPoint(TypedDict):
    """A network by its year."""

    model: str
    year: int
    parameters: float | None
    how: str
    energy: Bounds
    per: str
    estimated: bool
    top1: Share
    measured: bool
    front: bool


class YearFront(TypedDict):
    """The Pareto front of all networks until a year."""

    year: int
    models: Sequence[str]


class TimelineFacts(TypedDict):
    """Networks by year, in one of three views."""

    kind: Literal["timeline"]
    view: str
    points: Sequence[YearPoint]
    fronts: Sequence[YearFront]


class AccuracyPoint(TypedDict):
    """A cell with energy, latency and accuracy."""

    model: str
    how: str
    variant: int
    estimated: bool
    energy: Bounds
    net: Bounds | None
    latency: Bounds
    top1: Share
    measured: bool
    pareto_status: str
    net_pareto_status: str | None


class AccuracyFacts(TypedDict):
    """Energy, latency and accuracy of all networks."""

    kind: Literal["accuracy"]
    points: Sequence[AccuracyPoint]


class TraceSteps(TypedDict):
    """Power of a domain in a repetition: edges in s, watts between them, the window's end in s."""

    block: int
    domain: str
    kind: str
    t: Sequence[float]
    w: Sequence[float]
    window: float


class PowerCell(TypedDict):
    """The traces of a cell."""

    model: str
    how: str
    variant: int
    traces: list[TraceSteps]


class PowerFacts(TypedDict):
    """Power over time, of one cell at a time."""

    kind: Literal["power"]
    cells: Sequence[PowerCell]


class Across(TypedDict):
    """The axis of epochs, trials or energy."""

    title: str
    unit: str
    whole: NotRequired[bool]


class Up(TypedDict):
    """The axis of what is drawn; ``words`` name it where it is one thing."""

    unit: str
    words: str


class Band(TypedDict):
    """A line with its interval."""

    variant: int
    label: str
    estimated: bool
    layer: int
    words: str
    x: Sequence[float]
    y: Sequence[Bounds]


class BandsFacts(TypedDict):
    """Lines with intervals over epochs, trials or energy; steps where ``shape`` is ``hv``."""

    kind: Literal["bands"]
    x: Across
    y: Up
    curves: Sequence[Band]
    shape: NotRequired[str]


class FrontPoint(TypedDict):
    """A training's accuracy and its energy per image seen."""

    variant: int
    label: str
    energy: Bounds
    accuracy: Bounds
    estimated: bool
    front: bool


class FrontFacts(TypedDict):
    """Correctness against energy per image seen; ``words``: what measures it."""

    kind: Literal["front"]
    points: Sequence[FrontPoint]
    words: str


class LevelFacts(TypedDict):
    """A figure at a level of a factor."""

    factor: str
    level: str
    value: Bounds


class EffectsFacts(TypedDict):
    """Energy (J) or correctness (%) at each level of each factor; ``words``: which."""

    kind: Literal["effects"]
    unit: str
    words: str
    levels: Sequence[LevelFacts]


class InteractionCurve(TypedDict):
    """The energy at the levels of one factor, at one level of another."""

    label: str
    y: Sequence[Bounds | None]


class InteractionFacts(TypedDict):
    """Energy at the levels of two factors together: a place for each of one, a line of the other.

    Lines that are not parallel show an interaction.
    """

    kind: Literal["interaction"]
    factor: str
    levels: Sequence[str]
    curves: Sequence[InteractionCurve]


class RepetitionPoint(TypedDict):
    """A repetition: its number from 1, its figure, and how far that is from the median."""

    number: int
    value: float
    off: float
    flagged: bool


class RepetitionsRow(TypedDict):
    """The repetitions of a choice; ``middle``: between which the middle half of them is."""

    variant: int
    label: str
    estimated: bool
    points: Sequence[RepetitionPoint]
    middle: tuple[float, float] | None


class RepetitionsFacts(TypedDict):
    """Each repetition against the median of its choice: as a share of it (J), or in points (%)."""

    kind: Literal["repetitions"]
    unit: str
    words: str
    rows: Sequence[RepetitionsRow]


class MachineBars(TypedDict):
    """A figure of each choice on one machine; nothing where it was not measured."""

    variant: int
    label: str
    estimated: bool
    y: Sequence[Bounds | None]


class BarsFacts(TypedDict):
    """Choices side by side, a bar for each machine; energy (J) or a share (%)."""

    kind: Literal["bars"]
    unit: str
    words: str
    groups: Sequence[str]
    series: Sequence[MachineBars]


ChartFacts = (
    BatchFacts
    | TradeoffFacts
    | ServingFacts
    | TimelineFacts
    | AccuracyFacts
    | PowerFacts
    | BandsFacts
    | FrontFacts
    | EffectsFacts
    | InteractionFacts
    | RepetitionsFacts
    | BarsFacts
)
