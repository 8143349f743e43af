"""What numbers in float16 or bfloat16 lead to is rounded; what they only weigh is not."""

from onnx import TensorProto, helper

from greenbatch.exporter.outputs.rounded import rounded_outputs

BF16, FLOAT, HALF = TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.FLOAT16


def test_what_short_numbers_lead_to_is_rounded_and_what_they_weigh_is_not() -> None:
    half = helper.make_tensor("weight", HALF, [3], [1, 2, 3])
    nodes = [
        helper.make_node("Cast", ["image"], ["short"], to=BF16),
        helper.make_node("Cast", ["short"], ["long"], to=FLOAT),
        helper.make_node("Relu", ["long"], ["scores"]),
        helper.make_node("Cast", ["long"], ["shorter"], to=HALF),
        helper.make_node("Identity", ["shorter"], ["both"]),
        helper.make_node("Cast", ["image"], ["halves"], to=HALF),
        helper.make_node("Cast", ["halves"], ["of_halves"], to=FLOAT),
        helper.make_node("Identity", ["weight"], ["moved"]),
        helper.make_node("Cast", ["moved"], ["full"], to=FLOAT),
        helper.make_node("Mul", ["image", "full"], ["weighed"]),
        helper.make_node("Shape", ["short"], ["size"]),
    ]
    ends = ("scores", "both", "of_halves", "weighed")
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", FLOAT, ["N", 3])],
        [
            *(helper.make_tensor_value_info(name, FLOAT, ["N", 3]) for name in ends),
            helper.make_tensor_value_info("size", TensorProto.INT64, [2]),
        ],
        [half],
    )
    graph.output[1].type.tensor_type.elem_type = HALF
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    wanted = {"scores": "bfloat16", "both": "bfloat16", "of_halves": "float16"}
    assert rounded_outputs(model) == wanted
