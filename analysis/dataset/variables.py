"""The dataset's variables: one literal table of names, units, dimensions and meanings.

Attributes follow the CF conventions 1.11: ``units`` (section 3.1, UDUNITS spelling),
``long_name`` (3.2), ``flag_values``/``flag_masks`` with ``flag_meanings`` (3.5).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from greenbatch.analysis.dataset.counted import COUNTED
from greenbatch.records import TRAFFIC, EnergySource, Flag, Provenance, Status

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    AnyArray = NDArray[Any]
    """Of numbers, codes or texts: which, its name says."""
    Arrays = dict[str, AnyArray]

CELL_FACTORS = ("model", "backend", "precision", "io", "scenario", "batch_size")
"""What every cell has."""
LOOP = ("model", "variant", "batch_size")
"""The dimensions of a cell of the closed loop."""
SERVED = ("model", "variant", "traffic")
"""The dimensions of a server."""
VARIANT = ("backend", "precision", "io")
"""What every variant has, besides its settings: coordinates along ``variant``."""
SERVER = "server_"
"""What stands before the name of a variable in the group of the servers."""
MERGED = ("machine", "run", "run_repetition")
"""Coordinates that merged datasets have besides."""
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999, 1.0)

STATUSES = tuple(str(status) for status in Status)
SOURCES = tuple(str(source) for source in EnergySource)
FLAGS = {str(flag.name).lower(): int(flag) for flag in Flag}
PROVENANCES = tuple(str(provenance) for provenance in Provenance)
"""What a sum over domains rests on."""
LEFT = ("no_better", "decided", "skipped", "slow", "time")
"""Why a run with a budget left a cell, see `greenbatch.records.race.Left`."""
STOPS = ("open", "fixed", "target", "maximum", "failed", *LEFT)
"""Why a cell was not measured in later blocks; ``open``: no repetition says so, as in a run that is
not complete."""
CACHES = ("none", "cold", "warm")
ACCURACIES = ("missing", "published", "measured")
ONE_OFF_PHASES = ("load", "first")
"""The phases of a start whose sum is its cost."""

Kind = Literal["number", "code", "mask", "text"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable.

    Attributes:
        units: UDUNITS string; ``1`` for counts, codes and text.
        long_name: What it is, for a person and an axis.
        dims: Dimensions after those of a cell and ``repetition``.
        kind: ``number`` (float, NaN where missing), ``code`` (int8, a position in
            ``meanings``), ``mask`` (int16, the sum of ``meanings``' bits) or ``text``.
        meanings: Of a code or mask.
        over: All its dimensions, where it does not belong to a repetition; ``cell`` stands for
            those of a cell.
    """

    units: str
    long_name: str
    dims: tuple[str, ...] = ()
    kind: Kind = "number"
    meanings: tuple[str, ...] = ()
    over: tuple[str, ...] | None = None

    def along(self, cell: Sequence[str]) -> tuple[str, ...]:
        """List the dimensions, where a cell has these."""
        over = self.over or ("cell", "repetition", *self.dims)
        return tuple(dim for name in over for dim in (cell if name == "cell" else (name,)))

    @property
    def of_cells(self) -> bool:
        """Whether it belongs to cells or their repetitions."""
        return self.over is None or "cell" in self.over

    @property
    def missing(self) -> float | int | str:
        """What the variable holds where there is no record."""
        if self.kind == "text":
            return ""
        if self.meanings == STATUSES:
            return STATUSES.index("not_run")
        return float("nan") if self.kind == "number" else 0

    @property
    def dtype(self) -> str:
        """The numpy type in memory."""
        return {"number": "f8", "code": "i1", "mask": "i2", "text": "O"}[self.kind]

    def attributes(self) -> dict[str, "str | AnyArray"]:
        """The CF attributes; numeric flags have the variable's own type, as CF asks."""
        import numpy as np

        attrs: dict[str, str | AnyArray] = {"units": self.units, "long_name": self.long_name}
        if self.kind == "code":
            attrs["flag_values"] = np.arange(len(self.meanings), dtype=np.int8)
        elif self.kind == "mask":
            attrs["flag_masks"] = np.array([FLAGS[name] for name in self.meanings], dtype=np.int16)
        if self.meanings:
            attrs["flag_meanings"] = " ".join(self.meanings)
        return attrs


def settings_of(dataset: "xr.Dataset") -> dict[str, str]:
    """Return what was set in a study: names by coordinate, of a training by dimension."""
    return dict(json.loads(dataset.attrs.get("settings", "{}")))


def _code(
    long_name: str,
    meanings: tuple[str, ...],
    dims: tuple[str, ...] = (),
    over: tuple[str, ...] | None = None,
) -> Variable:
    return Variable("1", long_name, dims, "code", meanings, over)


_D = ("domain",)
_Q = ("quantile",)
_ONE_OFF = ("one_off_phase", "domain")
_CELL = ("cell",)
_ANY_BATCH = ("model", "variant")

VARIABLES: dict[str, Variable] = {
    "in_design": _code(
        "whether the study has the cell, or it was measured", ("no", "yes"), over=_CELL
    ),
    "stopped": _code("why the cell was not measured more often", STOPS, over=_CELL),
    "stopped_quantity": _code(
        "per image, what the interval is of that decided how often the cell was measured",
        ("none", "energy", "time"),
        over=_CELL,
    ),
    "stopped_half_width": Variable(
        "1", "relative half-width of that interval when the cell was left out", over=_CELL
    ),
    "stopped_block": Variable(
        "1", "block, from 0, after which a run with a budget left the cell", over=_CELL
    ),
    "stopped_reason": Variable(
        "1", "more of why a run with a budget left the cell", kind="text", over=_CELL
    ),
    "disturbed_attempts": Variable(
        "1", "disturbed attempts in the block that the repetition supersedes"
    ),
    "status": _code("how the repetition ended", STATUSES),
    "reason": Variable("1", "why the repetition is not ok", kind="text"),
    "flags": Variable("1", "doubts about the repetition", kind="mask", meanings=tuple(FLAGS)),
    "duration": Variable("s", "length of the measured window"),
    "images": Variable("1", "images in the window"),
    "iterations": Variable("1", "batches in the window"),
    "throughput": Variable("s-1", "images per second"),
    "latency": Variable("s", "latency of one batch, from submit to result", ("quantile",)),
    "response_time": Variable(
        "s", "response time of one request, from planned arrival to result", _Q
    ),
    "response_time_mean": Variable("s", "mean response time of the requests of the window"),
    "requests": Variable("1", "requests that were planned to arrive in the window"),
    "unserved": Variable("1", "requests still waiting when an overloaded server was given up"),
    "busy": Variable("1", "share of the window in which a batch was running"),
    "batch_size_mean": Variable("1", "mean size of the batches that a server formed"),
    "waiting_mean": Variable("1", "mean number of requests waiting when a batch started"),
    "waiting_max": Variable("1", "most requests waiting when a batch started"),
    "lateness": Variable("s", "how much later than planned requests were handed over", _Q),
    "energy_per_request_waiting": Variable(
        "J", "part of the energy per request that idle power takes while no batch is running"
    ),
    "energy_per_request_as_published": Variable(
        "J",
        "energy per request by the estimator of the study that is repeated: mean power, with "
        "an idle tail, times duration; of its GPU alone where there is one",
    ),
    "preprocessing_time_share": Variable(
        "1", "share of the window in which images were decoded and transformed"
    ),
    "preprocessing_cpu_share": Variable(
        "1", "share of the measuring process's CPU time that decoding and transforming took"
    ),
    "queue_growth": Variable("s-1", "requests by which the queue grew each second"),
    "energy": Variable("J", "gross energy in the window", _D),
    "energy_uncertainty": Variable("J", "half-width of the energy's metering error", _D),
    "energy_common": Variable(
        "J", "part of energy_uncertainty that is the calibration of the domain's sensor", _D
    ),
    "energy_source": _code("how the energy was obtained", SOURCES, _D),
    "energy_other": Variable("J", "gross energy in the window by the device's second way", _D),
    "energy_other_source": _code("how the second energy was obtained", SOURCES, _D),
    "energy_disagreement": Variable("1", "second energy over the first, less one", _D),
    "energy_counted": _code("whether the energy adds to the total of the cell", COUNTED, _D),
    "energy_reason": Variable(
        "1", "why the energy is missing, or what an estimate assumes", _D, "text"
    ),
    "idle_power": Variable("W", "idle power of the backend in the block, model loaded", _D),
    "idle_power_uncertainty": Variable(
        "W", "half-width of the meter's error of the idle power, and of its spread in the block", _D
    ),
    "idle_power_common": Variable(
        "W", "part of idle_power_uncertainty that is the calibration of the domain's sensor", _D
    ),
    "idle_power_source": _code("how the idle power was obtained", SOURCES, _D),
    "energy_net": Variable("J", "energy in the window less idle power times duration", _D),
    "energy_net_uncertainty": Variable(
        "J", "half-width of the error of the net energy: of the window and of the idle power", _D
    ),
    "power_mean": Variable("W", "mean power in the window", _D),
    "power_max": Variable("W", "highest power between two readings in the window", _D),
    "energy_per_image": Variable("J", "gross energy per image over the domains that count"),
    "energy_per_image_uncertainty": Variable(
        "J", "half-width of the metering error of the energy per image"
    ),
    "energy_per_image_net": Variable("J", "net energy per image over the domains that count"),
    "energy_per_image_net_uncertainty": Variable(
        "J", "half-width of the error of the net energy per image"
    ),
    "energy_per_image_source": _code("what the energy per image rests on", PROVENANCES),
    "power_limit": Variable("W", "lowest power limit in force in the window", _D),
    "power_of_limit": Variable("1", "mean power in the window over the power limit", _D),
    "power_capped": Variable(
        "1", "share of the window in which the power limit held the clock down", _D
    ),
    "utilization": Variable("1", "share of the window in which the processors had work", _D),
    "memory_utilization": Variable(
        "1", "share of the window in which device memory was read or written", _D
    ),
    "memory_device": Variable("byte", "most device memory in use by anybody in the window", _D),
    "memory_peak": Variable("byte", "peak memory", ("memory",)),
    "warm_up_iterations": Variable("1", "batches before the latencies were stationary"),
    "warm_up_duration": Variable("s", "time before the latencies were stationary"),
    "rest": Variable("s", "rest before the cell"),
    "foreign_load": Variable("1", "share of the granted CPU time that others used"),
    "order_position": Variable("1", "place in the block's shuffled order, from 0"),
    "temperature": Variable("degree_Celsius", "temperature when the cell began", ("sensor",)),
    "temperature_mean": Variable("degree_Celsius", "mean temperature in the window", ("sensor",)),
    "temperature_end": Variable(
        "degree_Celsius", "temperature at the end of the window", ("sensor",)
    ),
    "clock": Variable("Hz", "mean clock in the window", ("clock_domain",)),
    "phase_duration": Variable("s", "time spent in a phase of the repetition", ("phase",)),
    "one_off_duration": Variable("s", "duration of a phase of the start", ("one_off_phase",)),
    "one_off_energy": Variable("J", "gross energy of a phase of the start", _ONE_OFF),
    "one_off_energy_uncertainty": Variable(
        "J", "half-width of the metering error of a phase of the start", _ONE_OFF
    ),
    "one_off_energy_source": _code(
        "how the energy of a phase of the start was obtained", SOURCES, _ONE_OFF
    ),
    "cache": _code("what the backend had compiled earlier, when it started", CACHES),
    "agreement_max_rel": Variable(
        "1", "largest difference of an output from the reference's, over its largest value"
    ),
    "agreement_cosine": Variable("1", "lowest cosine similarity of an output and the reference's"),
    "agreement_equal": Variable(
        "1", "lowest share of positions or detections that are the reference's"
    ),
    "agreement_weak": Variable(
        "1", "outputs that are nearly 0 for these images, and mostly rounding", kind="text"
    ),
    "max_batch_size": Variable(
        "1", "largest batch that fits into memory, 0 where none does", over=_ANY_BATCH
    ),
    "min_failing_batch_size": Variable(
        "1", "smallest batch tried that does not fit; missing where all did", over=_ANY_BATCH
    ),
    "accuracy_top1": Variable("percent", "top-1 accuracy", over=_ANY_BATCH),
    "accuracy_top1_low": Variable(
        "percent", "lower end of the 95 % interval of the measured top-1 accuracy", over=_ANY_BATCH
    ),
    "accuracy_top1_high": Variable(
        "percent", "upper end of the 95 % interval of the measured top-1 accuracy", over=_ANY_BATCH
    ),
    "accuracy_top5": Variable("percent", "measured top-5 accuracy", over=_ANY_BATCH),
    "accuracy_images": Variable("1", "images that the accuracy was measured on", over=_ANY_BATCH),
    "accuracy_source": _code("how the accuracy was obtained", ACCURACIES, over=_ANY_BATCH),
}

OF_SERVERS = frozenset(
    (
        "response_time",
        "response_time_mean",
        "requests",
        "unserved",
        "busy",
        "batch_size_mean",
        "waiting_mean",
        "waiting_max",
        "lateness",
        "energy_per_request_waiting",
        "energy_per_request_as_published",
        "queue_growth",
    )
)
"""Variables that the closed loop does not have."""


def table(*, servers: bool) -> dict[str, tuple[Variable, tuple[str, ...]]]:
    """Return the variables of a dataset with their dimensions, by their names in it.

    Args:
        servers: Whether it has servers. They are a group of their own: their variables have the
            names of the closed loop's, with `SERVER` before them.
    """
    found = {
        name: (variable, variable.along(LOOP))
        for name, variable in VARIABLES.items()
        if name not in OF_SERVERS
    }
    if servers:
        found |= {
            SERVER + name: (variable, variable.along(SERVED))
            for name, variable in VARIABLES.items()
            if variable.of_cells
        }
    return found


COORDINATES: dict[str, Variable] = {
    "model": Variable("1", "model", kind="text"),
    "variant": Variable("1", "backend with its settings, precision and io", kind="text"),
    "traffic": Variable("1", "arrivals, batching policy and rate of a server", kind="text"),
    "backend": Variable("1", "backend: runtime and provider with its device", kind="text"),
    "precision": Variable("1", "precision", kind="text"),
    "io": Variable("1", "where inputs start and outputs end", kind="text"),
    **{name: Variable("1", what, kind="text") for name, what in TRAFFIC.items()},
    "batch_size": Variable("1", "images in a batch"),
    "repetition": Variable("1", "repetition: number of the block, from 0"),
    "domain": Variable("1", "energy domain", kind="text"),
    "quantile": Variable("1", "quantile; 1.0 is the maximum"),
    "memory": Variable("1", "whose memory", kind="text"),
    "sensor": Variable("1", "temperature sensor", kind="text"),
    "clock_domain": Variable("1", "device whose clock it is", kind="text"),
    "phase": Variable("1", "phase of a repetition", kind="text"),
    "one_off_phase": Variable("1", "phase of a start", kind="text"),
    "counts": Variable(
        "1", "1 where the domain adds to the total of any cell, 0 where others hold it"
    ),
    "runtime": Variable("1", "runtime", kind="text"),
    "provider": Variable("1", "execution provider", kind="text"),
    "device": Variable("1", "device", kind="text"),
    "year": Variable("1", "year of first publication"),
    "top1": Variable("percent", "published ImageNet top-1 accuracy of the pretrained weights"),
    "parameters": Variable("1", "parameters"),
    "flops": Variable(
        "1",
        "multiply-adds per image: published, or counted in the artifact of a network that is not "
        "listed",
    ),
    "weights": Variable("1", "kind of the weights that were measured", kind="text"),
    "weights_detail": Variable("1", "name, seed or file of the weights", kind="text"),
}
