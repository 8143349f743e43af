"""One node by itself: what it computes, and what sizes the ONNX standard infers for it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from greenbatch.exporter.onnx_file.scopes import bodies
from greenbatch.exporter.rebatch.questions import Shape
from greenbatch.models.onnx_session import open_session

if TYPE_CHECKING:
    import onnx

    from greenbatch.exporter.rebatch.questions import Array


def compute(
    model: "onnx.ModelProto", node: "onnx.NodeProto", values: "Mapping[str, Array]"
) -> "list[Array]":
    """Compute a node by ONNX's reference evaluator; what raises there is let through.

    Args:
        model: Says the operator sets.
        node: From the model.
        values: Of all that it reads.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    if any(bodies(node)):
        return run_alone(model, node, values)
    graph = _graph_of(node, [onnx.ValueInfoProto(name=name) for name in values])
    made = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    results = ReferenceEvaluator(made).run(None, dict(values))
    return list(results.values()) if isinstance(results, dict) else results


def run_alone(
    model: "onnx.ModelProto", node: "onnx.NodeProto", values: "Mapping[str, Array]"
) -> "list[Array]":
    """Compute a node by ONNX Runtime, likewise."""
    import onnx

    inputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in values.items()
    ]
    made = onnx.helper.make_model(
        _graph_of(node, inputs),
        opset_imports=model.opset_import,
        ir_version=max(model.ir_version, 4),
    )
    session = open_session(made.SerializeToString(), optimise=False)
    results: list[Array] = session.run(None, dict(values))
    return results


def infer_sizes(
    model: "onnx.ModelProto",
    node: "onnx.NodeProto",
    inputs: "Sequence[onnx.ValueInfoProto]",
    values: "Mapping[str, Array]",
) -> dict[str, tuple[int, Shape | None]]:
    """Infer element types and sizes of a node's outputs; what raises there is let through.

    Args:
        model: Says the operator sets.
        node: From the model.
        inputs: Types and sizes of what it takes.
        values: Of the inputs that are known: they may be sizes.
    """
    import onnx

    graph = _graph_of(node, inputs)
    graph.initializer.extend(onnx.numpy_helper.from_array(v, name) for name, v in values.items())
    made = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    inferred = onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    found: dict[str, tuple[int, Shape | None]] = {}
    for value in inferred.graph.output:
        tensor = value.type.tensor_type
        dims = tensor.shape.dim
        known = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims)
        found[value.name] = (
            tensor.elem_type,
            tuple(dim.dim_value for dim in dims) if known else None,
        )
    return found


def _graph_of(node: "onnx.NodeProto", inputs: "Sequence[onnx.ValueInfoProto]") -> "onnx.GraphProto":
    import onnx

    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    return onnx.helper.make_graph([node], "node", list(inputs), outputs)
