"""What is measured: a cell of the design, and the verdicts a repetition of it can carry."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import TypeAlias

from greenbatch.names import check_name

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
IO = ("host", "device")
SCENARIOS = ("offline", "server")
TRAFFIC: Mapping[str, str] = {
    "arrivals": "how requests arrive",
    "policy": "how requests are batched",
    "rate": "requests per second, in the mean",
}
"""What makes up a server's traffic, in the order of the alphabet, and what it says."""
AS_RECORDED = "recorded"
"""The rate of a replay that keeps its own."""
Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""Texts by name, sorted by name: as a journal keeps what was set on a backend."""


THREADS = "threads"
"""The setting that every backend has: threads for work on the CPU."""


class Status(StrEnum):
    """How a repetition ended; the dataset stores the position in this list."""

    OK = "ok"
    OOM = "oom"
    ERROR = "error"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    NOT_RUN = "not_run"


class Flag(IntFlag):
    """Suspicious conditions of a measured repetition; the dataset stores the mask."""

    UNSTEADY = 1
    THROTTLED = 2
    DISTURBED = 4
    METER_DISAGREES = 8
    FALLBACK = 16
    OVERLOADED = 32
    LATE = 64
    POWER_CAPPED = 128

    @property
    def names(self) -> tuple[str, ...]:
        """The single flags that are set, in lower case."""
        return tuple(flag.name.lower() for flag in type(self) if flag in self and flag.name)


@dataclass(frozen=True, slots=True, order=True)
class Traffic:
    """What arrives at a server, and how it is batched; each as it is written.

    Attributes:
        arrivals: How requests arrive, see `greenbatch.queueing.arrivals.parse_arrivals`.
        policy: How they are batched, see `greenbatch.queueing.policies.parse_policy`.
        rate: Requests per second in the mean, or `AS_RECORDED`.
    """

    arrivals: str
    policy: str
    rate: str

    @property
    def rate_hz(self) -> float | None:
        """Requests per second in the mean; ``None``: as recorded."""
        return None if self.rate == AS_RECORDED else float(self.rate)

    @property
    def pairs(self) -> Pairs:
        """Name and text of each member, as a cell keeps them."""
        return (("arrivals", self.arrivals), ("policy", self.policy), ("rate", self.rate))


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One combination of factors.

    Attributes:
        settings: What was set on the backend, as pairs of name and text, sorted by name.
        traffic: Of a server: `Traffic.pairs`, as a journal keeps them; empty offline.
            ``batch_size`` is then the largest batch.

    Raises:
        ValueError: A factor is empty, unknown or not positive, or a name has another form.
    """

    model: str
    backend: str
    precision: str = "fp32"
    io: str = "host"
    scenario: str = "offline"
    batch_size: int = 1
    settings: Pairs = ()
    traffic: Pairs = ()

    def __post_init__(self) -> None:
        for name in ("settings", "traffic"):  # JSON and YAML give lists
            pairs = tuple(sorted((str(key), str(text)) for key, text in getattr(self, name)))
            object.__setattr__(self, name, pairs)
        if not self.model or not self.backend:
            raise ValueError("a cell needs a model and a backend")
        check_name("model", self.model)
        check_name("backend", self.backend)
        for name, value, known in (
            ("precision", self.precision, PRECISIONS),
            ("io", self.io, IO),
            ("scenario", self.scenario, SCENARIOS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; it is one of {', '.join(known)}")
        if [name for name, _ in self.traffic] != [*(TRAFFIC if self.is_server else ())]:
            raise ValueError(
                f"the scenario {self.scenario} has the traffic {dict(self.traffic)}; a server has "
                f"{', '.join(TRAFFIC)}, and nothing else has any"
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; it is at least 1")

    @property
    def slug(self) -> str:
        """A name for files: ``alexnet_onnxruntime-cpu_fp32_host_offline_b8``."""
        name = (
            f"{self.model}_{self.backend}_{self.precision}_{self.io}_{self.scenario}"
            f"_b{self.batch_size}"
        )
        shown = "".join(f"_{key}-{text}" for key, text in (*self.traffic, *self.settings))
        return re.sub(r"[^\w.@+-]", "-", name) + re.sub(r"[^\w.-]", "-", shown)

    @property
    def variant(self) -> str:
        """The backend with what was set on it: ``onnxruntime-cpu (allow_spinning=0)``."""
        if not self.settings:
            return self.backend
        return f"{self.backend} ({', '.join('='.join(pair) for pair in self.settings)})"

    @property
    def how(self) -> str:
        """What it is but for the model: ``onnxruntime-cpu at batch 8``, with what is unusual."""
        return self.how_at(self.batch_size)

    def how_at(self, *batch_sizes: int) -> str:
        """Say `how` of several batch sizes at once; a server has one."""
        unusual = "" if self.precision == "fp32" else f" in {self.precision}"
        if self.is_server:
            served = self.served
            return (
                f"{self.variant}{unusual} with {served.policy} at {served.rate} requests/s "
                f"({served.arrivals})"
            )
        return f"{self.variant}{unusual} at batch {', '.join(map(str, batch_sizes))}"

    @property
    def is_server(self) -> bool:
        """Whether single requests arrive; else batches run back to back."""
        return self.scenario == "server"

    @property
    def served(self) -> Traffic:
        """The traffic of a server.

        Raises:
            ValueError: The cell is none.
        """
        if not self.is_server:
            raise ValueError(f"{self} has no traffic; only a server has")
        return Traffic(**dict(self.traffic))

    def __str__(self) -> str:
        return f"{self.model} on {self.how}"
