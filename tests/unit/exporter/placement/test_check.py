"""Nodes that CUDA and TensorRT would leave to the CPU, by the tables."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from greenbatch.errors import ArtifactError
from greenbatch.exporter.placement.check import check_placement
from greenbatch.exporter.placement.kernels import cuda_kernels, tensorrt_operators
from tests.fakes.onnx_runtime import write_network


def save(
    path: Path, nodes: list[onnx.NodeProto], opset: int = 20, kind: int = TensorProto.FLOAT
) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", kind, ["batch", 4, 8, 8])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.ones(1, np.float16), "half")],  # it is not optimised then
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def test_the_tables_name_their_version_and_source() -> None:
    assert cuda_kernels().version == "1.31.1"
    assert "onnxruntime-gpu 1.31.1" in cuda_kernels().source
    assert "onnx-tensorrt at 96e781103cfc" in tensorrt_operators().source


def test_sizes_are_told_from_what_goes_into_the_logits(tmp_path: Path) -> None:
    write_network(tmp_path / "tiny.onnx")
    cuda, tensorrt = check_placement(tmp_path / "tiny.onnx")
    assert cuda.shape == ("Slice 'first'", "Concat 'sizes'")
    assert [text.partition(":")[0] for text in cuda.computing] == [
        "Gather 'count'",
        "Cast 'as_number'",
    ]
    assert "2 of 9 nodes to the CPU (1 Gather, 1 Cast)" in cuda.fault
    assert not tensorrt.computing
    assert not tensorrt.shape


@pytest.mark.parametrize(
    ("opset", "kind", "why"),
    [
        (21, TensorProto.BFLOAT16, "no kernel for bfloat16"),
        (22, TensorProto.FLOAT, "no kernel of operator set 22"),
        (21, TensorProto.FLOAT16, ""),
    ],
)
def test_a_kernel_is_of_an_operator_set_and_of_types(
    tmp_path: Path, opset: int, kind: int, why: str
) -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[2, 2])
    save(tmp_path / "pool.onnx", [pool], opset, kind)
    cuda, tensorrt = check_placement(tmp_path / "pool.onnx")
    assert (why in cuda.computing[0]) if why else not cuda.computing
    assert not tensorrt.computing


def test_a_bias_of_32_bits_is_left_to_the_cpu_by_both(tmp_path: Path) -> None:
    write_network(tmp_path / "int32.onnx", bias="int32")
    for left in check_placement(tmp_path / "int32.onnx"):
        assert any("DequantizeLinear 'bias'" in text and "int32" in text for text in left.computing)
    write_network(tmp_path / "int8.onnx", bias="int8")
    for left in check_placement(tmp_path / "int8.onnx"):
        assert not any("bias" in text for text in left.computing)


def test_tensorrt_takes_no_unsigned_values(tmp_path: Path) -> None:
    write_network(tmp_path / "unsigned.onnx", bias="uint8")
    cuda, tensorrt = check_placement(tmp_path / "unsigned.onnx")
    assert not any("bias" in text for text in cuda.computing)
    assert any("uint8" in text for text in tensorrt.computing)


def test_an_operator_that_no_gpu_has_is_left(tmp_path: Path) -> None:
    det = helper.make_node("Det", ["x"], ["y"], "det")
    save(tmp_path / "det.onnx", [det])
    cuda, tensorrt = check_placement(tmp_path / "det.onnx")
    assert cuda.computing == ("Det 'det': no kernel",)
    assert tensorrt.computing == ("Det 'det': not in the table of operators",)


def test_a_graph_inside_a_node_is_not_passed_over(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"])],
        "branch",
        [],
        [onnx.ValueInfoProto(name="inner")],
    )
    nodes = [
        helper.make_node("Size", ["x"], ["count"], "size"),
        helper.make_node("Cast", ["count"], ["some"], "some", to=TensorProto.BOOL),
        helper.make_node("If", ["some"], ["y"], "if", then_branch=branch, else_branch=branch),
    ]
    save(tmp_path / "if.onnx", nodes)
    for left in check_placement(tmp_path / "if.onnx"):
        assert "If 'if': holds a graph of its own, which is not checked" in left.computing


def test_a_file_that_is_no_graph_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(ArtifactError, match=r"torn\.onnx cannot be checked for GPUs"):
        check_placement(tmp_path / "torn.onnx")
