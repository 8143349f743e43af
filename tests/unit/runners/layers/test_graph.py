"""Where a graph can be cut, and which layers an optimised node stands for."""

from itertools import combinations, pairwise
from typing import Any

import pytest
from onnx import TensorProto, helper

from greenbatch.runners.layers.graph import (
    choose,
    crossings,
    ends_of,
    layer_of,
    origins,
    placed,
)

SCOPES = "pkg.torch.onnx.name_scopes"


def node(kind: str, reads: str, writes: str, scope: str = "", name: str = "") -> Any:
    """A node called ``node_WRITES``, of the module ``scope``."""
    made = helper.make_node(kind, reads.split(), [writes], name=name or f"node_{writes}")
    if scope:
        made.metadata_props.add(key=SCOPES, value=repr(["", scope, writes]))
    return made


def graph(*nodes: Any, weights: str = "") -> Any:
    """A graph from ``x`` to ``y`` with scalar weights."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in "xy"]
    held = [helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0]) for name in weights.split()]
    return helper.make_graph(list(nodes), "g", ends[:1], ends[1:], held)


def test_a_chain_can_be_cut_after_every_node_but_the_last_and_weights_do_not_count() -> None:
    chain = graph(
        node("Mul", "x w", "a"), node("Add", "a w", "b"), node("Relu", "b", "y"), weights="w"
    )
    assert crossings(chain) == {"a": 0, "b": 1}


def test_a_residual_is_cut_before_and_after_but_not_inside() -> None:
    block = graph(
        node("Relu", "x", "a"),
        node("Exp", "a", "b"),
        node("Abs", "b", "c"),
        node("Add", "a c", "d"),
        node("Relu", "d", "y"),
    )
    assert crossings(block) == {"a": 0, "d": 3}


def test_concatenations_of_all_that_came_before_are_cut_where_one_tensor_is_left() -> None:
    dense = graph(
        node("Relu", "x", "a"),
        node("Exp", "a", "b"),
        node("Concat", "a b", "ab"),
        node("Abs", "ab", "c"),
        node("Concat", "a b c", "abc"),
        node("Relu", "abc", "y"),
    )
    assert crossings(dense) == {"a": 0, "abc": 4}


def test_the_input_that_is_read_again_later_forbids_a_cut() -> None:
    assert crossings(graph(node("Relu", "x", "a"), node("Add", "a x", "y"))) == {}


def test_a_tensor_that_is_put_out_too_is_alive_to_the_end() -> None:
    two = graph(node("Relu", "x", "a"), node("Exp", "a", "b"), node("Abs", "b", "y"))
    assert crossings(two) == {"a": 0, "b": 1}
    two.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 4]))
    assert crossings(two) == {"a": 0}


def test_a_tensor_that_only_a_branch_reads_is_alive_until_then() -> None:
    inner = helper.make_graph(
        [node("Neg", "a", "inside")],
        "then",
        [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)],
    )
    branch = helper.make_node("If", ["flag"], ["c"], then_branch=inner, else_branch=inner)
    outer = graph(node("Relu", "x", "a"), node("Exp", "a", "flag"), branch, node("Relu", "c", "y"))
    assert crossings(outer) == {"a": 0, "c": 2}


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [(2, ("c",)), (3, ("b", "d")), (4, ("b", "c", "d")), (9, ("a", "b", "c", "d"))],
)
def test_cuts_make_times_most_equal_and_stay_in_order(parts: int, chosen: tuple[str, ...]) -> None:
    assert choose({"a": 0.2, "b": 0.3, "c": 0.55, "d": 0.7}, parts) == chosen


def test_cuts_are_the_best_of_all_combinations() -> None:
    shares = [0.05, 0.06, 0.388, 0.39, 0.651, 0.66, 0.95]
    candidates = {str(share): share for share in shares}

    def squares(cuts: tuple[float, ...]) -> float:
        return sum((b - a) ** 2 for a, b in pairwise((0.0, *cuts, 1.0)))

    for parts in range(2, 9):
        best = min(map(squares, combinations(shares, parts - 1)))
        assert squares(tuple(map(float, choose(candidates, parts)))) == pytest.approx(best)


def test_cuts_at_which_next_to_no_time_has_passed_or_is_left_are_no_cuts() -> None:
    assert choose({"a": 0.0, "b": 0.0005, "c": 0.9995, "d": 1.0}, 4) == ()


def test_layers_are_read_from_torchs_metadata_and_from_the_older_exporters_names() -> None:
    assert layer_of(node("Relu", "x", "y", "features.1")) == "features.1"
    assert layer_of(node("Conv", "x", "y", name="/layer1/layer1.0/conv1/Conv")) == (
        "layer1.0.conv1"
    )
    assert layer_of(node("Conv", "x", "y", name="/Conv")) == ""
    assert layer_of(node("Conv", "x", "y")) == ""
    assert layer_of(node("Conv", "x conv.0.weight", "y", "norm")) == "conv.0"
    assert layer_of(node("Conv", "x conv.0.weight_DequantizeLinear_Output", "y")) == "conv.0"


def test_a_fused_node_stands_for_all_it_replaced_and_is_of_the_layer_with_the_weights() -> None:
    artifact = graph(
        node("Conv", "x w", "a", "conv"),
        node("Relu", "a", "b", "act"),
        node("MaxPool", "b", "c", "pool"),
        node("Conv", "c w", "d", "conv2"),
        node("Relu", "d", "y", "act2"),
        weights="w",
    )
    optimised = graph(
        node("ReorderInput", "x", "reorder", name="ReorderInput"),
        node("Conv", "reorder w", "token_1", name="b_nchwc"),
        node("MaxPool", "token_1", "token_2", name="c_nchwc"),
        node("ReorderOutput", "token_2", "c", name="ReorderOutput"),
        node("FusedConv", "c w", "y", name="fused node_d"),
        weights="w",
    )
    traced = origins(artifact, optimised)
    assert traced["b_nchwc"].nodes == ("node_a", "node_b")
    assert traced["b_nchwc"].layer == "conv"
    assert traced["c_nchwc"].layer == "pool"
    assert traced["fused node_d"].nodes == ("node_d", "node_y")
    assert traced["fused node_d"].layer == "conv2"
    assert traced["ReorderInput"].nodes == ()


def test_an_activation_that_was_taken_in_after_the_name_was_given_belongs_to_its_operator() -> None:
    artifact = graph(
        node("BatchNormalization", "x s.weight", "a", "norm"),
        node("Relu", "a", "b", "act"),
        node("Conv", "b w", "y", "conv"),
        weights="s.weight w",
    )
    optimised = graph(
        node("Conv", "x scale", "token_1", name="a_bn_nchwc"),
        node("Conv", "token_1 w", "y", name="y_nchwc"),
        weights="scale w",
    )
    assert ends_of(artifact, optimised) == {"a_bn_nchwc": ("b",), "y_nchwc": ("y",)}
    traced = origins(artifact, optimised)
    assert traced["a_bn_nchwc"].nodes == ("node_a", "node_b")
    assert traced["a_bn_nchwc"].layer == "s"  # the module that has its weights
    assert traced["y_nchwc"].nodes == ("node_y",)


def test_an_activation_that_runs_by_itself_is_not_of_the_operator_before_it() -> None:
    artifact = graph(node("Conv", "x w", "a"), node("Relu", "a", "y"), weights="w")
    optimised = graph(
        node("Conv", "x w", "token_1", name="a_nchwc"), node("Relu", "token_1", "y"), weights="w"
    )
    assert ends_of(artifact, optimised) == {"a_nchwc": ("a",), "node_y": ("y",)}


def test_a_layout_changed_back_belongs_to_the_part_before_it_and_is_named_for_its_neighbour() -> (
    None
):
    called = [
        ("ReorderInput_token_7", "ReorderInput"),
        ("a", "Conv"),
        ("ReorderOutput_token_3", "ReorderOutput"),
        ("ReorderOutput_token_9", "ReorderOutput"),
        ("ReorderInput_token_1", "ReorderInput"),
        ("b", "Conv"),
        ("c", "Gemm"),
    ]
    assert placed(called, ["a", "b"]) == [
        ("ReorderInput after the input", 1),
        ("a", 1),
        ("ReorderOutput after a", 1),
        ("ReorderOutput after a, 2", 1),
        ("ReorderInput after a", 2),
        ("b", 2),
        ("c", 3),
    ]


def test_a_quantised_operator_ends_where_numbers_are_quantised_again() -> None:
    artifact = graph(
        node("DequantizeLinear", "x s", "a"),
        node("Conv", "a conv.weight", "b", name="node_conv"),
        node("Relu", "b", "c"),
        node("QuantizeLinear", "c s", "q"),
        node("DequantizeLinear", "q s", "y"),
        weights="s conv.weight",
    )
    optimised = graph(
        node("QLinearConv", "x s", "renamed", name="node_conv_token_17"),
        node("DequantizeLinear", "renamed s", "y"),
        weights="s",
    )
    assert ends_of(artifact, optimised)["node_conv_token_17"] == ("q",)
    assert origins(artifact, optimised)["node_conv_token_17"].layer == "conv"
