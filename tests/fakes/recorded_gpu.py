"""A GPU whose power was recorded, by an analyser and by NVML: NVML is played back, the truth known.

``tests/recordings`` has the recordings. Time is simulated: NVML's readings go through
the meter, the recorder's schedule and series, and are answered by `energy_figure`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, Self, TypeAlias
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from greenbatch.records import EnergyFigure
from greenbatch.runners.metering import Domain, MeterOptions
from greenbatch.runners.metering.energy.figures import energy_figure
from greenbatch.runners.metering.sampling.read_schedule import Schedule
from greenbatch.runners.metering.sampling.unwrapping import History, Series
from greenbatch.runners.metering.sources.nvml import NvmlMeter

Source: TypeAlias = Literal["draw", "instant"]
_FOLDER = Path(__file__).parents[1] / "recordings"
_AMPERE = 7
_CAPABILITIES = {"a100": (8, 0), "rtx3090": (8, 6)}
_READ_S = 2e-4  # a reading's length
_MARGIN_S = 1.2  # what the oldest reading of a window may need behind it


@dataclass(frozen=True)
class Recording:
    """What was recorded of a card.

    Attributes:
        name: Of its file.
        edges_s, energy_j: The analyser's energy since its start, at instants, shape (n,).
        nvml_t_s, nvml_w: Each new reading of NVML, by source.
        nvml_end_s: When the last one was made.
    """

    name: str
    edges_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    nvml_t_s: dict[Source, NDArray[np.float64]]
    nvml_w: dict[Source, NDArray[np.float64]]
    nvml_end_s: float

    @classmethod
    def load(cls, name: str) -> Self:
        """Read a recording by the name of its file."""
        with np.load(_FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
            power_w = arrays["analyser_w"].astype(np.float64)
            step_s = float(arrays["analyser_step_s"])
            edges_s = np.arange(len(power_w) + 1, dtype=np.float64) * step_s
            edges_s += float(arrays["analyser_start_s"])
            sources: tuple[Source, Source] = ("draw", "instant")
            return cls(
                name,
                edges_s,
                np.concatenate((np.zeros(1), np.cumsum(power_w * step_s))),
                {source: arrays[f"{source}_t_s"] for source in sources},
                {source: arrays[f"{source}_w"].astype(np.float64) for source in sources},
                float(arrays["nvml_end_s"]),
            )

    def truth_j(self, t0_s: float, t1_s: float) -> float:
        """Return the analyser's energy of a window."""
        return float(np.diff(np.interp([t0_s, t1_s], self.edges_s, self.energy_j))[0])

    def windows(self, window_s: float, count: int, seed: int = 0) -> Iterator[tuple[float, float]]:
        """Give random windows that analyser and readings cover."""
        first_s = max(self.edges_s[0], self.nvml_t_s["draw"][0] + _MARGIN_S)
        last_s = min(self.edges_s[-1], self.nvml_end_s - _MARGIN_S) - window_s
        for start_s in np.random.default_rng(seed).uniform(first_s, last_s, count):
            yield float(start_s), float(start_s + window_s)


@dataclass(frozen=True)
class Replay:
    """A recording that was read as the recorder reads a GPU.

    Attributes:
        domain: Of the meter.
        interval_s: How often it was read.
        history: What was read.
    """

    domain: Domain
    interval_s: float
    history: History

    @classmethod
    def of(cls, recording: Recording, source: Source) -> Self:
        """Open the meter on a recording and read it from beginning to end."""
        with _played(recording, source) as clock, NvmlMeter.open(_options(clock)) as meter:
            domain = meter.domains[0]
            series = Series(None, domain.tick_s, counts_ticks=False)
            schedule = Schedule(meter.interval_s)
            due_s = clock.now_s
            while clock.now_s < recording.nvml_end_s:
                before_s = clock.now_s = max(due_s, clock.now_s)
                reading = meter.read()[domain.name]
                clock.now_s += _READ_S
                series.append(before_s, clock.now_s, reading)
                due_s = schedule.next_s(due_s, clock.now_s)
            return cls(domain, meter.interval_s, series.history())

    def energy(self, t0_s: float, t1_s: float) -> EnergyFigure:
        """Return the figure of a window."""
        return energy_figure(self.domain, self.history, t0_s, t1_s, self.interval_s)


@dataclass
class _Clock:
    now_s: float

    def __call__(self) -> float:
        return self.now_s


def _options(clock: _Clock) -> MeterOptions:
    return MeterOptions(clock=clock, environ={})


@contextmanager
def _played(recording: Recording, source: Source) -> Iterator[_Clock]:
    """Put a recording in the place of NVML, at the time of the clock that is given."""
    import pynvml

    clock = _Clock(float(recording.nvml_t_s[source][0]))
    capability = _CAPABILITIES[recording.name.partition("-")[0]]

    def power_mw() -> int:
        here = int(np.searchsorted(recording.nvml_t_s[source], clock.now_s, side="right")) - 1
        return round(float(recording.nvml_w[source][max(here, 0)]) * 1000)

    def fields(handle: object, wanted: object) -> list[SimpleNamespace]:
        known = source == "instant"
        status = pynvml.NVML_SUCCESS if known else pynvml.NVML_ERROR_NOT_SUPPORTED
        value = SimpleNamespace(uiVal=power_mw() if known else 0)
        return [SimpleNamespace(nvmlReturn=status, value=value)]

    def unsupported(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    with mock.patch.multiple(
        pynvml,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: object(),
        nvmlDeviceGetUUID=lambda handle: "GPU-recorded",
        nvmlDeviceGetName=lambda handle: recording.name,
        nvmlDeviceGetMigMode=unsupported,
        nvmlDeviceGetArchitecture=lambda handle: _AMPERE,
        nvmlDeviceGetCudaComputeCapability=lambda handle: capability,
        nvmlDeviceGetTotalEnergyConsumption=unsupported,
        nvmlDeviceGetFieldValues=fields,
        nvmlDeviceGetPowerUsage=lambda handle: power_mw(),
    ):
        yield clock
