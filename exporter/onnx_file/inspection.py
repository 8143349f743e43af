"""Whether an ``.onnx`` file is a network of images, and which."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ArtifactError, ExportError, first_line
from greenbatch.exporter.bfloat16 import with_network_dtypes, without_kernels
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.external_data import external_tensors, location_of
from greenbatch.exporter.onnx_file.inputs import ImageInput, find_inputs
from greenbatch.exporter.onnx_file.reading import opsets, read_model, read_with_weights
from greenbatch.exporter.outputs.observed import BATCHES, follows_batch, observe
from greenbatch.models import InputSpec
from greenbatch.models.inputs import tensors_of
from greenbatch.models.onnx_session import open_session
from greenbatch.models.output_rows import Array
from greenbatch.records import TensorSpec

if TYPE_CHECKING:
    import onnx
    import onnxruntime as ort

_PLACE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?(/\S+:\d+ .*?\) (const )?)?"
)
"""What ONNX Runtime puts in front of its sentence: codes, and where in its source it stands."""
_NEWEST_OPSET = re.compile(r"official support for domain \S+ is till opset \d+")


_NUMBERS = re.compile(r"tensor\((float16|float|double|u?int(8|16|32|64)|bool)\)")
"""Types of outputs that ONNX Runtime hands over in Python."""


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What was found in a file.

    Attributes:
        path: The file.
        input: Name and shape of its image input, and the others; how a photograph becomes it, an
            ``.onnx`` does not say: see `greenbatch.models.sources.input_option.parse_input`.
        batch: The only batch size that it runs at; ``None``: its batch axis is symbolic, and it
            ran at another batch than 1.
        batch_axis: Name of the symbolic axis, where the file has one.
        opset, ir_version, nodes: Of the graph.
        parameters: Floating-point values among its initializers and constants.
        outputs: As runs show them, see `greenbatch.exporter.outputs.observed`; where the batch is
            fixed, none of their axes is known to follow it.
        data_files: Names of the files beside it that hold weights.
    """

    path: Path
    input: InputSpec
    batch: int | None
    batch_axis: str
    opset: int
    ir_version: int
    nodes: int
    parameters: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    data_files: tuple[str, ...] = ()


def inspect(path: Path | str, input: InputSpec | None = None) -> OnnxFacts:
    """Read a file as data, see that ONNX Runtime runs it, and say what it is.

    No weight is read before it is known that all of them lie in the file's own folder. The
    network is run once, on the CPU.

    Args:
        path: The file.
        input: Its inputs, where it leaves height and width open, has further inputs, or
            photographs are prepared otherwise than ImageNet's. The image may have any name; the
            others have the file's.

    Raises:
        ArtifactError: The file is damaged, reaches outside its folder, is newer than ONNX Runtime,
            or is no network of images.
    """
    path = Path(path)
    model, repaired = read_model(path)
    session = _open(path, model, repaired)
    _check_outputs(session, path)
    found = find_inputs(model, path, input)
    outputs, batch = _observe(session, path, model, found)
    return OnnxFacts(
        path=path,
        input=found.spec,
        batch=batch,
        batch_axis=found.axis,
        opset=opsets(model).get("", 0),
        ir_version=model.ir_version,
        nodes=len(model.graph.node),
        parameters=_parameters(model),
        inputs=with_network_dtypes(tensors_of(found.spec), model),
        outputs=outputs,
        data_files=tuple(sorted({location_of(tensor) for tensor in external_tensors(model)})),
    )


def _parameters(model: "onnx.ModelProto") -> int:
    import numpy as np
    import onnx

    total = 0
    constants = [
        attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    for tensor in (*model.graph.initializer, *constants):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if dtype.kind == "f" or dtype.name in {"bfloat16", "int8"}:
            total += int(np.prod(tensor.dims, dtype=np.int64))
    return total


def _open(path: Path, model: "onnx.ModelProto", repaired: bool) -> "ort.InferenceSession":
    """Open a session on the file, or on its repaired graph.

    Raises:
        ArtifactError: ONNX Runtime does not take it.
    """
    import onnxruntime as ort

    try:
        source = read_with_weights(path).SerializeToString() if repaired else path
        return open_session(source, may_be_half=True)
    except Exception as error:  # ONNX Runtime's errors have no common root
        if lacking := without_kernels(model):
            raise ArtifactError(
                f"{path} does not run: {lacking}; export it in float32, and choose the precision "
                "with --precision"
            ) from error
        custom = ", ".join(sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"}))
        hint = f" (it uses operators of {custom})" if custom else ""
        raise ArtifactError(
            f"ONNX Runtime {ort.__version__} cannot load {path}{hint}: {_cause(error)}; export "
            "it with operators and a version that this ONNX Runtime knows"
        ) from error


def _cause(error: Exception) -> str:
    """Return the clause of an error of ONNX Runtime's that a person can use."""
    if newest := _NEWEST_OPSET.search(str(error)):
        return f"its {newest[0]}"
    return first_line(_PLACE.sub("", str(error), count=1))


def _check_outputs(session: "ort.InferenceSession", path: Path) -> None:
    """Refuse outputs that are no tensors, by name and type."""
    for output in session.get_outputs():
        if not output.type.startswith("tensor("):
            raise ArtifactError(
                f"the output {output.name} of {path} is {output.type} instead of a tensor; export "
                "it without what makes that of its tensors"
            )
        if not _NUMBERS.fullmatch(output.type):
            raise ArtifactError(
                f"the output {output.name} of {path} is {output.type}, which ONNX Runtime does not "
                "hand over in Python as numbers; export it with a Cast to float behind it"
            )


def _observe(
    session: "ort.InferenceSession", path: Path, model: "onnx.ModelProto", found: ImageInput
) -> tuple[tuple[TensorSpec, ...], int | None]:
    """Return the outputs, and the only batch size that the network runs at, if any.

    Where the axis is free, two and three images are tried; where those do not run, or leave no
    trace in any output, it is a network of one image.
    """

    def run(inputs: Mapping[str, Array]) -> Sequence[Array]:
        results: Sequence[Array] = session.run(None, dict(inputs))
        return results

    fault: Exception | None = None
    for batches in ((found.batch,),) if found.batch else (BATCHES, (1,)):
        try:
            specs = observe(run, model, found.spec, batches)
        except ExportError:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common root
            fault = fault or error
        else:
            if len(batches) > 1 and not follows_batch(specs):
                continue
            return specs, found.batch or (None if len(batches) > 1 else 1)
    if fault is None:
        raise ArtifactError(
            f"the outputs of {path} do not follow the number of images; gb measures networks "
            "whose outputs have a part for each image"
        )
    raise ArtifactError(
        f"{path} does not run at batch {found.batch or 2}: {innermost_line(fault)}; give the size "
        "that it takes with --input, or export it again"
    ) from fault
