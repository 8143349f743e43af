"""The check agrees with ONNX Runtime's own CUDA provider, on a simulated CUDA runtime."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from greenbatch.exporter.placement.check import check_placement
from greenbatch.exporter.placement.kernels import cuda_kernels
from tests.fakes import cuda_runtime
from tests.fakes.onnx_runtime import write_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        cuda_runtime.unavailable() is not None, reason=cuda_runtime.unavailable() or ""
    ),
]

_ASK = """
import json, sys
import onnxruntime as ort
from greenbatch.models.onnx_placement import RECORD, read_placement
from greenbatch.models.onnx_session import BIAS_QUANTISING, LEFT_OUT

answers = {}
for file in sys.argv[1:]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry(RECORD, "1")
    options.add_session_config_entry(LEFT_OUT, BIAS_QUANTISING)
    try:
        session = ort.InferenceSession(
            file, options, providers=["CUDAExecutionProvider"], enable_fallback=0
        )
    except Exception as error:
        answers[file] = {"refused": str(error)}
        continue
    placement = read_placement(session, "CUDAExecutionProvider", file)
    answers[file] = {
        "shape": list(placement.shape_nodes),
        "computing": [n for nodes in placement.elsewhere.values() for n in nodes],
        "version": ort.__version__,
    }
print(json.dumps(answers))
"""


def tensor(name: str, *dims: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def save(path: Path, nodes: list[onnx.NodeProto], opset: int = 20, **values: np.ndarray) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [tensor("x", "batch", 4, 8, 8)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def write_all(folder: Path) -> list[Path]:
    """Networks with kernels and without, sizes, indices, whole numbers and 8 bits."""
    node = helper.make_node
    one, zero, rest = (np.array([n], np.int64) for n in (1, 0, -1))
    write_network(folder / "sizes.onnx")
    write_network(folder / "int32_bias.onnx", bias="int32")
    write_network(folder / "int8_bias.onnx", bias="int8")
    save(
        folder / "class_token.onnx",
        [
            node("Shape", ["x"], ["batch"], "shape", start=0, end=1),
            node("Concat", ["batch", "one", "one", "one"], ["wanted"], "sizes", axis=0),
            node("Expand", ["token", "wanted"], ["tokens"], "expand"),
            node("Concat", ["tokens", "x"], ["y"], "cat", axis=1),
        ],
        one=one,
        token=np.ones((1, 1, 8, 8), np.float32),
    )
    save(
        folder / "indices.onnx",
        [
            node("Shape", ["x"], ["batch"], "shape", start=0, end=1),
            node("Squeeze", ["batch"], ["count"], "count"),
            node("Range", ["first", "count", "step"], ["rows"], "range"),
            node("Gather", ["x", "rows"], ["y"], "gather", axis=0),
        ],
        first=np.array(0, np.int64),
        step=np.array(1, np.int64),
    )
    relu = node("Relu", ["x"], ["r"], "relu")
    save(folder / "no_kernel.onnx", [relu, node("Det", ["r"], ["y"], "det")])
    pool = node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[2, 2])
    save(folder / "too_new.onnx", [pool], opset=22)
    save(
        folder / "size_as_factor.onnx",
        [
            node("Size", ["x"], ["count"], "size"),
            node("Cast", ["count"], ["factor"], "cast", to=TensorProto.FLOAT),
            node("Mul", ["x", "factor"], ["y"], "mul"),
        ],
    )
    save(
        folder / "slices.onnx",
        [
            node("Shape", ["x"], ["dims"], "shape"),
            node("Gather", ["dims", "one"], ["channels"], "channels"),
            node("Div", ["channels", "two"], ["half"], "half"),
            node("Slice", ["x", "zero", "half", "one"], ["y"], "slice"),
            node("Unsqueeze", ["half", "zero"], ["unused"], "unused"),
        ],
        one=one,
        zero=zero,
        rest=rest,
        two=np.array([2], np.int64),
    )
    return sorted(folder.glob("*.onnx"))


def test_the_check_and_the_provider_leave_the_same_nodes(tmp_path: Path) -> None:
    files = write_all(tmp_path)
    libraries = cuda_runtime.build(tmp_path / "cuda")
    env = os.environ | {"LD_LIBRARY_PATH": str(libraries)}
    done = subprocess.run(
        [sys.executable, "-c", _ASK, *map(str, files)], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    for file in files:
        real, checked = answers[str(file)], check_placement(file)[0]
        computing = [text.partition(": ")[0] for text in checked.computing]
        assert sorted(computing) == sorted(real["computing"]), file.name
        assert sorted(checked.shape) == sorted(real["shape"]), file.name
        if real["version"] != cuda_kernels().version:
            pytest.skip(f"the table is of {cuda_kernels().version}, not {real['version']}")
    left = {file.stem: len(check_placement(file)[0].computing) for file in files}
    assert left["int32_bias"] == left["sizes"] + 1
    assert left["int8_bias"] == left["sizes"]
    assert (left["no_kernel"], left["too_new"], left["class_token"]) == (1, 1, 0)
