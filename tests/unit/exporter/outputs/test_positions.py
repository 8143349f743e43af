"""Which outputs are positions, and which are values that were computed with them."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from greenbatch.exporter.outputs.positions import position_outputs, sized_by_data
from greenbatch.models.agreement import compare
from greenbatch.records import TensorSpec


def test_a_box_of_a_place_and_an_offset_is_a_value_and_the_place_is_a_position() -> None:
    """As detectors by centres have it: the best places, and a learnt offset within the cell."""
    nodes = [
        helper.make_node("Flatten", ["heat"], ["flat"]),
        helper.make_node("TopK", ["flat", "k"], ["scores", "places"], axis=1),
        helper.make_node("Mod", ["places", "width"], ["columns"]),
        helper.make_node("Cast", ["columns"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "stride"], ["pixels"]),
        helper.make_node("GatherElements", ["offsets", "places"], ["offset"], axis=1),
        helper.make_node("Add", ["x", "offset"], ["boxes"]),
    ]
    names = ("scores", "places", "pixels", "offset", "boxes")
    graph = helper.make_graph(
        nodes,
        "centres",
        [
            helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["N", 1, 8, 8]),
            helper.make_tensor_value_info("offsets", TensorProto.FLOAT, ["N", 64]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [
            numpy_helper.from_array(np.array([5], np.int64), "k"),
            numpy_helper.from_array(np.array([8], np.int64), "width"),
            numpy_helper.from_array(np.array([4.0], np.float32), "stride"),
        ],
    )
    model = helper.make_model(graph)
    assert position_outputs(model) == {"places", "pixels"}
    assert sized_by_data(model) == set()


def test_scaled_positions_are_equal_within_rounding() -> None:
    spec = TensorSpec(name="pixels", dtype="float32", dims=("batch", 3), index=True)
    wanted = {"pixels": np.array([[0.1, 20.7, 300.3]], np.float32)}
    near = {"pixels": np.nextafter(wanted["pixels"], np.float32(np.inf))}
    assert compare((spec,), wanted, near).equal == 1
    moved = {"pixels": wanted["pixels"] + np.float32(0.5)}
    assert compare((spec,), wanted, moved).equal == 0
