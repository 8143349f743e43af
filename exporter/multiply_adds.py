"""How many multiply-adds an image takes, counted from the kernels that ONNX Runtime runs.

ONNX Runtime's profile lists every kernel of a run with the shapes of its operands. So the body of a
loop counts once for each iteration, of an ``If`` the branch that ran counts, and sizes that the
data decide are those of the given image. As in torchvision's table, convolutions, matrix products
and recurrent layers count, and elementwise operators do not.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.scopes import bodies
from greenbatch.models import InputSpec
from greenbatch.models.inputs import synthetic_inputs
from greenbatch.models.onnx_graph import load_graph
from greenbatch.models.onnx_session import open_session

if TYPE_CHECKING:
    import onnx

Shape = Sequence[int]
_Rule = Callable[["_Kernel"], int]
_SEED = 20_120_930  # the images that the outputs were proved on
_NAME_ENDS = "_kernel_time"


@dataclass(frozen=True, slots=True)
class Counted:
    """The multiply-adds of a network.

    Attributes:
        multiply_adds: Of one image; ``None`` where they could not be counted.
        reason: Why not, as a phrase; empty where they were.
    """

    multiply_adds: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A kernel that ran: its node, its operator, the shapes of its inputs and outputs."""

    node: str
    operator: str
    inputs: Sequence[Shape]
    outputs: Sequence[Shape]
    equation: str = ""


def count_multiply_adds(path: Path, input_spec: InputSpec) -> Counted:
    """Run an artifact once, with one image, and count its multiply-adds.

    Args:
        path: A graph that ONNX Runtime runs on the CPU.
        input_spec: Its inputs.
    """
    try:
        kernels = list(_kernels(path, input_spec))
    except Exception as error:  # ONNX Runtime's errors have no common root
        return Counted(None, f"ONNX Runtime cannot profile the graph: {innermost_line(error)}")
    if unknown := sorted({kernel.operator for kernel in kernels if not _is_known(kernel)}):
        return Counted(None, f"there is no rule for {', '.join(unknown)}")
    return Counted(sum(_RULES[one.operator](one) for one in kernels if one.operator in _RULES))


def _kernels(path: Path, input_spec: InputSpec) -> Iterator[_Kernel]:
    with tempfile.TemporaryDirectory(prefix="greenbatch-") as folder:
        session = open_session(path, optimise=False, profile=Path(folder) / "kernels")
        session.run(None, synthetic_inputs(input_spec, 1, _SEED))
        events = json.loads(Path(session.end_profiling()).read_bytes())
    equations = _by_name(_equations(load_graph(path).graph))
    for event in events:
        known = event.get("args", {})
        if event.get("cat") == "Node" and "output_type_shape" in known:
            node = str(event["name"]).removesuffix(_NAME_ENDS)
            yield _Kernel(
                node,
                str(known["op_name"]),
                _shapes(known.get("input_type_shape", [])),
                _shapes(known["output_type_shape"]),
                equations.get(node, equations.get("", "")),
            )


def _shapes(operands: Sequence[Mapping[str, Shape]]) -> list[Shape]:
    """Read ``[{"float": [1, 3, 224, 224]}, ...]``."""
    return [next(iter(operand.values()), ()) for operand in operands]


def _equations(graph: "onnx.GraphProto") -> Iterator[tuple[str, str]]:
    """Yield the name of each Einsum and what it sums."""
    for node in graph.node:
        if node.op_type == "Einsum":
            yield node.name, node.attribute[0].s.decode()
        for body in bodies(node):
            yield from _equations(body)


def _by_name(equations: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Leave out names that stand for several; ONNX Runtime makes up names where there are none."""
    found: dict[str, set[str]] = {}
    for name, equation in equations:
        found.setdefault(name, set()).add(equation)
    return {name: next(iter(those)) for name, those in found.items() if len(those) == 1}


def _is_known(kernel: _Kernel) -> bool:
    import onnx.defs

    if kernel.operator == "Einsum":
        return bool(kernel.equation) and len(kernel.inputs) <= 2
    if kernel.operator in _RULES or kernel.operator in _BY_VALUE:
        return True
    return onnx.defs.has(kernel.operator) and kernel.operator not in _WITHOUT_RULE


def _of_filters(weight: int) -> _Rule:
    """Each value of the output is a sum over a filter: the weight is (out, in / groups, ...)."""
    return lambda kernel: prod(kernel.outputs[0]) * prod(kernel.inputs[weight][1:])


def _matrix_product(kernel: _Kernel) -> int:
    return prod(kernel.outputs[0]) * kernel.inputs[0][-1]


def _transposed_convolution(kernel: _Kernel) -> int:
    return prod(kernel.inputs[0]) * prod(kernel.inputs[1][1:])


def _gemm(kernel: _Kernel) -> int:
    _, columns = kernel.outputs[0]  # either axis of the left operand may be the one that is summed
    return prod(kernel.inputs[0]) * columns


def _recurrent(kernel: _Kernel) -> int:
    images, weights, recurrence = kernel.inputs[:3]
    return prod(images[:2]) * (prod(weights) + prod(recurrence))


def _attention(kernel: _Kernel) -> int:
    """Q times K, and the weights times V; the axis before the last of K is its length."""
    length = kernel.inputs[1][-2]
    return (prod(kernel.inputs[0]) + prod(kernel.outputs[0])) * length


def _einsum(kernel: _Kernel) -> int:
    """One for each combination of the labels; of one operand nothing is multiplied."""
    if len(kernel.inputs) < 2:
        return 0
    terms = kernel.equation.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, kernel.inputs, strict=True):
        before, _, after = term.partition("...")
        spread = len(shape) - len(before) - len(after)
        labels = [*before, *(f"...{at}" for at in range(-spread, 0)), *after]
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, size))
    return prod(sizes.values())


_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv", "DeformConv"), _of_filters(1)),
    "QLinearConv": _of_filters(3),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(
        ("MatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
        _matrix_product,
    ),
    **dict.fromkeys(("QLinearMatMul", "MatMulNBits"), _matrix_product),
    **dict.fromkeys(("Gemm", "QGemm"), _gemm),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Attention": _attention,
    "Einsum": _einsum,
}
_WITHOUT_RULE = frozenset({"DFT", "STFT", "LinearAttention"})
"""Operators of ONNX that multiply as the shapes of their operands do not show."""
_BY_VALUE = frozenset(
    {
        *("BiasGelu", "FastGelu", "FusedGelu", "Gelu", "QuickGelu"),
        *(
            "SkipLayerNormalization",
            "SimplifiedLayerNormalization",
            "SkipSimplifiedLayerNormalization",
        ),
        *("QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid", "QLinearLeakyRelu"),
        *("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSoftmax", "QLinearWhere"),
    }
)
"""ONNX Runtime's own operators that multiply value by value at most."""
