"""A float32 network that rounds as one of 16 bits does: it runs anywhere.

It computes what a device does that multiplies 16-bit values and sums in float32. ONNX Runtime's CPU
provider does not compute so itself: it runs most of a fp16 graph in float32 and drops the casts
between, so that an overflow would go unnoticed.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.exporter.precisions.half import copied, lowered, set_constants_apart
from greenbatch.exporter.precisions.widths import find_widths

if TYPE_CHECKING:
    import onnx

_NONE: frozenset[str] = frozenset()


def write_rounded(
    model: "onnx.ModelProto", target: Path, precision: str, kept: Collection[str] = _NONE
) -> None:
    """Write a network that rounds where one of `greenbatch.exporter.precisions.half.lower` does.

    Args:
        model: From `greenbatch.exporter.precisions.half.prepare`; left as it is.
        target: Where to write; the weights get a file beside it.
        precision: ``fp16`` or ``bf16``.
        kept: Names of nodes that compute in float32.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, numpy_helper

    model = copied(model)
    graph = model.graph
    widths = find_widths(model, precision, kept)
    if set_constants_apart(graph, widths):
        widths = find_widths(model, precision, kept)
    kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    constants = list(graph.initializer)
    both = widths.read_half & widths.read_float
    rounded = {name: f"{name}_rounded" for name in widths.read_half - widths.made}
    rounded |= {tensor.name: tensor.name for tensor in constants if tensor.name not in both}
    for tensor in constants:
        if tensor.name in widths.read_half:
            values = numpy_helper.to_array(lowered(tensor, precision, "")).astype(np.float32)
            target_tensor = graph.initializer.add() if tensor.name in both else tensor
            target_tensor.CopyFrom(numpy_helper.from_array(values, rounded[tensor.name]))
    weights = {tensor.name for tensor in constants}
    nodes: list[onnx.NodeProto] = []
    for value in graph.input:
        if value.name in rounded:
            nodes.extend(_rounding(value.name, rounded[value.name], kind))
    for node, places in zip(graph.node, widths.read, strict=True):
        nodes.append(node)
        for at in places:
            node.input[at] = rounded.get(node.input[at], node.input[at])
        for at, name in enumerate(node.output):
            if name in widths.made:
                node.output[at] = f"{name}_exact"
                nodes.extend(_rounding(node.output[at], name, kind))
            elif name in rounded and name not in weights:
                nodes.extend(_rounding(name, rounded[name], kind))
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save_model(model, target, save_as_external_data=True, location=f"{target.name}.data")


def _rounding(source: str, target: str, kind: int) -> "Iterator[onnx.NodeProto]":
    from onnx import TensorProto, helper

    yield helper.make_node("Cast", [source], [f"{target}_in_16_bits"], to=kind)
    yield helper.make_node("Cast", [f"{target}_in_16_bits"], [target], to=TensorProto.FLOAT)
