"""OpenVINO's runtime computes what ONNX Runtime does, tells what is in force, and stays quiet."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from greenbatch.errors import PlacementError, StudyError, UnsupportedCell
from greenbatch.exporter import Origin, export_module
from greenbatch.exporter.precisions.export import export_lower
from greenbatch.models import inputs
from greenbatch.models.agreement import difference, fault
from greenbatch.models.artifacts import load_artifact
from greenbatch.models.weights.load import WeightsApplied, load_weights
from greenbatch.records import FACTORS, Cell
from greenbatch.runners import backends
from greenbatch.runners.backends import openvino_model
from greenbatch.runners.backends.openvino_model import OpenvinoModel, _Compiled, _Core, _Model
from greenbatch.testing.outputs import only_output
from tests.fakes.networks import SPEC, Convolutional

openvino = pytest.importorskip("openvino")

NAME = "openvino-cpu"
Logits = np.ndarray
MakeTask = Callable[..., backends.Task]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small network in three precisions."""
    folder = tmp_path_factory.mktemp("artifacts")
    module = Convolutional()
    load_weights(module, SPEC, "random", 0)
    export_module(module, SPEC, folder, Origin(WeightsApplied("random", "seed 0"), "0" * 64))
    for precision in ("fp16", "int8"):
        export_lower(SPEC.name, precision, folder)
    return folder


@pytest.fixture
def make_task(artifacts: Path) -> MakeTask:
    """A function that makes a task for the small network."""

    def make(
        precision: str = "fp32",
        batch_size: int = 3,
        name: str = NAME,
        io: str = "host",
        artifact: Path | None = None,
        cache: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> backends.Task:
        found = load_artifact(artifacts, SPEC.name, precision)
        return backends.Task(
            cell=Cell(SPEC.name, name, precision, io=io, batch_size=batch_size),
            artifact=artifact or found.path,
            weights=found.weights_path,
            manifest=found.manifest,
            threads=1,
            images=inputs.synthetic_images(SPEC, batch_size, seed=7),
            settings=backends.parse_settings(name, OpenvinoModel.options, settings or {}),
            cache=cache,
        )

    return make


def expected(task: backends.Task) -> Logits:
    """Return ONNX Runtime's logits of a task's images, from the fp32 artifact."""
    import onnxruntime as ort

    path = task.artifact.with_name(f"{SPEC.name}-fp32.onnx")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits: Logits = session.run(None, {session.get_inputs()[0].name: task.images})[0]
    return logits


def run(task: backends.Task) -> OpenvinoModel:
    backend = OpenvinoModel(task)
    backend.run()
    return backend


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_logits_agree_with_onnx_runtime(
    make_task: MakeTask, precision: str, batch_size: int
) -> None:
    task = make_task(precision, batch_size)
    got, wanted = only_output(run(task)), expected(task)
    assert got.shape == wanted.shape
    assert wanted.std() > 0.05
    assert fault(difference(wanted, got), precision) is None


def test_a_run_reads_the_tasks_images_where_they_are(make_task: MakeTask) -> None:
    task = make_task()
    backend = run(task)
    first = only_output(backend)
    task.images[...] = task.images[::-1].copy()
    backend.run()
    np.testing.assert_allclose(only_output(backend), first[::-1], atol=1e-6)


def test_outputs_is_a_copy(make_task: MakeTask) -> None:
    backend = run(make_task())
    first = only_output(backend)
    kept = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(only_output(backend), kept)
    backend.run()
    np.testing.assert_array_equal(only_output(backend), kept)


def test_fp32_is_computed_in_fp32_and_bf16_is_told_when_it_is_asked_for(
    make_task: MakeTask,
) -> None:
    plain = run(make_task())
    assert plain.settings["arithmetic"] == "fp32"
    assert plain.settings["property.INFERENCE_PRECISION_HINT"] == "f32"
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    hint = {"property.INFERENCE_PRECISION_HINT": "bf16"}
    lowered = run(make_task(settings=hint))
    assert lowered.settings["arithmetic"] == "bf16"
    assert np.abs(only_output(lowered) - only_output(plain)).max() > 0


def test_an_int8_artifact_multiplies_in_int8(make_task: MakeTask) -> None:
    settings = run(make_task("int8")).settings
    assert settings["arithmetic"] == "int8"
    assert "in int8" in str(settings["products"])


def test_fp16_is_computed_in_fp32_by_a_cpu_that_has_no_fp16(make_task: MakeTask) -> None:
    able = "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert run(make_task("fp16")).settings["arithmetic"] == ("fp16" if able else "fp32")


def test_what_is_in_force_has_every_factor_and_fits_into_a_journal(make_task: MakeTask) -> None:
    backend = run(make_task())
    assert FACTORS.keys() - backend.settings.keys() == {"affinity", "transfers"}
    assert json.loads(json.dumps(dict(backend.settings))) == backend.settings
    assert backend.settings["threads"] == 1
    assert backend.settings["property.PERFORMANCE_HINT"] == "LATENCY"
    assert str(backend.settings["openvino"]).startswith("20")


def test_it_runs_on_the_cpu_alone_and_says_with_how_many_nodes(make_task: MakeTask) -> None:
    backend = run(make_task())
    assert backend.placement.keys() == {"CPU"}
    assert 3 <= backend.placement["CPU"] <= 40
    assert backend.fell_back is False


def test_another_device_than_asked_is_refused(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_model = openvino_model._compile

    def elsewhere(core: _Core, model: _Model, device: str, properties: object) -> _Compiled:
        return compile_model(core, model, "CPU", {})

    monkeypatch.setattr(openvino_model, "_compile", elsewhere)
    monkeypatch.setattr(openvino_model, "_properties", lambda *_: {})
    with pytest.raises(PlacementError, match=r"was to run on GPU alone.* executes it on CPU"):
        OpenvinoModel(make_task(name="openvino-gpu"))


def test_a_throughput_hint_makes_streams_that_share_the_threads(make_task: MakeTask) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if cores < 2:
        pytest.skip("one core makes one stream")
    settings = {"num_streams": "2", "inference_num_threads": "2"}
    backend = run(make_task(settings=settings))
    assert backend.settings["property.NUM_STREAMS"] == 2
    assert backend.settings["threads"] == 1
    hinted = run(make_task(settings={"performance_hint": "THROUGHPUT"}))
    assert hinted.settings["property.PERFORMANCE_HINT"] == "THROUGHPUT"


def test_any_other_property_is_set_by_its_own_name(make_task: MakeTask) -> None:
    on = {"property.PERF_COUNT": "YES"}
    assert run(make_task()).settings["property.PERF_COUNT"] == "NO"
    assert run(make_task(settings=on)).settings["property.PERF_COUNT"] == "YES"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"property.NOPE": "1"}, "Unsupported property NOPE"),
        ({"property.INFERENCE_PRECISION_HINT": "x"}, "Wrong value x"),
    ],
)
def test_a_property_that_openvino_refuses_is_named_without_its_source_lines(
    make_task: MakeTask, settings: Mapping[str, str], message: str
) -> None:
    with pytest.raises(StudyError, match=message) as refused:
        OpenvinoModel(make_task(settings=settings))
    assert ".cpp" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_setting_that_openvino_corrects_is_refused(make_task: MakeTask) -> None:
    with pytest.raises(UnsupportedCell, match="num_threads was set to 9999, and OpenVINO made it"):
        OpenvinoModel(make_task(settings={"inference_num_threads": "9999"}))
    assert run(make_task(settings={"inference_num_threads": "0"})).settings["threads"] != 0


def test_a_warm_cache_is_read_and_changes_nothing(make_task: MakeTask, tmp_path: Path) -> None:
    cold = run(make_task(cache=tmp_path))
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    warm = run(make_task(cache=tmp_path))
    assert made
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == made
    np.testing.assert_array_equal(only_output(warm), only_output(cold))
    assert warm.settings == cold.settings
    assert warm.placement == cold.placement


def test_an_operator_that_openvino_does_not_know_is_named(
    make_task: MakeTask, tmp_path: Path
) -> None:
    def tensor(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])

    node = helper.make_node("Frob", ["x"], ["y"], domain="mine")
    graph = helper.make_graph([node], "g", [tensor("x")], [tensor("y")])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "own.onnx")
    with pytest.raises(UnsupportedCell, match=r"cannot read own\.onnx.*mine\.Frob") as refused:
        OpenvinoModel(make_task(artifact=tmp_path / "own.onnx"))
    assert ".cpp" not in str(refused.value)


def test_a_device_that_is_not_there_is_said_with_a_cure(make_task: MakeTask) -> None:
    assert OpenvinoModel.unavailable("cpu") is None
    reason = OpenvinoModel.unavailable("xpu")
    assert reason is not None
    assert "finds no XPU here" in reason
    assert "measure openvino-cpu" in reason


def test_a_missing_package_is_said_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert "pip install 'greenbatch[openvino]'" in str(OpenvinoModel.unavailable("cpu"))


def test_the_trial_runs_one_convolution() -> None:
    (nodes,) = OpenvinoModel.trial("cpu").values()
    assert 1 <= nodes <= 5


def test_other_devices_are_measured_with_host_memory_only(make_task: MakeTask) -> None:
    with pytest.raises(UnsupportedCell, match="leave --io device out"):
        OpenvinoModel(make_task(name="openvino-gpu", io="device"))


@pytest.mark.slow
def test_importing_openvino_through_the_backend_reports_to_nobody(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "import greenbatch.runners.backends.openvino_model as m\n"
        "import importlib; [importlib.import_module(p) for p in m.OpenvinoModel.packages]\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "assert telemetry_utils.tm.__name__.endswith('telemetry_stub'), telemetry_utils.tm\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    home = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    subprocess.run([sys.executable, "-W", "error", "-c", script], env=home, check=True)
    assert not list(tmp_path.iterdir())  # where it would keep a client's id
