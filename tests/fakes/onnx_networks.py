"""Small ``.onnx`` networks of images with outputs and inputs of many kinds, and their artifacts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from greenbatch.exporter.user_network import export_own
from greenbatch.models.artifacts import Artifact, load_artifact
from greenbatch.models.sources.input_option import parse_inputs
from greenbatch.models.sources.parse import parse_source

FLOAT, HALF, UINT8, INT64 = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.UINT8,
    TensorProto.INT64,
)
End = tuple[str, int, Sequence[str | int]]
IMAGE: End = ("x", FLOAT, ("N", 3, 16, 16))


def weights(name: str, *shape: int, scale: float = 0.3) -> onnx.TensorProto:
    """Make seeded weights, others for each name."""
    rng = np.random.default_rng(list(name.encode()))
    values = scale * rng.standard_normal(shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def constant(name: str, value: object, dtype: type = np.float32) -> onnx.TensorProto:
    """Make a constant."""
    return numpy_helper.from_array(np.array(value, dtype), name)


def node(kind: str, ins: str, outs: str, **attributes: Any) -> onnx.NodeProto:
    """Make a node from names with blanks between; ``-`` is an input that is left out."""
    names = [name.strip("-") for name in ins.split()]
    return helper.make_node(kind, names, outs.split(), **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[End],
    constants: Sequence[onnx.TensorProto],
    inputs: Sequence[End] = (IMAGE,),
    opset: int = 17,
) -> onnx.ModelProto:
    """Make a network whose images go through a convolution ``features`` of 8 channels first."""
    taken, made = (
        [helper.make_tensor_value_info(*end) for end in ends] for ends in (inputs, outputs)
    )
    first = [*constants, weights("stem", 8, 3, 3, 3)]
    graph = helper.make_graph(nodes, "network", taken, made, first)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def stem(image: str = "x") -> list[onnx.NodeProto]:
    """Make the first two nodes."""
    return [node("Conv", f"{image} stem", "c", pads=[1] * 4), node("Relu", "c", "features")]


def segmentation() -> onnx.ModelProto:
    """Scores of each pixel in twice the size, and the class of each."""
    return model(
        [
            *stem(),
            node("Conv", "features head", "small"),
            node("Resize", "small - scales", "out", mode="linear"),
            node("ArgMax", "out", "classes", axis=1, keepdims=0),
        ],
        [("out", FLOAT, ["N", 4, 32, 32]), ("classes", INT64, ["N", 32, 32])],
        [weights("head", 4, 8, 1, 1), constant("scales", [1, 1, 2, 2])],
    )


def overflowing() -> onnx.ModelProto:
    """Values of 1e6, squared and added to themselves, and small again: beyond float16."""
    return model(
        [
            *stem(),
            node("Conv", "features middle", "m", pads=[1] * 4),
            node("Conv", "m middle", "n", pads=[1] * 4),
            node("Mul", "n big", "g"),
            node("Mul", "g g", "squares"),
            node("Add", "g g", "sums"),
            node("Add", "squares big", "larger"),
            node("Div", "sums larger", "small"),
            node("Mul", "small big", "b"),
            node("Conv", "b head", "y"),
            node("Conv", "y last", "z"),
        ],
        [("z", FLOAT, ["N", 4, 16, 16])],
        [
            weights("middle", 8, 8, 3, 3, scale=0.1),
            weights("head", 4, 8, 1, 1),
            weights("last", 4, 4, 1, 1),
            constant("big", 1e4),
        ],
    )


def half_ends() -> onnx.ModelProto:
    """Takes and puts out float16, and computes in float32."""
    return model(
        [
            node("Cast", "x", "wide", to=FLOAT),
            *stem("wide"),
            node("Cast", "features", "y", to=HALF),
        ],
        [("y", HALF, ["N", 8, 16, 16])],
        [],
        [("x", HALF, ["N", 3, 16, 16])],
    )


def bytes_in() -> onnx.ModelProto:
    """Takes bytes with channels last, puts out classes and features."""
    return model(
        [
            node("Cast", "x", "wide", to=FLOAT),
            node("Transpose", "wide", "turned", perm=[0, 3, 1, 2]),
            *stem("turned"),
            node("ArgMax", "features", "classes", axis=1, keepdims=0),
        ],
        [("classes", INT64, ["N", 16, 16]), ("features", FLOAT, ["N", 8, 16, 16])],
        [],
        [("x", UINT8, ["N", 16, 16, 3])],
    )


def branching() -> onnx.ModelProto:
    """Decides by a value between two branches that read from outside."""

    def branch(name: str, kind: str) -> onnx.GraphProto:
        end = helper.make_tensor_value_info(name, FLOAT, None)
        return helper.make_graph([node(kind, "features two", name)], name, [], [end])

    return model(
        [
            *stem(),
            node("Greater", "two zero", "decided"),
            node(
                "If",
                "decided",
                "i",
                then_branch=branch("then", "Mul"),
                else_branch=branch("else", "Add"),
            ),
            node("Conv", "i head", "y"),
        ],
        [("y", FLOAT, ["N", 4, 16, 16])],
        [weights("head", 4, 8, 1, 1), constant("two", 2.0), constant("zero", 0.0)],
    )


def further_inputs() -> onnx.ModelProto:
    """Takes a factor beside the images, and a value for each of them."""
    return model(
        [
            *stem(),
            node("Mul", "features factor", "f"),
            node("Conv", "f head", "h"),
            node("Add", "h offset", "y"),
        ],
        [("y", FLOAT, ["N", 4, 16, 16])],
        [weights("head", 4, 8, 1, 1)],
        [IMAGE, ("factor", FLOAT, [1]), ("offset", FLOAT, ["N", 4, 1, 1])],
    )


def another_domain() -> onnx.ModelProto:
    """Has an operator of ONNX Runtime's own, whose types the standard does not list."""
    return model(
        [
            *stem(),
            node("Gelu", "features", "g", domain="com.microsoft"),
            node("Max", "g zero", "h"),
            node("Conv", "h head", "y"),
        ],
        [("y", FLOAT, ["N", 4, 16, 16])],
        [weights("head", 4, 8, 1, 1), constant("zero", 0.0)],
    )


def sequences() -> onnx.ModelProto:
    """Splits its features into a sequence and joins them again."""
    return model(
        [
            *stem(),
            node("SplitToSequence", "features", "s", axis=1),
            node("ConcatFromSequence", "s", "j", axis=1),
            node("Conv", "j head", "y"),
        ],
        [("y", FLOAT, ["N", 4, 16, 16])],
        [weights("head", 4, 8, 1, 1)],
    )


def constant_nodes() -> onnx.ModelProto:
    """Has constants in each form, one of them read in both types."""
    half = helper.make_node("Constant", [], ["half"], value=constant("", 0.5))
    return model(
        [
            *stem(),
            helper.make_node("Constant", [], ["three"], value_float=3.0),
            helper.make_node("Constant", [], ["pair"], value_floats=[1.0, 2.0]),
            half,
            node("ReduceMean", "pair", "mean", keepdims=0),
            node("Mul", "features three", "f"),
            node("Add", "f mean", "g"),
            node("Max", "g half", "h"),
            node("Mul", "h half", "y"),
        ],
        [("y", FLOAT, ["N", 8, 16, 16])],
        [],
    )


def old_opset() -> onnx.ModelProto:
    """Is of an opset whose QuantizeLinear has no scale for each channel."""
    return model(
        [*stem(), node("Conv", "features head", "y")],
        [("y", FLOAT, ["N", 4, 16, 16])],
        [weights("head", 4, 8, 1, 1)],
        opset=11,
    )


def detections() -> onnx.ModelProto:
    """Puts out boxes that do not overlap, as many as score high, with the number of the image."""
    return model(
        [
            *stem(),
            node("Conv", "features score", "s", strides=[4, 4]),
            node("Reshape", "s rows", "flat"),
            node("Sigmoid", "flat", "scores"),
            node("Shape", "x", "shape"),
            node("Slice", "shape zero one", "n"),
            node("Concat", "n wide", "size", axis=0),
            node("Expand", "boxes size", "all"),
            node("NonMaxSuppression", "all scores most overlap least", "selected"),
        ],
        [("selected", INT64, ["D", 3]), ("scores", FLOAT, ["N", 1, 16])],
        [
            weights("score", 1, 8, 4, 4, scale=3.0),
            constant("rows", [0, 1, 16], np.int64),
            constant("zero", [0], np.int64),
            constant("one", [1], np.int64),
            constant("wide", [1, 1], np.int64),
            constant(
                "boxes",
                [
                    [
                        [4 * (i % 4), 4 * (i // 4), 4 * (i % 4) + 3, 4 * (i // 4) + 3]
                        for i in range(16)
                    ]
                ],
            ),
            constant("most", 16, np.int64),
            constant("overlap", 0.5),
            constant("least", 0.5),
        ],
    )


INPUTS = {
    "bytes_in": ["x=16x16x3:uint8"],
    "half_ends": ["x=3x16x16:float16"],
    "further_inputs": ["x=3x16x16", "factor=1:float32:2", "offset=4x1x1"],
}


def artifact(folder: Path, build: Callable[[], onnx.ModelProto]) -> Artifact:
    """Export one of these networks, or another of images of 3x16x16."""
    name = build.__name__
    path = folder / f"{name}.onnx"
    onnx.save(build(), path)
    given = parse_inputs(INPUTS.get(name, ["3x16x16"]))
    export_own(parse_source(str(path)), folder / "artifacts", input=given)
    return load_artifact(folder / "artifacts", name)
