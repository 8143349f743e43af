"""Which nodes of a graph CUDA and TensorRT would leave to the CPU."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ArtifactError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.placement.cuda import given_away, without_kernel
from greenbatch.exporter.placement.kernels import cuda_kernels, tensorrt_operators
from greenbatch.exporter.placement.nodes import Nodes, called
from greenbatch.exporter.placement.tensorrt import not_taken
from greenbatch.models.onnx_graph import load_graph
from greenbatch.models.onnx_placement import name_some
from greenbatch.models.onnx_session import BIAS_QUANTISING, LEFT_OUT
from greenbatch.models.shape_nodes import find_shape_nodes

if TYPE_CHECKING:
    import onnx

PROVIDERS = ("cuda", "tensorrt")

_TITLES = {"cuda": "CUDA", "tensorrt": "TensorRT"}


@dataclass(frozen=True, slots=True)
class Left:
    """What a provider would leave to the CPU of one graph.

    Attributes:
        provider: One of `PROVIDERS`.
        table: Version of the software that the table of kernels is from.
        nodes: All nodes that are assigned, after the basic optimisations.
        computing: Those left that compute, as ``MaxPool 'name': why``.
        shape: Those left that compute sizes alone: see `greenbatch.models.shape_nodes`. ONNX
            Runtime runs the network with them.
    """

    provider: str
    table: str
    nodes: int
    computing: Sequence[str]
    shape: Sequence[str]

    @property
    def fault(self) -> str:
        """Why a backend on the provider refuses the graph, as a sentence; empty: it does not."""
        if not self.computing:
            return ""
        kinds = Counter(text.split(" ", 1)[0] for text in self.computing)
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        return (
            f"{_TITLES[self.provider]} {self.table} leaves {len(self.computing)} of {self.nodes} "
            f"nodes to the CPU ({counts}): {name_some(self.computing)}"
        )


def check_placement(path: Path) -> tuple[Left, ...]:
    """Check a file for each of `PROVIDERS`; its weights are read only where they must be.

    Nothing is left of a graph in float32 that computes no sizes and whose operators all have
    kernels, and optimising takes nothing from that. Any other graph is first optimised by ONNX
    Runtime, as a session's is before its nodes are assigned.

    Raises:
        ArtifactError: onnx or ONNX Runtime cannot read the graph.
    """
    try:
        return _checked(path)
    except Exception as error:  # onnx's errors and ONNX Runtime's have no common root
        raise ArtifactError(
            f"{path} cannot be checked for GPUs: {innermost_line(error)}; export it again"
        ) from error


def _checked(path: Path) -> tuple[Left, ...]:
    model = load_graph(path)
    found = _check(model)
    quantised = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    unsure = quantised or any(left.computing or left.shape for left in found)
    if unsure and _may_optimise(model):
        with tempfile.TemporaryDirectory(prefix="greenbatch-placement-") as folder:
            optimised = Path(folder) / "optimised.onnx"
            _optimise(path, optimised)
            found = _check(load_graph(optimised))
    return found


def _check(model: "onnx.ModelProto") -> tuple[Left, ...]:
    graph = Nodes(model)
    kernels, operators = cuda_kernels(), tensorrt_operators()
    lacking = without_kernel(graph, kernels)
    away = dict.fromkeys(given_away(graph, lacking), "made of sizes on the host")
    sizes = find_shape_nodes(model)
    closed = dict.fromkeys(graph.closed, "holds a graph of its own, which is not checked")
    return (
        _left("cuda", kernels.version, graph, lacking | away | closed, sizes),
        _left("tensorrt", operators.version, graph, not_taken(graph, operators) | closed, sizes),
    )


def _left(
    provider: str, table: str, graph: Nodes, left: dict[int, str], sizes: set[tuple[str, str]]
) -> Left:
    computing, shape = [], []
    for place in sorted(left):
        node = graph.nodes[place]
        if (node.op_type, node.name) in sizes and not node.domain:
            shape.append(called(node))
        else:
            computing.append(f"{called(node)}: {left[place]}")
    return Left(provider, table, len(graph.nodes), tuple(computing), tuple(shape))


def _may_optimise(model: "onnx.ModelProto") -> bool:
    """Whether ONNX Runtime's CPU provider leaves a graph's types as they are.

    It has few kernels for 16 bits, and puts Casts around the nodes of such a graph.
    """
    import onnx

    half = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    return not any(tensor.data_type in half for tensor in model.graph.initializer)


def _optimise(path: Path, target: Path) -> None:
    """Write a graph as it is when its nodes are assigned."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry(LEFT_OUT, BIAS_QUANTISING)
    weights = "session.optimized_model_external_initializers_file_name"
    options.add_session_config_entry(weights, f"{target.name}.data")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
