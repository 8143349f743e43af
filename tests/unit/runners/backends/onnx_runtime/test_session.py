"""ONNX Runtime's session on the CPU: settings are in force, and nothing is taken in silence."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from greenbatch.errors import PlacementError, StudyError
from greenbatch.models.onnx_session import CRASHING
from greenbatch.records import FACTORS, Cell, InputSpec, TensorSpec
from greenbatch.runners import backends
from greenbatch.runners.backends import cuda_driver
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession
from greenbatch.runners.backends.onnx_runtime.settings import in_force, session_options
from greenbatch.runners.backends.planning import Planning
from greenbatch.testing.outputs import only_output


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Doubles images of shape (N, 4), in two nodes."""
    from onnx import TensorProto, helper, save

    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4])
        for name in ("images", "logits")
    ]
    nodes = [
        helper.make_node("Add", ["images", "images"], ["twice"], name="node_add"),
        helper.make_node("Softplus", ["twice"], ["logits"], name="node_softplus"),
    ]
    graph = helper.make_graph(nodes, "double", shapes[:1], shapes[1:])
    path = tmp_path_factory.mktemp("onnx") / "double.onnx"
    save(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]),
        str(path),
    )
    return path


IMAGES = InputSpec(name="images")
LOGITS = TensorSpec(name="logits", dtype="float32", dims=("batch", 4))


def task(
    network: Path,
    backend: str = "onnxruntime-cpu",
    *,
    precision: str = "fp32",
    allow_fallback: bool = False,
    **settings: str,
) -> backends.Task:
    return backends.Task(
        cell=Cell("double", backend, precision, batch_size=2),
        artifact=network,
        weights=network,
        manifest=cast("Any", SimpleNamespace(input=IMAGES, outputs=[LOGITS])),
        threads=1,
        images=np.arange(8, dtype=np.float32).reshape(2, 4),
        allow_fallback=allow_fallback,
        settings=backends.parse_settings(backend, OnnxSession.options, settings),
    )


def expected() -> np.ndarray:
    return np.asarray(np.log1p(np.exp(2 * np.arange(8.0).reshape(2, 4))))


def test_a_cell_runs_its_batch_and_tells_every_factor(network: Path) -> None:
    backend = OnnxSession(task(network))
    backend.run()
    first = only_output(backend)
    np.testing.assert_allclose(first, expected(), rtol=1e-5)
    first[:] = 0
    np.testing.assert_allclose(only_output(backend), expected(), rtol=1e-5)  # it was a copy
    assert backend.placement == {"CPUExecutionProvider": 2}
    assert not backend.fell_back
    settings = backend.settings
    assert set(FACTORS) - set(settings) == {"affinity", "transfers"}
    assert settings["threads"] == 1
    assert settings["inter_op_threads"] == 1
    assert settings["spinning"] == "none"  # one thread has nobody to wait for
    assert settings["arithmetic"] == "fp32"
    assert settings["graph_capture"] == settings["autotuning"] == "none"
    assert settings["optimization"] == "ORT_ENABLE_ALL"


def test_what_is_set_is_in_force(network: Path) -> None:
    backend = OnnxSession(
        task(
            network,
            intra_op_num_threads="2",
            inter_op_num_threads="2",
            execution_mode="parallel",
            allow_spinning="0",
            graph_optimization_level="extended",
            dynamic_block_base="4",
            set_denormal_as_zero="1",
        )
    )
    backend.run()
    np.testing.assert_allclose(only_output(backend), expected(), rtol=1e-5)
    settings = backend.settings
    assert settings["threads"] == settings["inter_op_threads"] == 2
    assert settings["spinning"] is False
    assert settings["optimization"] == "ORT_ENABLE_EXTENDED"
    assert settings["execution_mode"] == "parallel"
    assert settings["dynamic_block_base"] == "4"
    assert settings["denormal_as_zero"] is True


def test_operators_that_wait_for_each_other_do_not_count_as_parallel(network: Path) -> None:
    assert OnnxSession(task(network, inter_op_num_threads="4")).settings["inter_op_threads"] == 1


def test_both_pools_of_threads_stop_spinning() -> None:
    import onnxruntime as ort

    options = session_options(
        ort, precision="fp32", threads=1, settings={"allow_spinning": False}, may_run_on_cpu=True
    )
    for pool in ("intra", "inter"):
        assert options.get_session_config_entry(f"session.{pool}_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    ("precision", "may_run_on_cpu", "left_out"),
    [("fp16", True, True), ("fp16", False, False), ("fp32", True, False)],
)
def test_the_optimiser_that_crashes_is_left_out_of_fp16_on_the_cpu(
    precision: str, may_run_on_cpu: bool, left_out: bool
) -> None:
    import onnxruntime as ort

    options = session_options(
        ort, precision=precision, threads=1, settings={}, may_run_on_cpu=may_run_on_cpu
    )
    settings = in_force(ort, PROVIDERS["cpu"], precision, options, {})
    assert (settings["optimization"] == f"ORT_ENABLE_ALL without {CRASHING}") is left_out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("provider.use_arena", "CPUExecutionProvider has no options, but use_arena is set"),
        ("enable_cuda_graph", "set on onnxruntime-cpu, which has no CUDA graphs"),
    ],
)
def test_what_the_cpu_does_not_have_is_refused(network: Path, name: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        OnnxSession(replace(task(network), settings={name: True}))


def test_nodes_without_their_provider_are_refused_with_names_and_cause(network: Path) -> None:
    if cuda_driver.unavailable() is None or "cuda" not in _built_in():
        pytest.skip("wants the CUDA provider and no CUDA device")
    with pytest.raises(PlacementError) as caught:
        OnnxSession(task(network, "onnxruntime-cuda"))
    assert str(caught.value).startswith(
        "CUDAExecutionProvider left nodes of double.onnx (2 of 2 to CPUExecutionProvider: "
        "Add 'node_add', Softplus 'node_softplus') because the library of CUDAExecutionProvider "
        "cannot be loaded ("
    )
    assert str(caught.value).endswith(
        "or pass --allow-fallback to measure the mixture and record it"
    )


def test_a_provider_that_does_not_start_is_replaced_if_that_is_allowed(network: Path) -> None:
    if cuda_driver.unavailable() is None or "cuda" not in _built_in():
        pytest.skip("wants the CUDA provider and no CUDA device")
    backend = OnnxSession(task(network, "onnxruntime-cuda", allow_fallback=True))
    backend.run()
    np.testing.assert_allclose(only_output(backend), expected(), rtol=1e-5)
    assert backend.fell_back
    assert backend.placement == {"CPUExecutionProvider": 2}
    assert backend.settings["autotuning"] == "none"  # no word of what CUDA would have done


def test_onnxruntime_knows_every_provider_in_the_table_by_its_name() -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_providers

    known = {provider.execution_provider for provider in PROVIDERS.values()}
    assert known <= set(get_all_providers())
    assert all(name == provider.name for name, provider in PROVIDERS.items())


def test_a_provider_that_the_wheel_lacks_is_told_with_the_packages_that_have_it() -> None:
    missing = next(name for name in PROVIDERS if name not in _built_in() and name != "webgpu")
    reason = OnnxSession.unavailable(missing)
    assert reason is not None
    assert f"was built without {PROVIDERS[missing].execution_provider}" in reason
    assert PROVIDERS[missing].install in reason
    assert OnnxSession.unavailable("cpu") is None


def test_the_trial_computes_a_convolution_where_it_was_asked_to() -> None:
    assert OnnxSession.trial("cpu") == {"CPUExecutionProvider": 1}


def _built_in() -> list[str]:
    import onnxruntime as ort

    available = ort.get_available_providers()
    return [
        name for name, provider in PROVIDERS.items() if provider.execution_provider in available
    ]


@pytest.mark.parametrize(
    ("name", "value"), [("planning", Planning.LOAD), ("_captures_graph", True)]
)
def test_what_was_made_for_one_size_does_not_go_on_with_another(
    network: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    session = OnnxSession(task(network))
    assert session.is_rebatchable
    monkeypatch.setattr(OnnxSession, name, value)
    assert not session.is_rebatchable
