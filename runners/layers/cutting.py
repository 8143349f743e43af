"""What a child does before anything is timed: trace operators to layers, and cut the network."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.errors import MeasurementError
from greenbatch.records.layers import Part
from greenbatch.runners import backends
from greenbatch.runners.layers.graph import (
    Origins,
    choose,
    crossings,
    ends_of,
    origins,
    placed,
    reads,
)
from greenbatch.runners.layers.messages import CutNetwork, NetworkCut, OperatorSource
from greenbatch.runners.layers.onnx_runs import Called, OnnxRun, keep_optimised, read_profile

if TYPE_CHECKING:
    import numpy as np
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

_RUNS = 3  # of the profile that balances the cuts; the first is not taken
_MOST_APART = {"fp32": 1e-3, "int8": 5e-2}
_APART_ELSE = 2e-2
"""How far a part's output may be from the whole's, of the largest value: fusions differ at a cut,
and rounding with them."""


def cut_network(request: CutNetwork, task: backends.Task) -> NetworkCut:
    """Trace the operators that run to the artifact's layers, and cut the network into parts.

    The cuts come where one tensor passes, at places that make the parts' times equal. A part is a
    slice of the graph after constants were folded for this batch size; its weights stay in one
    file that all parts share. Each part is checked against what the whole computes there.

    Args:
        request: How many parts, and where to put them.
        task: What is loaded, on ONNX Runtime's CPU.

    Raises:
        MeasurementError: A part computes something else than the whole does there.
    """
    import onnx

    folder = request.folder
    optimised_file, folded_file = folder / "optimised.onnx", folder / "folded.onnx"
    run = OnnxRun(
        task.artifact, task.images, task, folder / "cutting", keep_optimised(optimised_file)
    )
    for _ in range(_RUNS):
        run.run()
    called = read_profile(run.end_profile(), _RUNS - 1)
    del run
    optimised = onnx.load(optimised_file, load_external_data=False).graph
    network = onnx.load(task.artifact, load_external_data=False)
    traced = origins(network.graph, optimised)
    cuts: tuple[str, ...] = ()
    cut_after: list[str] = []
    uncut = None
    if request.parts > 1:
        axis = str(task.manifest.inputs[0].dims[0])
        fold = keep_optimised(folded_file, "basic", (axis, task.cell.batch_size))
        OnnxRun(task.artifact, task.images, task, prepare=fold)
        folded = onnx.load(folded_file, load_external_data=False)
        candidates = _candidates(folded.graph, optimised, called)
        cuts = choose({cut: share for cut, (share, _) in candidates.items()}, request.parts)
        if cuts:
            cut_after = [candidates[cut][1] for cut in cuts]
        else:
            uncut = _why_not(called)
    operators = {each.name: _described(traced.get(each.name)) for each in called}
    parts: list[Part] = []
    if cuts:
        places = placed([(each.name, each.operator) for each in called], cut_after)
        layers = [
            (operators[c.name].layer, part) for c, (_, part) in zip(called, places, strict=True)
        ]
        parts = _cut(folded, cuts, layers, task, folder)
    return NetworkCut(
        operators=operators, cut_after=tuple(cut_after), parts=tuple(parts), uncut=uncut
    )


def _candidates(
    folded: "GraphProto", optimised: "GraphProto", called: Sequence[Called]
) -> dict[str, tuple[float, str]]:
    """Return the tensors where a cut may come, in order.

    Only those that the runtime keeps: a cut elsewhere would undo a fusion. A quantised network is
    cut where numbers are quantised, as the nodes around are fused.

    Returns:
        The share of the time that has passed, and the operator that puts it out, by tensor.
    """
    crossing = crossings(folded)
    quantised = {n for node in folded.node if node.op_type == "QuantizeLinear" for n in node.output}
    ends = ends_of(folded, optimised)
    total_s = sum(each.time_s for each in called)
    passed_s = 0.0
    found = {}
    for each in called:
        passed_s += each.time_s
        for name in ends.get(each.name, ()):
            if name in crossing and (not quantised or name in quantised) and total_s:
                found[name] = (passed_s / total_s, each.name)
    return dict(sorted(found.items(), key=lambda item: crossing[item[0]]))


def _why_not(called: Sequence[Called]) -> str:
    if len(called) < 2:
        return "it runs as one operator, and one cannot be cut"
    return (
        f"there is no place among its {units.count(len(called), 'operator')} where a single tensor "
        "passes that the runtime keeps"
    )


def _cut(
    folded: "ModelProto",
    cuts: Sequence[str],
    operators: Sequence[tuple[str, int]],
    task: backends.Task,
    folder: Path,
) -> list[Part]:
    """Write the parts and what each is given; hold each to the whole.

    Args:
        folded: The graph that is cut.
        cuts: The tensors, in order.
        operators: Layer and part of each.
        task: What is loaded.
        folder: Where parts and weights are.
    """
    import numpy as np

    graph = folded.graph
    at = crossings(graph)
    passing = _activations(folded, cuts, task, folder)
    first, last = graph.input[0].name, graph.output[0].name
    names = [first, *cuts, last]
    bounds = [0, *(at[name] + 1 for name in cuts), len(graph.node)]
    parts = []
    for index in range(len(names) - 1):
        given, wanted = passing[names[index]], passing[names[index + 1]]
        nodes = graph.node[bounds[index] : bounds[index + 1]]
        layers = [layer for layer, part in operators if layer and part == index + 1]
        part = Part(
            number=index + 1,
            reads=names[index],
            writes=names[index + 1],
            nodes=len(nodes),
            first_layer=layers[0] if layers else "",
            last_layer=layers[-1] if layers else "",
        )
        file = folder / f"{part.what}.onnx"
        file.write_bytes(_slice(folded, nodes, part, given, wanted).SerializeToString())
        np.save(folder / f"{part.what}.npy", given)
        _hold(part, OnnxRun(file, given, task).outputs()[0], wanted, task.cell.precision)
        parts.append(part)
    return parts


def _activations(
    folded: "ModelProto", cuts: Sequence[str], task: backends.Task, folder: Path
) -> "dict[str, np.ndarray]":
    """Return what the whole computes at its cuts, with its input and its output."""
    import onnx

    watched = onnx.ModelProto()
    watched.CopyFrom(folded)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in cuts)
    file = folder / "watched.onnx"
    file.write_bytes(watched.SerializeToString())
    outputs = OnnxRun(file, task.images, task).outputs()
    names = [output.name for output in watched.graph.output]
    return {folded.graph.input[0].name: task.images, **dict(zip(names, outputs, strict=True))}


def _slice(
    folded: "ModelProto",
    nodes: "Sequence[NodeProto]",
    part: Part,
    given: "np.ndarray",
    wanted: "np.ndarray",
) -> "ModelProto":
    from onnx import helper

    read = {name for node in nodes for name in reads(node)}

    def value(name: str, array: "np.ndarray") -> "ValueInfoProto":
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(name, kind, array.shape)

    graph = helper.make_graph(
        list(nodes),
        part.what,
        [value(part.reads, given)],
        [value(part.writes, wanted)],
        [tensor for tensor in folded.graph.initializer if tensor.name in read],
    )
    return helper.make_model(
        graph, ir_version=folded.ir_version, opset_imports=list(folded.opset_import)
    )


def _hold(part: Part, got: "np.ndarray", wanted: "np.ndarray", precision: str) -> None:
    import numpy as np

    largest = float(np.abs(wanted.astype(np.float32)).max()) or 1.0
    apart = float(np.abs(got.astype(np.float32) - wanted.astype(np.float32)).max()) / largest
    limit = _MOST_APART.get(precision, _APART_ELSE)
    if not apart <= limit:
        raise MeasurementError(
            f"{part.what}, cut from the network, is {apart:.1e} of the largest value away from "
            f"what the whole computes there, wanted {limit:g} at most; pass --check 0 to leave "
            "the check out"
        )


def _described(known: Origins | None) -> OperatorSource:
    """Return where an operator comes from."""
    if known is None:
        return OperatorSource(layer="", origin="unknown", stands_for=())
    origin = "network" if known.nodes else "runtime"
    return OperatorSource(layer=known.layer, origin=origin, stands_for=tuple(known.nodes))
