"""What runs show of a graph's outputs: the batch's axis, positions, and rows that data decide."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from greenbatch.exporter.outputs.observed import follows_batch, observe
from greenbatch.models import InputSpec
from greenbatch.models.agreement import Difference, compare, fault_of_form
from greenbatch.models.inputs import synthetic_inputs
from greenbatch.models.onnx_session import open_session
from greenbatch.models.output_rows import Outputs, batch_of, joined, part
from greenbatch.records import TensorSpec

SPEC = InputSpec(name="x", shape=(3, 32, 32), crop=32, resize=36)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def graph() -> onnx.ModelProto:
    """A graph with an output of each kind."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
        helper.make_node("Transpose", ["scores"], ["turned"], perm=[1, 0]),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        helper.make_node("Cast", ["best"], ["best_float"], to=FLOAT),
        helper.make_node("Greater", ["x", "bright"], ["is_bright"]),
        helper.make_node("NonZero", ["is_bright"], ["places"]),
        helper.make_node("Transpose", ["places"], ["found"], perm=[1, 0]),
        helper.make_node("GatherND", ["x", "found"], ["values"]),
        helper.make_node("Reshape", ["x", "sizes"], ["channels"]),
        helper.make_node("Identity", ["bright"], ["anchors"]),
    ]
    outputs: dict[str, tuple[int, list[str | int | None]]] = {
        "scores": (FLOAT, ["N", 3]),
        "turned": (FLOAT, [3, "N"]),
        "best_float": (FLOAT, ["N"]),
        "found": (INT64, ["count", 4]),
        "values": (FLOAT, ["count"]),
        "channels": (FLOAT, ["rows", 1024]),
        "anchors": (FLOAT, [1]),
    }
    made = helper.make_graph(
        nodes,
        "every kind",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [
            helper.make_tensor("bright", FLOAT, [1], [1.6]),
            helper.make_tensor("sizes", INT64, [2], [-1, 1024]),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(name="specs", scope="module")
def fixture_specs() -> tuple[TensorSpec, ...]:
    """What is observed of the graph."""
    session = open_session(graph().SerializeToString())
    return observe(lambda inputs: session.run(None, dict(inputs)), graph(), SPEC)


def outputs_of(specs: tuple[TensorSpec, ...], images: int, seed: int = 3) -> Outputs:
    """Run the graph."""
    session = open_session(graph().SerializeToString())
    values = session.run(None, synthetic_inputs(SPEC, images, seed))
    return dict(zip([spec.name for spec in specs], values, strict=True))


def test_every_axis_is_explained_by_the_batch_by_the_data_or_by_nothing(
    specs: tuple[TensorSpec, ...],
) -> None:
    assert {spec.name: spec.dims for spec in specs} == {
        "scores": ("batch", 3),
        "turned": (3, "batch"),
        "best_float": ("batch",),
        "found": ("count", 4),
        "values": ("count",),
        "channels": ("3*batch", 1024),
        "anchors": (1,),
    }
    assert [spec.name for spec in specs if spec.index] == ["best_float", "found"]
    assert {spec.name: spec.image_column for spec in specs if spec.counted} == {
        "found": 0,
        "values": None,
    }
    assert follows_batch(specs)
    assert not follows_batch(specs[-1:])


def test_a_batch_is_its_images_one_behind_the_other(specs: tuple[TensorSpec, ...]) -> None:
    together = outputs_of(specs, 3)
    assert fault_of_form(specs, together, 3) is None
    assert batch_of(specs, together) == 3
    alone = [part(specs, together, image, 1) for image in range(3)]
    assert compare(specs, outputs_of(specs, 1), alone[0]).equal == 1
    again = compare(specs, together, joined(specs, alone))
    assert (again.max_rel, again.equal) == (0, 1)
    assert again.cosine == pytest.approx(1)


def changed(specs: tuple[TensorSpec, ...], name: str, change: float) -> Difference:
    """Compare outputs with themselves after one of them was changed."""
    together = outputs_of(specs, 3)
    return compare(specs, together, {**together, name: together[name] + change})


@pytest.mark.parametrize(
    ("name", "change", "wrong"),
    [
        ("scores", 1.0, "max_rel"),
        ("turned", 1.0, "max_rel"),
        ("channels", 1.0, "max_rel"),
        ("anchors", 1.0, "max_rel"),
        ("best_float", 1.0, "equal"),
        ("found", 1, "equal"),
        ("values", 1.0, "equal"),
    ],
)
def test_what_is_wrong_in_one_output_shows(
    specs: tuple[TensorSpec, ...], name: str, change: float, wrong: str
) -> None:
    found = changed(specs, name, change)
    if wrong == "max_rel":
        assert found.max_rel > 0.1
    else:
        assert found.equal is not None
        assert found.equal < 0.5


def test_the_order_of_rows_that_the_data_decide_is_free(specs: tuple[TensorSpec, ...]) -> None:
    together = outputs_of(specs, 3)
    assert len(together["found"]) == 8
    order = np.random.default_rng(0).permutation(len(together["found"]))
    shuffled = {name: together[name][order] for name in ("found", "values")}
    assert compare(specs, together, {**together, **shuffled}).equal == 1
    torn = {"found": together["found"][order]}  # its values no longer belong to it
    equal = compare(specs, together, {**together, **torn}).equal
    assert equal is not None
    assert equal < 0.9


def test_an_output_that_is_missing_misshapen_or_no_number_is_named(
    specs: tuple[TensorSpec, ...],
) -> None:
    together = outputs_of(specs, 3)
    without = {name: value for name, value in together.items() if name != "turned"}
    assert "no output turned" in str(fault_of_form(specs, without, 3))
    assert "scores has shape (3, 3) for 2 images" in str(fault_of_form(specs, together, 2))
    broken = {**together, "anchors": np.array([np.nan], np.float32)}
    assert "anchors has 1 value that is not finite" in str(fault_of_form(specs, broken, 3))


def test_a_size_of_a_graph_that_is_no_multiple_of_the_batch_is_the_datas() -> None:
    nodes = [
        helper.make_node("Greater", ["x", "bright"], ["is_bright"]),
        helper.make_node("NonZero", ["is_bright"], ["found"]),
    ]
    made = helper.make_graph(
        nodes,
        "turned",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("found", INT64, [4, "count"])],
        [helper.make_tensor("bright", FLOAT, [1], [1.6])],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = open_session(model.SerializeToString())
    (spec,) = observe(lambda inputs: session.run(None, dict(inputs)), model, SPEC)
    assert (spec.dims, spec.index, spec.batch_axis) == ((4, "count"), True, None)
