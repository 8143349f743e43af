"""ONNX Runtime's CUDA provider: which nodes it has no kernel for, and which it gives away.

The rule is that of ``GetCpuPreferredNodes`` in
``onnxruntime/core/framework/fallback_cpu_capability.cc``: whatever is made of sizes on the host,
and of small constants, and goes to a kernel as data, is computed on the host.
"""

import heapq
from typing import TYPE_CHECKING

from greenbatch.exporter.placement.kernels import CudaKernels
from greenbatch.exporter.placement.nodes import Nodes
from greenbatch.models.shape_nodes import SHAPE_INPUTS, SMALL

if TYPE_CHECKING:
    import onnx

_ON_HOST_OUTPUTS = {"Shape", "Size", "SequenceLength"}
_ALSO_ON_HOST = {
    "Pad": {2},
    "OneHot": {2},
    "NonMaxSuppression": {2, 3, 4},
    "If": {0},
    "Loop": {0, 1},
}
_HALF = {"float16", "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"}


def without_kernel(graph: Nodes, kernels: CudaKernels) -> dict[int, str]:
    """Return the places of nodes that CUDA has no kernel for, and why."""
    faults = {}
    for place, node in enumerate(graph.nodes):
        if fault := kernels.fault(node, graph.opsets.get(node.domain, 1), graph.types):
            faults[place] = fault
    return faults


def given_away(graph: Nodes, lacking: "dict[int, str]") -> set[int]:
    """Return the places of nodes that CUDA has a kernel for and leaves to the CPU.

    Args:
        graph: After the basic optimisations.
        lacking: Places of nodes without a kernel.
    """
    on_host: set[str] = set()
    waiting: list[int] = []
    for place, node in enumerate(graph.nodes):
        if place not in lacking and node.op_type in _ON_HOST_OUTPUTS and not node.domain:
            on_host.update(node.output)
            waiting.extend(taker for name in node.output for taker in graph.takers[name])
    heapq.heapify(waiting)
    seen: set[int] = set()
    away: set[int] = set()
    while waiting:
        place = heapq.heappop(waiting)
        if place in seen:
            continue
        seen.add(place)
        node = graph.nodes[place]
        if place not in lacking:
            if not _stays_on_host(node, graph, on_host):
                continue
            away.add(place)
        on_host.update(node.output)
        for name in node.output:
            for taker in graph.takers[name]:
                heapq.heappush(waiting, taker)
    return away


def _stays_on_host(node: "onnx.NodeProto", graph: Nodes, on_host: set[str]) -> bool:
    """Whether all that a node takes is on the host, or small, and none of it is read there."""
    for place, name in enumerate(node.input):
        if graph.types.get(name) in _HALF:
            return False
        if graph.constants.get(name, SMALL + 1) <= SMALL or name in graph.inputs:
            continue
        if name not in on_host or _reads_on_host(node, place):
            return False
    return True


def _reads_on_host(node: "onnx.NodeProto", place: int) -> bool:
    if node.domain:
        return False
    kind = node.op_type
    return place in SHAPE_INPUTS.get(kind, ()) or place in _ALSO_ON_HOST.get(kind, ())
