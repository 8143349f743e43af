"""Metering around any code: `greenbatch.Meter`."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from greenbatch import units
from greenbatch.errors import UsageError
from greenbatch.records import EnergyFigure, EnergyTotal, total_energy
from greenbatch.runners.metering.meter import MeterOptions
from greenbatch.runners.metering.opening import open_meters
from greenbatch.runners.metering.sampling.sampler import Recorder

if TYPE_CHECKING:
    from greenbatch.runners.metering.energy.energy_function import FloatArray

SCHEMA = 1
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The energy of one window.

    Attributes:
        name: The caller's, for its own use.
        duration_s: Of the window, in s.
        domains: A figure for each domain, those that do not count included.
        absent: Why other meters are not there, one sentence by name.
        trace: What was read, see `Recorder.trace`; arrays of shape (n,).
    """

    name: str = ""
    duration_s: float
    domains: tuple[EnergyFigure, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    trace: "Mapping[str, FloatArray]" = field(default_factory=dict, repr=False)

    @property
    def total(self) -> EnergyTotal:
        """The sum over the domains that count, with its uncertainty and sources."""
        return total_energy(self.domains)

    @property
    def energy_j(self) -> float | None:
        """The total in J; ``None`` when a domain that counts is missing, as `total` says why."""
        return self.total.energy_j

    def __str__(self) -> str:
        total, name = self.total, f"{self.name}: " if self.name else ""
        if total.energy_j is None:
            energy = f"no energy ({total.reason or 'no meter was read'})"
        else:
            joules, doubt = (units.si(j, "J") for j in (total.energy_j, total.uncertainty_j))
            energy = f"{joules} ± {doubt} ({' + '.join(map(str, total.sources))})"
        hints = "".join(f"; {figure.remedy}" for figure in self.domains if figure.remedy)
        return f"{name}{energy}, {units.si(self.duration_s, 's')}{hints}"

    def as_dict(self) -> dict[str, Any]:
        """Return what ``gb meter --json`` prints, but for the command and its exit code."""
        total = self.total
        return {
            "schema_version": SCHEMA,
            "duration_s": self.duration_s,
            "domains": [
                {
                    "domain": figure.domain,
                    "energy_j": figure.energy_j,
                    "uncertainty_j": figure.uncertainty_j,
                    "uncertainty_common_j": figure.common_j,
                    "source": str(figure.source) if figure.energy_j is not None else None,
                    "power_mean_w": figure.power_mean_w,
                    "power_max_w": figure.power_max_w,
                    "counted": figure.counts,
                    "reason": figure.reason,
                }
                for figure in self.domains
            ],
            "total_energy_j": total.energy_j,
            "total_uncertainty_j": total.uncertainty_j,
            "total_sources": [str(source) for source in total.sources],
            "total_reason": total.reason,
            "absent": dict(self.absent),
        }


class Window:
    """A stretch of time that is measured; made by `Meter.window`."""

    def __init__(self, name: str, ask: Callable[["Window"], Measurement]) -> None:
        self.name = name
        self.start_s = 0.0
        self.end_s: float | None = None
        self._ask = ask

    @functools.cached_property
    def measurement(self) -> Measurement:
        """What was measured; read at once, it waits for the counters' next tick.

        Raises:
            UsageError: The window has not ended.
        """
        if self.end_s is None:
            raise UsageError("this window has not ended; read it after its 'with' block")
        return self._ask(self)

    @property
    def energy_j(self) -> float | None:
        """See `Measurement.energy_j`."""
        return self.measurement.energy_j


class Meter:
    """Measures the energy of a ``with`` block, of parts of it, or of every call of a function.

        with greenbatch.Meter() as meter:
            for epoch in range(3):
                with meter.window(f"epoch {epoch}") as window:
                    train()
                print(window.energy_j)
        print(meter.measurement)

        @greenbatch.Meter(on_measured=print)
        def train(): ...

    Entering opens the meters and waits for a tick of each counter, which takes up to a second or
    two and is not in the window. Hardware meters see the whole machine, whoever uses it; the
    estimate sees this process and its descendants.

    Args:
        meters: Names as ``--meter`` takes them: ``auto``, ``nvml``, ``rapl``, ...
        interval_s: How often to read, in s; ``None``: as often as each meter asks for.
        cpu_tdp_w: Maximum power of the granted cores together, for the estimate, in W.
        on_measured: Called with the `Measurement` of each block and each call.
        keep_trace: Whether measurements carry what was read.

    Raises:
        UnknownNameError: A meter's name is not known.
        MeterUnavailable: A meter that was named cannot be read; raised on entering.
    """

    def __init__(
        self,
        meters: str | Sequence[str] = "auto",
        *,
        interval_s: float | None = None,
        cpu_tdp_w: float | None = None,
        on_measured: Callable[[Measurement], object] | None = None,
        keep_trace: bool = False,
    ) -> None:
        if interval_s is not None and not interval_s > 0:
            raise UsageError(f"interval_s is {interval_s}; wanted more than 0 s")
        self._names = (meters,) if isinstance(meters, str) else tuple(meters)
        self._interval_s = interval_s
        self._cpu_tdp_w = cpu_tdp_w
        self._on_measured = on_measured
        self._keep_trace = keep_trace
        self._recorder: Recorder | None = None
        self._windows: list[Window] = []

    def __call__(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """Decorate a function: each call is a measurement of its own, for ``on_measured``."""

        @functools.wraps(function)
        def metered(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with self._again():
                return function(*args, **kwargs)

        return metered

    def __enter__(self) -> Self:
        """Open the meters; return when every counter has ticked: the window begins."""
        if self._recorder is not None:
            raise UsageError("this meter is in use; make another one, or use its window()")
        options = MeterOptions(cpu_tdp_w=self._cpu_tdp_w)
        with ExitStack() as stack:
            self._metering = stack.enter_context(open_meters(self._names, options))
            self._metering.follow(os.getpid())
            recorder = Recorder(self._metering.meters, interval_s=self._interval_s)
            stack.enter_context(recorder)
            self._windows = [Window("", self._measure)]
            self._windows[0].start_s = recorder.begin()
            self._stack = stack.pop_all()
        self._recorder = recorder
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the window, whether its block failed or not, and close the meters."""
        assert self._recorder is not None
        with self._stack:
            try:
                self._windows[0].end_s = self._recorder.end()
                for window in self._windows:
                    _ = window.measurement  # now or never
            finally:
                self._recorder = None
        if self._on_measured is not None:
            self._on_measured(self.measurement)

    @property
    def measurement(self) -> Measurement:
        """What the last block used.

        Raises:
            UsageError: No block has ended.
        """
        if not self._windows:
            raise UsageError("nothing was measured yet; use 'with greenbatch.Meter() as meter:'")
        return self._windows[0].measurement

    @property
    def energy_j(self) -> float | None:
        """See `Measurement.energy_j`."""
        return self.measurement.energy_j

    @contextmanager
    def window(self, name: str = "") -> Iterator[Window]:
        """Measure a part of the block; nothing waits at its ends, and windows may overlap.

        Args:
            name: To know its measurement by.

        Raises:
            UsageError: The meter is not in use.
        """
        if self._recorder is None:
            raise UsageError("window() measures a part of a 'with greenbatch.Meter()' block")
        window = Window(name, self._measure)
        window.start_s = self._recorder.mark()
        try:
            yield window
        finally:
            window.end_s = self._recorder.mark()
            self._windows.append(window)

    def _measure(self, window: Window) -> Measurement:
        start_s, end_s = window.start_s, window.end_s
        if self._recorder is None or end_s is None:
            raise UsageError("this window was left open when its meter was closed")
        self._recorder.settle(end_s, self._recorder.tick_timeout_s)
        return Measurement(
            name=window.name,
            duration_s=end_s - start_s,
            domains=self._recorder.energy(start_s, end_s),
            absent=self._metering.absent,
            trace=self._recorder.trace(start_s, end_s) if self._keep_trace else {},
        )

    def _again(self) -> "Meter":
        return Meter(
            self._names,
            interval_s=self._interval_s,
            cpu_tdp_w=self._cpu_tdp_w,
            on_measured=self._on_measured,
            keep_trace=self._keep_trace,
        )
