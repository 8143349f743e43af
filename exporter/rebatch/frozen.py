"""Which node of a graph holds a batch size that should be free: for the text of an error."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.records import BATCH_AXIS

if TYPE_CHECKING:
    import onnx

_STACK = "pkg.torch.onnx.stack_trace"  # torch.onnx writes it into each node's metadata_props
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_SIZED = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0, "Tile": 1}  # op -> its input of sizes
_ABOUT_SHAPES = {"Shape", "Size"}  # they lose every axis, and rightly

Dims = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Culprit:
    """A node, and the line of Python that it came from where the exporter recorded it."""

    name: str
    op: str
    line: str = ""

    def __str__(self) -> str:
        """Write it as part of a sentence."""
        return f"{self.op} {self.name!r}{f' at {self.line}' if self.line else ''}"


def find_culprit(path: Path, traced: int, lines: Iterable[str] = ()) -> Culprit | None:
    """Find the node of a graph that fixes the batch size or mixes the images of a batch.

    Tried in this order, the first node that fits:

    1. one that came from a line of Python that torch says fixes the batch size (``lines``);
    2. one whose constant sizes begin with the traced batch while its input begins with the batch
       axis;
    3. one that takes the batch axis and puts out sizes that are all fixed: the axis is lost.

    Args:
        path: The graph; its weights are not read.
        traced: The batch size that it was traced with.
        lines: Their text.

    Returns:
        The node, or ``None``: none fits, or the file cannot be read.
    """
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
        _put_back(model, path)
        del model.graph.value_info[:]  # sizes that follow from the nodes, not what was noted
        for value in model.graph.input:
            dims = value.type.tensor_type.shape.dim
            if dims and not dims[0].dim_param:
                dims[0].dim_param = BATCH_AXIS  # so that it is seen where it ends
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # an error's text is no place for another error
        return None
    suspects = (*_from_lines(model, lines), *_with_constant(model, traced), *_losing(model))
    return suspects[0] if suspects else None


def set_stacks_aside(model: "onnx.ModelProto", path: Path) -> None:
    """Take the lines of Python out of a graph, as they name folders of whoever exported.

    They go into a file beside ``path``, where `find_culprit` finds them while the graph is proved.
    """
    stacks = {}
    for node in model.graph.node:
        stacks[node.name] = _stack(node)
        kept = [entry for entry in node.metadata_props if entry.key != _STACK]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    _aside(path).write_text(json.dumps(stacks), encoding="utf-8")


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.stacks.json")


def _put_back(model: "onnx.ModelProto", path: Path) -> None:
    if _aside(path).exists():
        stacks = json.loads(_aside(path).read_text(encoding="utf-8"))
        for node in model.graph.node:
            node.metadata_props.add(key=_STACK, value=stacks.get(node.name, ""))


def _from_lines(model: "onnx.ModelProto", lines: Iterable[str]) -> Iterator[Culprit]:
    wanted = set(lines)
    nodes = [
        node
        for node in model.graph.node
        if wanted.intersection(map(str.strip, _stack(node).splitlines()))
    ]
    yield from map(_culprit, sorted(nodes, key=lambda node: node.op_type not in _SIZED))


def _with_constant(model: "onnx.ModelProto", traced: int) -> Iterator[Culprit]:
    dims, constants = _dims(model), _constants(model)
    for node in model.graph.node:
        place = _SIZED.get(node.op_type)
        if place is None or len(node.input) <= place:
            continue
        sizes = constants.get(node.input[place], ())
        takes = dims.get(node.input[0], ())
        if sizes[:1] == (traced,) and _carries(takes[:1]):
            yield _culprit(node)


def _losing(model: "onnx.ModelProto") -> Iterator[Culprit]:
    dims = _dims(model)
    for node in model.graph.node:
        if node.op_type in _ABOUT_SHAPES:
            continue
        takes = any(_carries(dims.get(name, ())) for name in node.input)
        outputs = [dims.get(name, ("?",)) for name in node.output if name]
        if takes and all(isinstance(dim, int) for output in outputs for dim in output):
            yield _culprit(node)


def _carries(dims: Dims) -> bool:
    """Whether one of the sizes is the batch, or a multiple of it such as ``64*batch``."""
    return any(isinstance(dim, str) and re.search(rf"\b{BATCH_AXIS}\b", dim) for dim in dims)


def _dims(model: "onnx.ModelProto") -> Mapping[str, Dims]:
    graph = model.graph
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
            for dim in value.type.tensor_type.shape.dim
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def _constants(model: "onnx.ModelProto") -> Mapping[str, tuple[int, ...]]:
    """Return the constants of up to eight whole numbers: what sizes are made of."""
    from onnx import TensorProto, numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            tensors[node.output[0]] = node.attribute[0].t
    return {
        name: tuple(int(value) for value in numpy_helper.to_array(tensor).ravel())
        for name, tensor in tensors.items()
        if tensor.data_type == TensorProto.INT64
        and tensor.data_location != TensorProto.EXTERNAL
        and len(tensor.dims) == 1
        and tensor.dims[0] <= 8
    }


def _stack(node: "onnx.NodeProto") -> str:
    return next((entry.value for entry in node.metadata_props if entry.key == _STACK), "")


def _culprit(node: "onnx.NodeProto") -> Culprit:
    frames = _FRAME.findall(_stack(node))
    # The innermost line that is not torch's own: the user's, or torchvision's.
    own = [frame for frame in frames if "/torch/" not in frame[0]] or frames
    line = f"{own[-1][0]}:{own[-1][1]}" if own else ""
    return Culprit(node.name or "without a name", node.op_type, line)
