"""Which values of a graph become 16 bits wide, and which stay float32.

A node reads and makes 16 bits where the ONNX standard has that type for it. Nodes with a graph
inside, nodes of sequences, and those of `KEPT_TYPES` stay float32 as a whole.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from greenbatch.models.onnx_session import open_session

if TYPE_CHECKING:
    import onnx

KEPT_TYPES = frozenset({"CumSum", "Max", "Min", "NonMaxSuppression", "OneHot", "Range", "RoiAlign"})
"""Operators that ONNX Runtime's own converter leaves in float32 (``transformers.float16``)."""
KEPT_TYPES |= {"RandomNormal", "RandomUniform", "TopK", "Upsample"}

_LARGEST_BYTES = (1 << 31) - (1 << 24)  # protobuf's limit, less room for the graph
_ONNX = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class Widths:
    """What is 16 bits wide in a graph.

    Attributes:
        floats: Names of all float32 values of the outermost graph, weights too.
        made: Those that a node makes in 16 bits.
        read: For each node, the places of the inputs that it reads in 16 bits.
        read_half, read_float: Names that some node or end reads in 16 bits, in float32.
    """

    floats: frozenset[str]
    made: frozenset[str]
    read: tuple[frozenset[int], ...]
    read_half: frozenset[str]
    read_float: frozenset[str]


def find_widths(model: "onnx.ModelProto", precision: str, kept: Collection[str]) -> Widths:
    """Find what becomes 16 bits wide.

    Args:
        model: With the types of its values, see `with_types`.
        precision: ``fp16`` or ``bf16``.
        kept: Names of further nodes that stay float32.
    """
    floats = _floats(model)
    odd = _no_tensors(model)
    opset = opset_of(model)
    made: set[str] = set()
    half: set[str] = set()
    full: set[str] = {output.name for output in model.graph.output}
    read: list[frozenset[int]] = []
    for node in model.graph.node:
        stays = (
            node.op_type in KEPT_TYPES
            or node.name in kept
            or not odd.isdisjoint((*node.input, *node.output))
            or any(subgraphs(node))
        )
        takes, makes = (frozenset(), frozenset()) if stays else _places(node, precision, opset)
        made.update(o for at, o in enumerate(node.output) if at in makes and o in floats)
        read.append(frozenset(at for at in takes if node.input[at] in floats))
        half.update(node.input[at] for at in read[-1])
        full.update(n for at, n in enumerate(node.input) if at not in takes and n in floats)
        full.update(floats.intersection(captured(node)))
    return Widths(
        frozenset(floats), frozenset(made), tuple(read), frozenset(half), frozenset(full & floats)
    )


def opset_of(model: "onnx.ModelProto") -> int:
    """Return the version of the standard operators; 1 where the model has none of them."""
    return next((o.version for o in model.opset_import if o.domain in _ONNX), 1)


def subgraphs(node: "onnx.NodeProto") -> "Iterator[onnx.GraphProto]":
    """Yield the graphs inside a node: branches and bodies."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def captured(node: "onnx.NodeProto") -> set[str]:
    """Return the names that the graphs inside a node read, their own ones among them."""
    names: set[str] = set()
    for graph in subgraphs(node):
        names.update(output.name for output in graph.output)
        for inner in graph.node:
            names.update(inner.input, captured(inner))
    return names


def with_types(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Infer the types of all values; a network too large for that keeps those that it states.

    ONNX knows those of its own operators; for the others ONNX Runtime is asked.
    """
    import onnx

    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _LARGEST_BYTES:
        return model
    model = onnx.shape_inference.infer_shapes(model)
    known = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    missing = [o for node in model.graph.node for o in node.output if o and o not in known]
    if not missing:
        return model
    requested = onnx.ModelProto()
    requested.CopyFrom(model)
    requested.graph.output.extend(onnx.ValueInfoProto(name=name) for name in missing)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "typed.onnx"
        onnx.save(requested, path)
        ends = open_session(path, optimise=False, may_be_half=True).get_outputs()
    floats = {end.name for end in ends if end.type == "tensor(float)"}.intersection(missing)
    for name in missing:
        if name in floats:
            kind = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            model.graph.value_info.append(kind)
    return model


def _floats(model: "onnx.ModelProto") -> set[str]:
    from onnx import TensorProto

    graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}


def _no_tensors(model: "onnx.ModelProto") -> set[str]:
    """Return the names of values that are sequences, maps or optional."""
    graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {v.name for v in values if v.type.WhichOneof("value") not in (None, "tensor_type")}


def _places(
    node: "onnx.NodeProto", precision: str, opset: int
) -> tuple[frozenset[int], frozenset[int]]:
    """Return the places of the inputs and outputs that may be 16 bits wide, by the standard.

    Of another domain's operator all may: whether ONNX Runtime has it so, it says when it loads.
    """
    import onnx

    every = frozenset(range(len(node.input))), frozenset(range(len(node.output)))
    if node.domain not in _ONNX:
        return every
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return every
    wanted = {"fp16": "tensor(float16)", "bf16": "tensor(bfloat16)"}[precision]
    able = {c.type_param_str for c in schema.type_constraints if wanted in c.allowed_type_strs}
    takes = frozenset(
        at
        for at in every[0]
        if schema.inputs[min(at, len(schema.inputs) - 1)].type_str in {*able, wanted}
    )
    makes = frozenset(
        at
        for at in every[1]
        if schema.outputs[min(at, len(schema.outputs) - 1)].type_str in {*able, wanted}
    )
    return takes, makes
