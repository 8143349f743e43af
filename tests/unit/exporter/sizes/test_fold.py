"""A graph that holds its sizes as constants computes what it did, at every batch."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from greenbatch.exporter.sizes.fold import fold_sizes
from greenbatch.models.onnx_session import open_session

SIZES = {"Shape", "Size", "Squeeze", "Range", "Concat", "ConstantOfShape", "Tile", "Min", "Div"}


def node(kind: str, inputs: str, output: str, **marks: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=output, **marks)  # type: ignore[arg-type]


SHAPE = node("Shape", "x", "dims")
BATCH = node("Shape", "x", "batch", start=0, end=1)
NUMBERS = {
    "zero": [0], "one": [1], "two": [2], "rest": [-1], "four": [4], "six": [6], "eight": [8],
    "first": 0, "step": 1, "two_axes": [1, 2], "to_rows": [0, -1, 4], "pixels": 48,
}  # fmt: skip


def network(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A graph from images of 6x2x4, ``x``, to ``y``."""
    constants = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in NUMBERS.items()]
    token = np.arange(4, dtype=np.float32).reshape(1, 1, 4)
    constants.append(numpy_helper.from_array(token, "token"))
    columns = np.arange(48, dtype=np.int64).reshape(1, 6, 8)
    turned = columns.transpose(0, 2, 1)
    for name, value in (("columns", columns), ("turned_columns", turned), ("some", turned[:, :5])):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6, 2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def run(model: onnx.ModelProto, batch: int) -> np.ndarray:
    images = np.arange(batch * 48, dtype=np.float32).reshape(batch, 6, 2, 4)
    (result,) = open_session(model.SerializeToString(), threads=1).run(None, {"x": images})
    return np.asarray(result)


INDICES = (
    BATCH,
    node("Squeeze", "batch", "count"),
    node("Range", "first count step", "rows"),
    node("Mul", "rows pixels", "starts"),
    node("Unsqueeze", "starts two_axes", "column"),
)


def gather(columns: str) -> list[onnx.NodeProto]:
    """Read the flat images by indices that are computed from the batch."""
    return [
        node("Add", f"column {columns}", "indices"),
        node("Reshape", "x rest", "flat"),
        node("Gather", "flat indices", "y", axis=0),
    ]


FOLDED = {
    "to rows": [BATCH, node("Concat", "batch rest", "s", axis=0), node("Reshape", "x s", "y")],
    "heads into the batch": [
        SHAPE,
        node("Slice", "dims two four", "last"),
        node("Concat", "rest last", "s", axis=0),
        node("Reshape", "x s", "many_rows"),
        node("Transpose", "many_rows", "turned", perm=[0, 2, 1]),
        node("Slice", "dims zero two", "front"),
        node("Concat", "front four two", "back", axis=0),
        node("Reshape", "turned back", "y"),
    ],
    "a class token": [
        BATCH,
        node("Concat", "batch one one", "s", axis=0),
        node("Expand", "token s", "tokens"),
        node("Reshape", "x to_rows", "flat"),
        node("Concat", "tokens flat", "y", axis=1),
    ],
    "a token that also grows by constants": [
        BATCH,
        node("Concat", "batch six four", "s", axis=0),
        node("Expand", "token s", "y"),
    ],
    "zeros for each image": [
        BATCH,
        node("Concat", "batch two four", "s", axis=0),
        node("ConstantOfShape", "s", "y"),
    ],
    "a token that is repeated": [
        BATCH,
        node("Concat", "batch one one", "s", axis=0),
        node("Tile", "token s", "y"),
    ],
    "a slice to the batch": [BATCH, node("Slice", "x zero batch zero", "y")],
    "a half of the channels": [
        node("Shape", "x", "channels", start=1, end=2),
        node("Div", "channels two", "half"),
        node("Slice", "x zero half one", "y"),
    ],
    "a view by indices": [*INDICES, *gather("columns")],
    "another order by indices": [*INDICES, *gather("turned_columns")],
}

KEPT = {
    "some of the elements by indices": ([*INDICES, *gather("some")], {"Range"}),
    "no line through the batch": (
        [BATCH, node("Min", "batch two", "least"), node("Slice", "x zero least zero", "y")],
        {"Min"},
    ),
    "half of the batch": (
        [BATCH, node("Div", "batch two", "half"), node("Slice", "x half batch zero", "y")],
        {"Div"},
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_sizes_become_constants_and_every_batch_stays_as_it_was(name: str, tmp_path: Path) -> None:
    model = network(*FOLDED[name])
    wanted = {batch: run(model, batch) for batch in (1, 2, 5, 11)}
    assert fold_sizes(model, "batch", tmp_path)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    left = {n.op_type for n in model.graph.node if n.output[0] != "y"} & SIZES
    assert not left
    for batch, result in wanted.items():
        np.testing.assert_array_equal(run(model, batch), result)


@pytest.mark.parametrize("name", KEPT)
def test_what_is_no_line_or_no_view_stays(name: str, tmp_path: Path) -> None:
    nodes, kinds = KEPT[name]
    model = network(*nodes)
    wanted = {batch: run(model, batch) for batch in (2, 5, 11)}
    fold_sizes(model, "batch", tmp_path)
    assert kinds <= {n.op_type for n in model.graph.node}
    for batch, result in wanted.items():
        np.testing.assert_array_equal(run(model, batch), result)


def test_a_graph_that_computes_no_sizes_is_left_as_it_is(tmp_path: Path) -> None:
    model = network(node("Reshape", "x to_rows", "flat"), node("Relu", "flat", "y"))
    before = model.SerializeToString()
    assert fold_sizes(model, "batch", tmp_path) == ()
    assert model.SerializeToString() == before


def test_a_graph_inside_a_node_keeps_what_it_takes(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [node("Reshape", "x s", "inner")], "branch", [], [onnx.ValueInfoProto(name="inner")]
    )
    model = network(
        BATCH,
        node("Concat", "batch rest", "s", axis=0),
        node("Cast", "batch", "some", to=TensorProto.BOOL),
        node("If", "some", "y", then_branch=inner, else_branch=inner),
    )
    assert fold_sizes(model, "batch", tmp_path) == ()
    assert [n.op_type for n in model.graph.node] == ["Shape", "Concat", "Cast", "If"]


def test_infinite_pixels_reach_no_token(tmp_path: Path) -> None:
    model = network(*FOLDED["a token that is repeated"])
    fold_sizes(model, "batch", tmp_path)
    images = np.full((3, 6, 2, 4), np.nan, np.float32)
    (result,) = open_session(model.SerializeToString(), threads=1).run(None, {"x": images})
    np.testing.assert_array_equal(result, np.arange(4, dtype=np.float32)[None, None].repeat(3, 0))


@pytest.mark.slow
def test_an_exported_transformer_needs_no_sizes(tmp_path: Path) -> None:
    import torch
    from torch import nn

    from greenbatch.exporter.placement.check import check_placement
    from greenbatch.exporter.torch_to_onnx import write_graph
    from tests.fakes.networks import SPEC

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.ones(1, 1, 12))
            self.patches = nn.Conv2d(3, 12, 4, 4)
            self.layer = nn.TransformerEncoderLayer(12, 3, 24, batch_first=True)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            rows = self.patches(images).flatten(2).transpose(1, 2)
            tokens = self.token.expand(images.shape[0], -1, -1)
            logits: torch.Tensor = self.layer(torch.cat([tokens, rows], 1))[:, 0]
            return logits

    graph = write_graph(Transformer().eval(), SPEC, tmp_path / "net.onnx")
    kinds = {n.op_type for n in onnx.load(tmp_path / "net.onnx").graph.node}
    assert not kinds & {"Shape", "Size", "Range", "Expand"}
    assert graph.outputs[0].dims == ("batch", 12)
    assert all(
        not left.computing and not left.shape for left in check_placement(tmp_path / "net.onnx")
    )


@pytest.mark.parametrize("kind", [TensorProto.BOOL, TensorProto.INT64])
def test_a_mask_for_each_image_still_runs(kind: int, tmp_path: Path) -> None:
    """ONNX Runtime has no Where for truth values: their Expand stays, that of numbers goes."""
    model = network(
        BATCH,
        node("Concat", "batch four", "sizes", axis=0),
        node("Cast", "one", "mask", to=kind),
        node("Expand", "mask sizes", "rows"),
        node("Cast", "rows", "y", to=TensorProto.FLOAT),
    )
    wanted = [run(model, batch) for batch in (1, 2, 5)]
    fold_sizes(model, "batch", tmp_path)
    for batch, rows in zip((1, 2, 5), wanted, strict=True):
        np.testing.assert_array_equal(run(model, batch), rows)
    kept = "Expand" if kind == TensorProto.BOOL else "Where"
    assert kept in {each.op_type for each in model.graph.node}
