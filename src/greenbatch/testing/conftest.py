"""What the checks share: the backend, its artifacts, networks that it has loaded; the meter."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greenbatch.errors import GreenbatchError
from greenbatch.models import inputs
from greenbatch.models.artifacts import Artifact, load_artifact, stem
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.backends import spec as spec_module
from greenbatch.runners.metering import MeterOptions, opening
from greenbatch.testing.meter_observation import Observation, observe

if TYPE_CHECKING:
    import numpy as np

_SEED = 7

MakeTask = Callable[..., backends.Task]
Load = Callable[[int], backends.Backend]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the checks of what was not named, if something else was."""
    backends_named, meters_named = config.getoption("--backend"), config.getoption("--meter")
    left_out = {
        "test_conformance.py": meters_named and not backends_named,
        "test_meters.py": not meters_named,
    }
    return True if left_out.get(collection_path.name) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every check on every backend, or meter, that was named."""
    names, meters = (metafunc.config.getoption(f"--{kind}") for kind in ("backend", "meter"))
    if not names and not meters:
        raise pytest.UsageError(
            "no backend and no meter was named; name one, e.g. --backend mine-cpu or --meter mine"
        )
    try:
        for name in names:
            backends.find(name)
        opening.check_names(meters)
    except GreenbatchError as error:
        raise pytest.UsageError(str(error)) from None
    if "spec" in metafunc.fixturenames:
        metafunc.parametrize("spec", names, indirect=True, scope="session")
    if "seen" in metafunc.fixturenames:
        metafunc.parametrize("seen", meters, indirect=True, scope="session")


@pytest.fixture(scope="session")
def seen(request: pytest.FixtureRequest) -> Observation:
    """What was seen of a meter, watched once for all checks."""
    name, _, argument = str(request.param).partition(":")
    options = MeterOptions(argument=argument)
    most_w: float | None = request.config.getoption("--most-watts")
    try:
        return observe(name, opening.load(name).open, options, most_w)
    except GreenbatchError as error:
        pytest.fail(f"the meter {name} cannot be opened here: {error}", pytrace=False)


@pytest.fixture(scope="session")
def spec(request: pytest.FixtureRequest) -> spec_module.BackendSpec:
    """The backend's entry in the table."""
    return backends.find(request.param)


@pytest.fixture(scope="session")
def backend_class(spec: spec_module.BackendSpec) -> type[backends.Backend]:
    """The class behind it."""
    return backends.resolve(spec)


@pytest.fixture(scope="session")
def find_artifact(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Artifact]:
    """A function that returns the network in a precision, made if no folder was named."""
    model: str = pytestconfig.getoption("--model")
    given: Path | None = pytestconfig.getoption("--artifacts")
    folder = given or tmp_path_factory.mktemp("artifacts")

    def find(precision: str = "fp32") -> Artifact:
        if not (folder / f"{stem(model, precision)}.json").exists() and given is None:
            from greenbatch.exporter import export_model
            from greenbatch.exporter.precisions.export import export_lower

            if precision == "fp32":
                export_model(model, folder, weights="random")
            else:
                find()
                export_lower(model, precision, folder)
        return load_artifact(folder, model, precision)

    return find


@pytest.fixture(scope="session")
def make_task(
    spec: spec_module.BackendSpec, find_artifact: Callable[[str], Artifact]
) -> Callable[..., backends.Task]:
    """A function that makes a task of a batch size, in fp32 and with default settings."""

    def make(
        batch_size: int,
        precision: str = "fp32",
        *,
        allow_fallback: bool = False,
        cache: Path | None = None,
    ) -> backends.Task:
        artifact = find_artifact(precision)
        manifest = artifact.manifest
        return backends.Task(
            cell=Cell(manifest.model, spec.name, precision, batch_size=batch_size),
            artifact=artifact.path,
            weights=artifact.weights_path,
            manifest=manifest,
            threads=1,
            images=inputs.synthetic_images(manifest.input, batch_size, seed=_SEED),
            allow_fallback=allow_fallback,
            cache=cache,
        )

    return make


@pytest.fixture(scope="session")
def load(backend_class: type[backends.Backend], make_task: MakeTask) -> Load:
    """A function that returns the backend with a batch size loaded in fp32, once for all checks."""
    loaded: dict[int, backends.Backend] = {}

    def get(batch_size: int) -> backends.Backend:
        if batch_size not in loaded:
            loaded[batch_size] = backend_class(make_task(batch_size))
        loaded[batch_size].run()
        return loaded[batch_size]

    return get


@pytest.fixture(scope="session")
def reference(find_artifact: Callable[[str], Artifact]) -> "Callable[[int], np.ndarray]":
    """A function that returns ONNX Runtime's logits of the same images, fp32 on the CPU."""
    import onnxruntime as ort

    artifact = find_artifact("fp32")
    session = ort.InferenceSession(str(artifact.path), providers=["CPUExecutionProvider"])

    def logits(batch_size: int) -> "np.ndarray":
        images = inputs.synthetic_images(artifact.manifest.input, batch_size, seed=_SEED)
        found: np.ndarray = session.run(None, {session.get_inputs()[0].name: images})[0]
        return found.reshape(batch_size, -1)

    return logits
