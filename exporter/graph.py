"""From a torch module to an ONNX file with a symbolic batch axis."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.causes import first_line
from greenbatch.exporter.recipe import OPSET
from greenbatch.models import ModelSpec, synthetic_images
from greenbatch.records import TensorSpec

if TYPE_CHECKING:
    import onnx
    from torch import nn

BATCH_AXIS = "batch"
OUTPUT = "logits"
_TRACED_BATCH = 2  # 0 and 1 are special to torch.export: it may take them for constants
_LARGEST_BYTES = (1 << 31) - (1 << 24)  # protobuf's limit for one file, less room for the graph


@dataclass(frozen=True, slots=True)
class Graph:
    """What is in an ONNX file."""

    opset: int
    nodes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def write_graph(module: "nn.Module", spec: ModelSpec, path: Path) -> Graph:
    """Export a network by torch's dynamo exporter into one file, and check what came out.

    What torch prints and warns of is shown only if it fails, as a note on the error.

    Args:
        module: In evaluation mode, on the CPU.
        spec: Says the input's shape and name.
        path: Where to write.

    Raises:
        ExportError: torch cannot export the network, it is too large for one file, the file is
            not valid ONNX, or its batch axis is not symbolic from input to output.
    """
    import torch

    size_bytes = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    if size_bytes > _LARGEST_BYTES:
        raise ExportError(
            f"{spec.name} has weights of {size_bytes / 2**30:.1f} GiB, and one ONNX file holds "
            "less than 2 GiB; choose a smaller network"
        )
    images = torch.from_numpy(synthetic_images(spec, _TRACED_BATCH, seed=0))
    said = io.StringIO()
    try:
        with _quiet(said):
            program = torch.onnx.export(
                module,
                (images,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim(BATCH_AXIS)},),
                input_names=[spec.input.name],
                output_names=[OUTPUT],
                opset_version=OPSET,
                verbose=False,
            )
            if program is None:
                raise RuntimeError("torch.onnx returned nothing")
            program.save(path, external_data=False)
            graph = _check(path)
    except Exception as error:  # torch.onnx, torch.export, onnxscript and onnx have no common root
        wrong = ExportError(
            f"cannot export {spec.name} to ONNX: {first_line(error)}; "
            "install the versions in constraints.txt, or choose another network"
        )
        if said.getvalue().strip():
            wrong.add_note(said.getvalue().strip())
        raise wrong from error
    _check_axes(graph, spec)
    return graph


@contextlib.contextmanager
def _quiet(said: io.StringIO) -> Iterator[None]:
    """Collect what is printed and warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                yield
        finally:
            for warning in caught:
                said.write(f"{warning.category.__name__}: {warning.message}\n")


def _check(path: Path) -> Graph:
    """Hold a file to the ONNX standard and read the dims that follow from its nodes."""
    import onnx

    onnx.checker.check_model(path)
    model = onnx.load(path)
    inputs = tuple(_tensor(value) for value in model.graph.input)
    # The dims that torch wrote down are not proof: they are inferred again without them.
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, data_prop=True)
    return Graph(
        opset=next(o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}),
        nodes=len(model.graph.node),
        inputs=inputs,
        outputs=tuple(_tensor(value) for value in inferred.graph.output),
    )


def _tensor(value: "onnx.ValueInfoProto") -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    return TensorSpec(
        name=value.name,
        dtype=onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
        dims=tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim),
    )


def _check_axes(graph: Graph, spec: ModelSpec) -> None:
    wanted = (BATCH_AXIS, *spec.input.shape)
    if [(t.name, t.dims) for t in graph.inputs] != [(spec.input.name, wanted)]:
        found = ", ".join(f"{t.name} {t.dims}" for t in graph.inputs) or "none"
        raise ExportError(
            f"the inputs of the exported {spec.name} are {found} instead of {spec.input.name} "
            f"{wanted}; its network fixes a size that depends on the batch"
        )
    if len(graph.outputs) != 1 or graph.outputs[0].dims[:1] != (BATCH_AXIS,):
        found = ", ".join(f"{t.name} {t.dims}" for t in graph.outputs) or "none"
        raise ExportError(
            f"the outputs of the exported {spec.name} are {found} instead of one with the axis "
            f"{BATCH_AXIS!r} first; its network fixes a size that depends on the batch"
        )
