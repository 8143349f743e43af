"""What an execution provider has kernels for, from the tables beside this file.

``python tools/kernel_tables.py`` writes the tables.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

Kernel = Mapping[str, Sequence[str]]
"""The types that one kernel takes, by type parameter or by the name of an input or output."""

_NEWEST = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class CudaKernels:
    """The kernels of ONNX Runtime's CUDA provider.

    Attributes:
        version: Of onnxruntime-gpu.
        source: Where the table is from.
        kernels: By domain, operator and operator sets (``7-12``, ``13``, ``14-``).
    """

    version: str
    source: str
    kernels: Mapping[str, Mapping[str, Mapping[str, Sequence[Kernel]]]]

    def fault(self, node: "onnx.NodeProto", opset: int, types: Mapping[str, str]) -> str:
        """Say why there is no kernel for a node; empty: there is one.

        Args:
            node: The node.
            opset: Of the node's domain, in the graph.
            types: Element types of the graph's tensors, as ``float16``.
        """
        of_operator = self.kernels.get(node.domain, {}).get(node.op_type)
        if of_operator is None:
            return "no kernel"
        schema = _schema(node, opset)
        since = opset if schema is None else schema.since_version
        found = [
            kernel
            for key, kernels in of_operator.items()
            if _spans(key, since)
            for kernel in kernels
        ]
        if not found:
            return f"no kernel of operator set {since} (there are {', '.join(of_operator)})"
        faults = [_mismatch(node, kernel, schema, types) for kernel in found]
        return "" if "" in faults else f"no kernel for {min(faults)}"


@dataclass(frozen=True, slots=True)
class TensorrtOperators:
    """The operators that TensorRT's ONNX parser takes.

    Attributes:
        version: Of TensorRT.
        source: Where the table is from.
        operators: Types by operator.
    """

    version: str
    source: str
    operators: Mapping[str, Sequence[str]]


@cache
def cuda_kernels() -> CudaKernels:
    """Return the table of the CUDA provider."""
    table = _read("cuda.json")
    return CudaKernels(table["version"], table["source"], table["kernels"])


@cache
def tensorrt_operators() -> TensorrtOperators:
    """Return the table of TensorRT."""
    table = _read("tensorrt.json")
    return TensorrtOperators(table["version"], table["source"], table["operators"])


def _read(name: str) -> Any:
    return json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _spans(key: str, since: int) -> bool:
    """Whether a kernel is found for an operator whose definition is of operator set ``since``.

    An open range is of the definition that it starts at, and of no later one: ONNX Runtime cannot
    know what a later one changes (``KernelRegistry::VerifyKernelDef``).
    """
    first, _, last = key.partition("-")
    if "-" not in key or last:
        return int(first) <= since <= int(last or first)
    return since == int(first)


def _schema(node: "onnx.NodeProto", opset: int) -> "onnx.defs.OpSchema | None":
    import onnx

    try:
        return onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:  # ONNX Runtime's own operators
        return None


def _mismatch(
    node: "onnx.NodeProto",
    kernel: Kernel,
    schema: "onnx.defs.OpSchema | None",
    types: Mapping[str, str],
) -> str:
    """Name the first tensor whose type a kernel does not take; empty: it takes all."""
    if schema is None:
        return ""
    for names, parameters in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for place, name in enumerate(names):
            if not name or not parameters:
                continue
            parameter = parameters[min(place, len(parameters) - 1)]  # the last may be variadic
            wanted = kernel.get(parameter.type_str) or kernel.get(parameter.name)
            if wanted is not None and types.get(name, "") not in wanted:
                return types.get(name, "an unknown type")
    return ""
