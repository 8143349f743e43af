"""The design of a training run: what is trained on what, how often, or searched for how."""

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
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

from greenbatch import units
from greenbatch.design.checking import Lines, checked
from greenbatch.design.field_types import (
    Kind,
    Name,
    NetworkName,
    PathText,
    Power,
    Seed,
    Settings,
    Share,
    Threads,
    check_cells,
    check_file_names,
    distinct,
    resolved_rules,
)
from greenbatch.design.known import Known, known_of
from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.design.search_space import Dimension, parse_space
from greenbatch.design.training_options import Augmented, Pipeline, Plateau, Transfer
from greenbatch.documents import write_yaml
from greenbatch.records import TrainingCell

LARGEST_BATCH = 65536
STRATEGIES = ("grid", "random", "gp", "gp-pi", "tpe")
Count = Annotated[int, Field(ge=1, le=LARGEST_BATCH, strict=True)]
Images = Annotated[int, Field(ge=2, le=1_000_000_000, strict=True)]


class Search(BaseModel):
    """What a search does under one budget.

    Attributes:
        strategies: Side by side: ``grid``, ``random``, ``gp`` (Bayesian, a Gaussian process),
            ``gp-pi`` (Bayesian as in Yarally et al.: see
            `greenbatch.runners.training.parent.improvement`), ``tpe`` (Bayesian, tree-structured
            Parzen estimators).
        trials: The budget of each strategy, in trainings.
        space: What is searched, by name of the hyperparameter: a list of choices, or ``low`` and
            ``high`` with ``log``, ``steps`` (points of the grid along it), ``whole`` and ``open``
            (the high end is not in it).
        objective: ``accuracy`` on the validation images, ``energy`` of the training, or ``both``:
            the Pareto front.
        within: A search has arrived when its best is within this share of the best that it finds
            in the end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategies: tuple[Literal["grid", "random", "gp", "gp-pi", "tpe"], ...] = Field(
        default=("grid", "random", "gp"), min_length=1
    )
    trials: Count = 16
    space: dict[str, object]
    objective: Literal["accuracy", "energy", "both"] = "accuracy"
    within: Share = 0.01

    @field_validator("strategies")
    @classmethod
    def _distinct(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return distinct(values)

    @model_validator(mode="after")
    def _known_space(self) -> "Search":
        parse_space(self.space)
        if "gp-pi" in self.strategies and self.objective == "both":
            raise ValueError("gp-pi improves one figure; the objective is both: leave one out")
        return self

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What is searched, see `greenbatch.design.search_space`."""
        return parse_space(self.space)


class TrainingStudy(BaseModel):
    """A design of trainings, resolved and checked; ``study.yaml`` is its text.

    Attributes:
        kind: Tells it from a study of inference.
        name, about, scale, repetitions, order, seed, profile, protocol, threads, meters,
            cpu_tdp_w: As in `greenbatch.design.study.Study`.
        models: Names of networks, see `greenbatch.runners.training.design.networks`.
        data: Names of data sets, see `greenbatch.runners.training.data.datasets`.
        data_dir: Where data sets are, or are downloaded to.
        image_size: Images are resized to this height and width; ``None``: as they are.
        train_images, validation_images: The most that are taken of each part, drawn by the seed
            and balanced over classes as the whole is; ``None``: all.
        normalised: Whether images are normalised by the mean and deviation of the training
            images; else they are values of 0 to 1.
        pipeline: How images get to the device.
        augmentation: What changes each training image at random, see
            `greenbatch.runners.training.data.augmentation`.
        backends, precisions, batch_sizes: Factors.
        settings: Further factors, name -> values: hyperparameters (``optimizer``,
            ``learning_rate``, ``weight_decay``, ``momentum``, ``dropout``) and what a network
            takes (``linear_layers``, ``conv_layers``, ``relu``).
        transfer: How a training begins from weights that were learnt elsewhere.
        epochs: The most, of both stages.
        patience: Stop after so many epochs in which the monitored value did not get better; 0: do
            not stop early. A first stage with a frozen body ends so, too, and the second begins.
        monitor: What gets better: the validation ``loss``, or the ``accuracy``.
        min_change: By more than so much is better.
        plateau: When the learning rate is reduced; ``None``: never.
        search: Of a search; its trials are the trainings then, and a repetition is a search with
            another seed.
        substitutions: What stands in for a network of a study that is repeated, by its name there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["training"] = "training"
    name: Name = "training"
    about: str = ""
    models: tuple[NetworkName, ...] = Field(min_length=1)
    data: tuple[Name, ...] = Field(default=("digits",), min_length=1)
    data_dir: PathText = "data"
    image_size: Annotated[int, Field(ge=8, le=4096, strict=True)] | None = None
    train_images: Images | None = None
    validation_images: Images | None = None
    normalised: bool = True
    pipeline: Pipeline = Field(default_factory=Pipeline)
    augmentation: tuple[Augmented, ...] = ()
    backends: tuple[Literal["torch-cpu", "torch-cuda"], ...] = Field(
        default=("torch-cpu",), min_length=1
    )
    precisions: tuple[Literal["fp32", "amp-fp16", "amp-bf16"], ...] = Field(
        default=("fp32",), min_length=1
    )
    batch_sizes: tuple[Count, ...] = Field(default=(32,), min_length=1)
    settings: Settings = Field(default_factory=dict)
    epochs: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 10
    patience: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0
    transfer: Transfer = Field(default_factory=Transfer)
    monitor: Literal["loss", "accuracy"] = "loss"
    min_change: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    plateau: Plateau | None = None
    search: Search | None = None
    substitutions: dict[str, str] = Field(default_factory=dict)
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    repetitions: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 3
    order: Kind = "shuffled"
    seed: Seed = 0
    profile: Literal["quick", "standard", "rigorous"] = "standard"
    protocol: dict[str, float] = Field(default_factory=dict)
    threads: Threads = 0
    meters: tuple[Name, ...] = Field(default=("auto",), min_length=1)
    cpu_tdp_w: Power | None = None

    @field_validator("models", "data", "backends", "precisions", "batch_sizes", "augmentation")
    @classmethod
    def _distinct(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        return distinct(values)

    @model_validator(mode="after")
    def _searched_or_set(self) -> "TrainingStudy":
        both = {*self.settings} & {*(self.search.space if self.search else ())}
        if both:
            raise ValueError(
                f"{min(both)} is a setting and is searched; leave it out of one of them"
            )
        if self.search and "batch_size" in self.search.space and len(self.batch_sizes) > 1:
            raise ValueError("batch_size is searched, and batch_sizes has several; give it one")
        return self

    @model_validator(mode="after")
    def _transferred(self, info: ValidationInfo) -> "TrainingStudy":
        for name in self.transfer.weights:
            if name not in self.models:
                raise ValueError(f"transfer.weights names {name}, which is not among the models")
        if self.transfer.frozen_epochs > self.epochs:
            raise ValueError(
                f"transfer.frozen_epochs is {self.transfer.frozen_epochs}, more than the "
                f"{units.count(self.epochs, 'epoch')} of a training"
            )
        if known := known_of(info):
            for name in self.models:
                known.hyperparameters(name, self.transfer.frozen)
        return self

    @model_validator(mode="after")
    def _cells_apart(self) -> "TrainingStudy":
        own = (self.models, self.data, self.backends, self.precisions, self.batch_sizes)
        check_cells(prod(map(len, (*own, *self.settings.values()))))
        check_file_names(cell.slug for cell in self.cells())
        return self

    @model_validator(mode="after")
    def _known_factors(self, info: ValidationInfo) -> "TrainingStudy":
        known = known_of(info)
        if known:
            for name in self.models:
                known.network(name)
            for name in self.data:
                known.data(name)
            for cell in self.cells():
                known.hyperparameters(cell.model, dict(cell.settings))
        for dimension in self.search.dimensions if self.search else ():
            if dimension.name == "batch_size":  # the cell's factor, and no setting
                _check_batch_sizes(dimension)
            elif known:
                for model, value in product(self.models, dimension.examples()):
                    known.hyperparameters(model, {dimension.name: value})
        return self

    @model_validator(mode="after")
    def _resolved_protocol(self) -> "TrainingStudy":
        object.__setattr__(self, "protocol", resolved_rules(self.profile, self.protocol))
        return self

    @property
    def rules(self) -> MeasurementProtocol:
        """The resolved rules of a repetition; of the window's, only those of the warm-up count."""
        return MeasurementProtocol(**self.protocol)  # type: ignore[arg-type]  # ints were checked

    def cells(self) -> list[TrainingCell]:
        """Return every combination of factors; of a search, each without a trial."""
        return list(self._cells())

    def _cells(self) -> Iterator[TrainingCell]:
        pairs = [[(key, value) for value in values] for key, values in self.settings.items()]
        own = (self.models, self.data, self.backends, self.precisions, self.batch_sizes)
        for factors in product(*own):
            for settings in product(*pairs):
                yield TrainingCell(*factors, settings)

    def to_yaml(self) -> str:
        """Write the study so that `read_study` returns it."""
        return write_yaml(self.model_dump(mode="json", by_alias=True))


def _check_batch_sizes(dimension: Dimension) -> None:
    for text in dimension.examples():
        whole = bool(dimension.choices) or dimension.whole
        if not (whole and text.isdecimal() and 1 <= int(text) <= LARGEST_BATCH):
            raise ValueError(
                f"batch_size may be {text}; wanted whole numbers from 1 to {LARGEST_BATCH}"
            )


def make_training_study(
    members: Mapping[str, object],
    source: str = "the study",
    lines: Lines = MappingProxyType({}),
    known: Known | None = None,
) -> TrainingStudy:
    """Check a study's members, see `greenbatch.design.checking.checked`.

    Raises:
        UnknownNameError: A network or a data set is not in its registry.
        StudyError: Anything else does not hold together; the message names the member.
    """
    return checked(TrainingStudy, members, source, lines, known)
