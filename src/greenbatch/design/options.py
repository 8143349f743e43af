"""The keywords of `greenbatch.bench` and of its kind: each a member of a study, with its type."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from greenbatch.errors import UnknownNameError

_Values = Mapping[str, Sequence[str | float] | str | float]
_OTHERS = ("models", "listener", "share_machine", "wait_machine_s")


class _Options(TypedDict, total=False):
    """What studies of both kinds take, see `greenbatch.design.study.Study`."""

    name: str
    about: str
    backends: Sequence[str]
    precisions: Sequence[str]
    batch_sizes: Sequence[int]
    settings: _Values
    repetitions: int
    order: str
    seed: int
    profile: str
    protocol: Mapping[str, float]
    meters: Sequence[str]
    cpu_tdp_w: float | None


class StudyOptions(_Options, total=False):
    """Members of a study of inference that a user gives, see `greenbatch.design.study.Study`."""

    threads: int | Sequence[int]
    io: Sequence[str]
    scenarios: Sequence[str]
    arrivals: Sequence[str]
    rates: Sequence[float]
    policies: Sequence[str]
    requests: int
    longest_arrivals_s: float | None
    as_published: bool
    precision_target: float | str | None
    max_repetitions: int | None
    budget: float | str | None
    decide: str
    within: float | str
    weights: str
    isolation: str
    compile_cache: bool
    wait_quiet: float | str | None
    on_busy: str
    allow_fallback: bool
    probe_max_batch: int
    sources: Mapping[str, str]
    images: str | Path | None
    preprocessing: str


class BenchOptions(StudyOptions, total=False):
    """Those, and what stands for backends and says where artifacts and the run are.

    Attributes:
        runtimes: ``onnxruntime``, ``torch``, ``torch-compile``, ...; the first two when empty.
        providers: ``cpu``, ``cuda``; when empty ``cuda`` where a device can be used, else ``cpu``.
        out: The run's directory; ``runs/`` and the date and time when not given.
        artifacts_dir: Where artifacts are, or will be made.
        input: The inputs of the one network of your own, see
            `greenbatch.models.sources.input_option.parse_inputs`.
        network: What to call that network.
    """

    runtimes: Sequence[str]
    providers: Sequence[str]
    out: Path | str | None
    artifacts_dir: Path | str
    input: Sequence[str]
    network: str


class TrainingOptions(_Options, total=False):
    """Members of a study of trainings, see `greenbatch.design.training_study.TrainingStudy`."""

    threads: int
    data: Sequence[str]
    data_dir: str
    image_size: int | None
    train_images: int | None
    validation_images: int | None
    normalised: bool
    pipeline: Mapping[str, float | None]
    augmentation: Sequence[str]
    epochs: int
    patience: int
    transfer: Mapping[str, object]
    monitor: str
    min_change: float
    plateau: Mapping[str, float] | None
    search: Mapping[str, object]
    substitutions: Mapping[str, str]


def check_keywords(given: Iterable[str]) -> None:
    """Refuse a keyword that `greenbatch.bench` does not have.

    Raises:
        UnknownNameError: There is one; the message gives the nearest that there is.
    """
    known = (*BenchOptions.__annotations__, *_OTHERS)
    for name in given:
        if name not in known:
            raise UnknownNameError("option of a run", name, known)
