"""The design of a run: which cells, how often, under which rules."""

from collections.abc import Mapping
from itertools import product, starmap
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from greenbatch.design.artifact_reference import ArtifactRef
from greenbatch.design.checking import Lines, checked
from greenbatch.design.field_types import (
    Kind,
    ModelName,
    Name,
    PathText,
    Power,
    Seconds,
    Seed,
    Settings,
    Share,
    Threads,
    Wait,
    check_cells,
    check_file_names,
    distinct,
    resolved_rules,
)
from greenbatch.design.images import ImageSet
from greenbatch.design.known import Known, known_of
from greenbatch.design.protocol import WAIT_QUIET_S, MeasurementProtocol
from greenbatch.design.repetition_rules import WITHIN, check_decidable, repetition_bounds
from greenbatch.design.threads import check_one_name, with_threads
from greenbatch.documents import write_yaml
from greenbatch.errors import UsageError
from greenbatch.models import registry
from greenbatch.queueing.arrivals import MOST_REQUESTS, is_replay, parse_arrivals
from greenbatch.queueing.policies import parse_policy
from greenbatch.records import AS_RECORDED, Cell, Traffic, artifact_key, by_artifact_key
from greenbatch.records.cells import Pairs
from greenbatch.records.race import Decide

LARGEST_BATCH = 65536
FEWEST_REQUESTS = 200
Rate = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]
BatchSize = Annotated[int, Field(ge=1, le=LARGEST_BATCH, strict=True)]


class Study(BaseModel):
    """A design, resolved and checked; ``study.yaml`` is its text.

    Attributes:
        name: Of the run, for titles.
        about: Where the design comes from, what it keeps and what it corrects.
        models, backends, precisions, io, scenarios: Factors; a cell is one of each.
        batch_sizes: The factor of ``offline``.
        arrivals, rates, policies: The factors of ``server``: how requests arrive (see
            `greenbatch.queueing.arrivals.parse_arrivals`), how many a second in the mean, and how
            they are batched (see `greenbatch.queueing.policies.parse_policy`). A replay needs no
            rate.
        requests: How many arrive in the window of a server; 0: for as long as the protocol's
            window lasts, and at least `FEWEST_REQUESTS`.
        as_published: Report also what the estimator of 'Batching for Green AI' gives for a server:
            mean power of its GPU, an idle tail included, times duration.
        longest_arrivals_s: For how long requests arrive at most, in s: at a low rate fewer than
            ``requests``; ``None``: for as long as these take. Never shorter than the protocol's
            window.
        scale: By how much times, requests and repetitions were shortened.
        repetitions: Number of blocks; with a ``precision_target`` the smallest.
        precision_target: Measure a cell until the 95 % interval of its energy per image (of time
            per image, where no energy is known) is within ± this share, as 0.02 or ``2%``; see
            `greenbatch.runners.scheduling.stopping`.
        max_repetitions: The largest number of blocks with a ``precision_target`` or a ``budget``;
            30 where it is not said.
        budget: Measuring time, in s (``10m``): cells are measured until what is to be decided is
            known, no longer than this, see `greenbatch.runners.scheduling.racing`. ``None``: every
            cell is measured in every block.
        decide: What a budget is spent on: the ``best`` cell of each model (where a study does not
            say), the ``front`` of cost and latency, the ``knee`` of each curve, the ``crossover``
            or the ``ratio`` of two backends.
        within: A difference that does not matter to that, as 0.03 or ``3%``.
        order: How cells follow each other in a block, see
            `greenbatch.runners.scheduling.order.orders`.
        seed: Of the order and of the images.
        profile: Whose rules ``protocol`` starts from.
        protocol: The rules, see `MeasurementProtocol`; a study file may give only what differs
            from its profile.
        threads: Threads of every CPU backend; 0 is as many as the cores granted. Several numbers
            are a factor: they become the setting ``threads`` of each CPU backend.
        meters: Names of meters, or ``auto``, or ``none``.
        cpu_tdp_w: Maximum power of the granted cores for the estimate, in W.
        weights: ``auto``, ``pretrained``, ``random`` or a file.
        settings: What is set on backends, ``BACKEND.NAME`` -> values; every combination of a
            backend's values is measured. The names are the runtime's own.
        isolation: How the process of each repetition is started. ``fork``: from a process that has
            imported what it needs, where that is safe. ``spawn``: a fresh interpreter, which also
            has an address layout of its own. ``session``: ``fork``, and the batch sizes of a
            network follow each other in one process, where the backend can go on with another
            batch, see `greenbatch.runners.child.sessions`.
        compile_cache: Take what the backends compiled for the same cells in earlier runs, and keep
            what they compile in this one, see `greenbatch.runners.run.shared_code`. Starts are
            warm then, from the first repetition on.
        wait_quiet: How long a quiet machine is waited for before the first cell, in s (``5m``);
            ``None``: as long as the profile says, see `MeasurementProtocol`.
        on_busy: What to do with a machine that does not become quiet: ``measure`` all the same, or
            ``refuse``.
        allow_fallback: Measure what runs partly elsewhere, and record it.
        probe_max_batch: Find the largest batch that fits into memory, up to this size, before
            anything is measured; 0: do not.
        sources: Where a user's own networks come from, by name; see
            `greenbatch.models.sources.parse.parse_source`.
        inputs: Their inputs as a user wrote them, by name, see
            `greenbatch.models.sources.input_option.parse_inputs`.
        exported: Names of those of ``sources`` that are measured as they were exported.
        images: A folder of images to measure with, as
            `greenbatch.runners.scenarios.preprocessing.survey` found it; ``None``: synthetic ones.
            A study file may give the folder alone, or ``generated:3`` for images that are made.
        preprocessing: When images are decoded and transformed: ``before`` anything is timed, or in
            the window, before each batch (``pipeline``).
        artifacts_dir: Where exported artifacts are.
        artifacts: What was exported, by `greenbatch.records.artifact_key`; filled in when the run
            is made.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    name: Name = "study"
    about: str = ""
    models: tuple[ModelName, ...] = Field(default=registry.STUDY, min_length=1)
    backends: tuple[Name, ...] = Field(min_length=1)
    precisions: tuple[Literal["fp32", "fp16", "bf16", "int8"], ...] = Field(
        default=("fp32",), min_length=1
    )
    io: tuple[Literal["host", "device"], ...] = Field(default=("host",), min_length=1)
    scenarios: tuple[Literal["offline", "server"], ...] = Field(default=("offline",), min_length=1)
    batch_sizes: tuple[BatchSize, ...] = ()
    arrivals: tuple[Name, ...] = Field(default=("poisson",), min_length=1)
    rates: tuple[Rate, ...] = ()
    policies: tuple[Name, ...] = Field(default=("greedy:16",), min_length=1)
    requests: Annotated[int, Field(ge=0, le=MOST_REQUESTS, strict=True)] = 0
    longest_arrivals_s: Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)] | None = None
    as_published: Annotated[bool, Field(strict=True)] = False
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    repetitions: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 3
    precision_target: Share | None = None
    max_repetitions: Annotated[int, Field(ge=2, le=10_000, strict=True)] | None = None
    budget: Seconds | None = None
    decide: Decide | None = None
    within: Share | None = None
    order: Kind = "shuffled"
    seed: Seed = 0
    profile: Literal["quick", "standard", "rigorous"] = "standard"
    protocol: dict[str, float] = Field(default_factory=dict)
    threads: Threads = 0
    meters: tuple[Name, ...] = Field(default=("auto",), min_length=1)
    cpu_tdp_w: Power | None = None
    weights: Annotated[PathText, Field(min_length=1)] = "auto"
    settings: Settings = Field(default_factory=dict)
    isolation: Literal["fork", "spawn", "session"] = "fork"
    compile_cache: Annotated[bool, Field(strict=True)] = False
    wait_quiet: Wait | None = None
    on_busy: Literal["measure", "refuse"] = "measure"
    allow_fallback: bool = False
    probe_max_batch: Annotated[int, Field(ge=0, le=LARGEST_BATCH, strict=True)] = 0
    sources: dict[ModelName, PathText] = Field(default_factory=dict)
    inputs: dict[ModelName, tuple[Name, ...]] = Field(default_factory=dict)
    exported: tuple[ModelName, ...] = ()
    images: ImageSet | None = None
    preprocessing: Literal["before", "pipeline"] = "before"
    artifacts_dir: PathText = "artifacts"
    artifacts: dict[str, ArtifactRef] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _threads_as_settings(cls, members: object, info: ValidationInfo) -> object:
        return with_threads(members, known_of(info)) if isinstance(members, Mapping) else members

    @field_validator("sources")
    @classmethod
    def _no_options(cls, sources: dict[str, str]) -> dict[str, str]:
        for name, text in sources.items():
            if text.startswith("-"):
                raise ValueError(
                    f"{name} comes from {text!r}, which reads like an option; write what "
                    "'gb export' takes, e.g. mypkg.nets:build"
                )
        return sources

    @field_validator("artifacts")
    @classmethod
    def _called_apart(cls, artifacts: dict[str, ArtifactRef]) -> dict[str, ArtifactRef]:
        return by_artifact_key(artifacts, lambda entry: entry.file)

    @field_validator("images", mode="before")
    @classmethod
    def _surveyed(cls, images: object, info: ValidationInfo) -> object:
        if images is None or isinstance(images, Mapping | ImageSet):
            return images
        if not images or not isinstance(images, str | Path):
            raise ValueError("wanted a folder of images")
        known = known_of(info)
        if known is None:
            raise ValueError("wanted the images that a run found, with found, count and sha256")
        try:
            return known.images(Path(images))
        except UsageError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _images_to_preprocess(self) -> "Study":
        if self.preprocessing == "pipeline" and self.images is None:
            raise ValueError(
                "preprocessing is pipeline, and there are no images; give a folder of images, or "
                "leave it out"
            )
        return self

    @field_validator("policies")
    @classmethod
    def _written_policies(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        """Write each in its shortest form, as datasets do."""
        return tuple(parse_policy(text).text for text in texts)

    @field_validator("arrivals")
    @classmethod
    def _known_arrivals(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for text in texts:
            if not is_replay(text):
                parse_arrivals(text)
            elif known := known_of(info):
                known.recording(text)
        return texts

    @field_validator(
        "models",
        "backends",
        "precisions",
        "io",
        "scenarios",
        "batch_sizes",
        "arrivals",
        "rates",
        "policies",
    )
    @classmethod
    def _distinct(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        return distinct(values)

    @model_validator(mode="after")
    def _complete_scenarios(self) -> "Study":
        if "offline" in self.scenarios and not self.batch_sizes:
            raise ValueError("batch_sizes is missing or empty; give one, as batch_sizes: [1, 8]")
        recorded = all(is_replay(text) for text in self.arrivals)
        if "server" in self.scenarios and not self.rates and not recorded:
            raise ValueError("rates is missing or empty; a server needs one, as rates: [100]")
        for text in self.arrivals:
            if not is_replay(text):
                for rate_hz in self.rates:
                    parse_arrivals(text).check(rate_hz)
        return self

    @model_validator(mode="after")
    def _known_models(self, info: ValidationInfo) -> "Study":
        if known := known_of(info):
            for name in self.models:
                if name not in self.sources:
                    known.model(name, Path(self.artifacts_dir))
        return self

    @model_validator(mode="after")
    def _resolved_repetitions(self) -> "Study":
        given = self.repetitions if "repetitions" in self.model_fields_set else None
        fewest, most = repetition_bounds(
            given, self.max_repetitions, target=self.precision_target, budget=self.budget
        )
        if fewest is not None:
            object.__setattr__(self, "repetitions", fewest)
        object.__setattr__(self, "max_repetitions", most)
        return self

    @model_validator(mode="after")
    def _neighbours_in_order(self) -> "Study":
        if self.isolation == "session" and self.order != "shuffled":
            raise ValueError(
                f"isolation is session, which brings the batch sizes of a network together, and "
                f"order is {self.order}, which gives each cell every place; leave one out"
            )
        return self

    @model_validator(mode="after")
    def _decidable(self) -> "Study":
        if self.budget is None:
            requested = {"decide": self.decide, "within": self.within}
            for name in (name for name, value in requested.items() if value is not None):
                raise ValueError(f"{name} has no meaning without budget; give a budget, e.g. 10m")
            return self
        decide = self.decide or "best"
        object.__setattr__(self, "decide", decide)
        object.__setattr__(self, "within", self.within or WITHIN)
        check_decidable(
            decide,
            order=self.order,
            scenarios=self.scenarios,
            batch_sizes=len(self.batch_sizes),
            variants=sum(len(self._variants(backend)) for backend in self.backends),
        )
        return self

    @field_validator("backends")
    @classmethod
    def _known_backends(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if known := known_of(info):
            for name in names:
                known.backend(name)
        return names

    @model_validator(mode="after")
    def _known_settings(self, info: ValidationInfo) -> "Study":
        known = known_of(info)
        check_one_name(self.settings)
        for key, values in self.settings.items():
            backend, dot, name = key.partition(".")
            if not dot or not name:
                raise ValueError(
                    f"settings has {key!r}; write BACKEND.NAME, as onnxruntime-cpu.allow_spinning"
                )
            if backend not in self.backends:
                raise ValueError(
                    f"settings has {key!r}, and the study's backends are "
                    f"{', '.join(self.backends)}; name one of them"
                )
            if known:
                for value in values:
                    known.setting(backend, name, value)
        return self

    @model_validator(mode="after")
    def _cells_apart(self) -> "Study":
        server = len(self.arrivals) * len(self.policies) * max(1, len(self.rates))
        loads = sum({"offline": len(self.batch_sizes), "server": server}[s] for s in self.scenarios)
        variants = sum(
            prod(len(v) for k, v in self.settings.items() if k.startswith(f"{backend}."))
            for backend in self.backends
        )
        check_cells(len(self.models) * variants * len(self.precisions) * len(self.io) * loads)
        check_file_names(cell.slug for cell in self.cells())
        pairs = product(self.models, dict.fromkeys(("fp32", *self.precisions)))
        distinct(tuple(artifact_key(*pair) for pair in pairs))
        return self

    @model_validator(mode="after")
    def _resolved_protocol(self) -> "Study":
        rules = resolved_rules(self.profile, self.protocol)
        object.__setattr__(self, "protocol", rules)
        return self

    def window_for(self, cell: Cell, period_s: float | None) -> float:
        """Return the length of a cell's window, in s: of a server, how long requests arrive.

        It is at least what the protocol asks with a slowest meter of this period.
        """
        shortest_s = self.rules.window_for(period_s)
        rate_hz = cell.served.rate_hz if cell.is_server else None
        if rate_hz is None:
            return shortest_s
        arrivals_s = (self.requests or FEWEST_REQUESTS) / rate_hz
        return max(shortest_s, min(arrivals_s, self.longest_arrivals_s or arrivals_s))

    @property
    def wait_quiet_s(self) -> float:
        """How long a quiet machine is waited for, in s."""
        return WAIT_QUIET_S[self.profile] if self.wait_quiet is None else self.wait_quiet

    @property
    def rules(self) -> MeasurementProtocol:
        """The protocol as its record."""
        return MeasurementProtocol(**self.protocol)  # type: ignore[arg-type]  # ints are checked

    @property
    def in_sessions(self) -> bool:
        """Whether the batch sizes of a network follow each other, in one process where they can."""
        return self.isolation == "session"

    def cells(self) -> list[Cell]:
        """Return every combination of the factors."""
        return [
            Cell(model, backend, precision, io, scenario, batch_size, settings, traffic)
            for model, backend in product(self.models, self.backends)
            for settings in self._variants(backend)
            for precision, io in product(self.precisions, self.io)
            for scenario, batch_size, traffic in self._loads()
        ]

    def _loads(self) -> list[tuple[str, int, Pairs]]:
        """Return each scenario with its (largest) batch size and its traffic."""
        loads: list[tuple[str, int, Pairs]] = []
        for scenario in self.scenarios:
            if scenario == "offline":
                loads += [(scenario, size, ()) for size in self.batch_sizes]
                continue
            rates = [f"{rate:g}" for rate in self.rates] or [AS_RECORDED]
            for traffic in starmap(Traffic, product(self.arrivals, self.policies, rates)):
                largest = parse_policy(traffic.policy).largest
                loads.append((scenario, largest, traffic.pairs))
        return loads

    def _variants(self, backend: str) -> list[Pairs]:
        """Return every combination of what is set on a backend; one empty one if nothing is."""
        pairs = [
            [(key.partition(".")[2], value) for value in values]
            for key, values in self.settings.items()
            if key.partition(".")[0] == backend
        ]
        return list(product(*pairs))

    def fresh(self) -> "Study":
        """Return the same design before it was measured: bound to no artifact."""
        return self.model_copy(update={"artifacts": {}})

    def to_yaml(self) -> str:
        """Write the study so that `read_study` returns it."""
        return write_yaml(self.model_dump(mode="json", by_alias=True))


def make_study(
    members: Mapping[str, object],
    source: str = "the study",
    lines: Lines = MappingProxyType({}),
    known: Known | None = None,
) -> Study:
    """Check a study's members, see `greenbatch.design.checking.checked`.

    Raises:
        UnknownNameError: A model or backend is not in its registry.
        StudyError: Anything else does not hold together; the message names the member.
    """
    return checked(Study, members, source, lines, known)
