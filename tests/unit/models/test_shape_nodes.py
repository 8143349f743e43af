"""Nodes that compute sizes alone are distinguished from those that have a part in the result."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from greenbatch.models.onnx_placement import read_placement
from greenbatch.models.shape_nodes import find_shape_nodes
from tests.fakes.onnx_runtime import FakeOrt, Session, SessionOptions, write_network


def network(
    nodes: list[onnx.NodeProto], output: str = "y", **constants: np.ndarray
) -> onnx.ModelProto:
    """A graph from images of 3x2x2 to ``y``."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 2, 2])],
        [onnx.ValueInfoProto(name=output)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


ZERO, ONE, REST = (np.array([n], np.int64) for n in (0, 1, -1))


def shape() -> onnx.NodeProto:
    return helper.make_node("Shape", ["x"], ["dims"], "shape")


def test_what_leads_to_the_sizes_of_a_reshape_alone_computes_sizes(tmp_path: Path) -> None:
    write_network(tmp_path / "tiny.onnx")
    found = find_shape_nodes(onnx.load(tmp_path / "tiny.onnx"))
    assert found == {("Slice", "first"), ("Concat", "sizes")}


@pytest.mark.parametrize(
    "end",
    [
        [helper.make_node("Cast", ["first"], ["y"], "cast", to=TensorProto.FLOAT)],
        [helper.make_node("Gather", ["x", "first"], ["y"], "gather")],
        [helper.make_node("Identity", ["first"], ["y"], "out")],  # the graph's own output
    ],
)
def test_what_leads_to_a_result_does_not(end: list[onnx.NodeProto]) -> None:
    first = helper.make_node("Gather", ["dims", "zero"], ["first"], "first")
    assert find_shape_nodes(network([shape(), first, *end], zero=ZERO)) == set()


def test_one_way_into_a_result_is_enough() -> None:
    nodes = [
        shape(),
        helper.make_node("Gather", ["dims", "zero"], ["first"], "first"),
        helper.make_node("Concat", ["first", "rest"], ["sizes"], "sizes", axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["flat"], "flat"),
        helper.make_node("Cast", ["first"], ["factor"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["flat", "factor"], ["y"], "mul"),
    ]
    assert find_shape_nodes(network(nodes, zero=ZERO, rest=REST)) == {("Concat", "sizes")}


@pytest.mark.parametrize("nested", [False, True])
def test_what_a_graph_inside_a_node_takes_is_data(nested: bool) -> None:
    def branch(*nodes: onnx.NodeProto) -> onnx.GraphProto:
        out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
        return helper.make_graph(list(nodes), "branch", [], [out])

    scaled = branch(
        helper.make_node("Cast", ["first"], ["factor"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "factor"], ["out"], "mul"),
    )
    plain = branch(helper.make_node("Identity", ["x"], ["out"], "same"))
    if nested:
        inner = helper.make_node(
            "If", ["yes"], ["out"], "inner", then_branch=scaled, else_branch=plain
        )
        scaled = branch(inner)
    nodes = [
        shape(),
        helper.make_node("Gather", ["dims", "zero"], ["first"], "first"),
        helper.make_node("If", ["yes"], ["y"], "if", then_branch=scaled, else_branch=plain),
    ]
    assert find_shape_nodes(network(nodes, zero=ZERO, yes=np.array(True))) == set()


@pytest.mark.parametrize(
    "start",
    [
        [helper.make_node("Cast", ["x"], ["made"], "made", to=TensorProto.INT64)],
        [helper.make_node("ArgMax", ["x"], ["made"], "made", keepdims=0)],
        [helper.make_node("NonZero", ["x"], ["made"], "made")],
    ],
)
def test_what_is_made_of_the_numbers_of_an_image_is_no_size(start: list[onnx.NodeProto]) -> None:
    nodes = [
        *start,
        helper.make_node("Reshape", ["made", "rest"], ["flat"], "flat"),
        helper.make_node("Slice", ["flat", "zero", "one"], ["sizes"], "sizes"),
        helper.make_node("ConstantOfShape", ["sizes"], ["y"], "fill"),
    ]
    model = network(nodes, zero=ZERO, one=ONE, rest=REST)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    assert find_shape_nodes(model) == set()


@pytest.mark.parametrize(("elements", "counts"), [(100, True), (101, False)])
def test_more_than_a_hundred_elements_are_data(elements: int, counts: bool) -> None:
    nodes = [
        helper.make_node("Neg", ["many"], ["sizes"], "neg"),
        helper.make_node("ConstantOfShape", ["sizes"], ["y"], "fill"),
    ]
    found = find_shape_nodes(network(nodes, many=np.ones(elements, np.int64)))
    assert (("Neg", "neg") in found) is counts


def test_a_size_that_is_not_known_is_not_small() -> None:
    nodes = [
        shape(),
        helper.make_node("Gather", ["dims", "zero"], ["first"], "first"),
        helper.make_node("ConstantOfShape", ["first"], ["zeros"], "zeros"),
        helper.make_node("Cast", ["zeros"], ["sizes"], "whole", to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["sizes"], ["y"], "fill"),
    ]
    assert ("Cast", "whole") not in find_shape_nodes(network(nodes, zero=ZERO))


def test_nodes_of_one_name_are_sizes_only_together() -> None:
    nodes = [
        shape(),
        helper.make_node("Gather", ["dims", "zero"], ["first"]),
        helper.make_node("Concat", ["first", "rest"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["flat"]),
        helper.make_node("Gather", ["flat", "zero"], ["y"]),
    ]
    assert find_shape_nodes(network(nodes, zero=ZERO, rest=REST)) == {
        ("Shape", "shape"),
        ("Concat", ""),
    }


def test_a_placement_counts_sizes_apart(tmp_path: Path) -> None:
    file = tmp_path / "tiny.onnx"
    write_network(file)
    options = SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = Session(
        FakeOrt(on_cpu=("sizes", "scaled")),
        options,
        [("CUDAExecutionProvider", {})],
        onnx.load(file).graph,
    )
    found = read_placement(session, "CUDAExecutionProvider", file)
    assert found.nodes == {"CUDAExecutionProvider": 7, "CPUExecutionProvider": 1}
    assert found.shape_nodes == ("Concat 'sizes'",)
    assert found.fault() == "1 of 9 to CPUExecutionProvider: Mul 'scaled'"
    on_cpu = read_placement(session, "CPUExecutionProvider", file)
    assert not on_cpu.shape_nodes, "a session on the CPU has no nodes apart"


@pytest.mark.parametrize(("left", "refused"), [(("first", "sizes"), False), (("relu",), True)])
def test_an_evaluation_refuses_what_computes_on_the_cpu_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: tuple[str, ...], refused: bool
) -> None:
    import sys
    from types import SimpleNamespace
    from typing import Any, cast

    from greenbatch.errors import PlacementError
    from greenbatch.records import InputSpec, TensorSpec
    from greenbatch.runners import evaluation
    from greenbatch.runners.backends.onnx_runtime.session import OnnxSession

    fake = FakeOrt(on_cpu=left)
    monkeypatch.setitem(sys.modules, "onnxruntime", cast("Any", fake))
    monkeypatch.setattr(OnnxSession, "unavailable", lambda provider: None)
    write_network(tmp_path / "tiny.onnx")
    logits = TensorSpec(name="logits", dtype="float32", dims=("batch", 4))
    manifest = SimpleNamespace(
        model="tiny", precision="fp32", input=InputSpec(name="images"), outputs=(logits,)
    )
    artifact = cast("Any", SimpleNamespace(path=tmp_path / "tiny.onnx", manifest=manifest))
    if refused:
        with pytest.raises(PlacementError, match=r"1 of 9 to CPUExecutionProvider: Relu 'relu'"):
            evaluation._open(artifact, "cuda", 1)
    else:
        evaluation._open(artifact, "cuda", 1)
