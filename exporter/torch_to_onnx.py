"""From a torch module to an ONNX file with a symbolic batch axis."""

import contextlib
import inspect
import io
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.bfloat16 import cast_ends, without_kernels
from greenbatch.exporter.causes import innermost_line, line_of_forward
from greenbatch.exporter.outputs.observed import follows_batch, observe
from greenbatch.exporter.rebatch.frozen import find_culprit, set_stacks_aside
from greenbatch.exporter.recipe import OPSET
from greenbatch.exporter.sizes.fold import fold_sizes
from greenbatch.exporter.translations import translations
from greenbatch.models import ModelSpec
from greenbatch.models.artifacts import DATA_SUFFIX, sha256
from greenbatch.models.inputs import synthetic_inputs, tensors_of
from greenbatch.models.onnx_session import open_session
from greenbatch.models.outputs import flatten
from greenbatch.records import BATCH_AXIS, InputSpec, TensorSpec

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

TRACED_BATCH = 2  # 0 and 1 are special to torch.export: it may take them for constants
_LARGEST_BYTES = (1 << 31) - (1 << 24)  # protobuf's limit for one file, less room for the graph


@dataclass(frozen=True, slots=True)
class Graph:
    """What is in an ONNX file.

    Attributes:
        opset, nodes, inputs, outputs: As in a `greenbatch.records.Manifest`.
        data: The file beside it that holds its weights, if they are too large for one file.
        data_sha256: Of that file; its name begins with it, after the graph's own.
    """

    opset: int
    nodes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    data: Path | None = None
    data_sha256: str = ""


def write_graph(module: "nn.Module", spec: ModelSpec, path: Path) -> Graph:
    """Export a network by torch's dynamo exporter, and check what came out.

    Weights of 2 GiB and more do not fit into an ONNX file: they go into one beside it, which is
    named by its content, so that no graph ever meets the weights of another.

    What torch prints and warns of is shown only if it fails, as a note on the error.

    Args:
        module: In evaluation mode, on the CPU.
        spec: Says the input's shape and name.
        path: Where to write.

    Raises:
        ExportError: torch cannot export the network, the file is not valid ONNX, no output
            follows the batch, or one is of a type that cannot be compared.
    """
    size_bytes = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    printed = io.StringIO()
    try:
        with _quiet(printed):
            _save(module, spec, path)
            _tidy(path)
            graph = read_graph(path)
    except Exception as error:  # torch.onnx, torch.export, onnxscript and onnx have no common root
        _check_kernels(path, spec, error)
        cause = innermost_line(error)
        cure = "install the versions in constraints.txt, or choose another network"
        if "data-dependent" in cause and (place := line_of_forward(error)):
            cure = (
                f"{place} decides by the values of the images, which a graph cannot follow; "
                "compute both ways and choose with torch.where"
            )
        wrong = ExportError(f"cannot export {spec.name} to ONNX: {cause}; {cure}")
        if printed.getvalue().strip():
            wrong.add_note(printed.getvalue().strip())
        raise wrong from error
    try:
        graph = replace(graph, outputs=observed(path, spec.input))
    except Exception as error:  # ONNX Runtime's errors have no common root
        _check_kernels(path, spec, error)
        fault = f"the exported {spec.name} does not run in ONNX Runtime: {innermost_line(error)}"
    else:
        fault = _fault_of_axes(graph, spec)
    if fault:
        lines = _fixing_lines(module, spec)
        culprit = find_culprit(path, TRACED_BATCH, lines)
        where = f" in {culprit}" if culprit else ""
        raise ExportError(f"{fault}; its network fixes a size that depends on the batch{where}")
    if size_bytes > _LARGEST_BYTES:
        return _name_data(path, graph)
    _take_data_in(path)
    return graph


def read_graph(path: Path) -> Graph:
    """Hold a file to the ONNX standard and read the dims that follow from its nodes.

    Large weights that lie beside it are not read.
    """
    import onnx

    onnx.checker.check_model(path)
    model = onnx.load(path, load_external_data=False)
    inputs = tuple(_tensor(value) for value in model.graph.input)
    declared = tuple(_tensor(value) for value in model.graph.output)
    # The dims that torch wrote down are not proof: they are inferred again without them.
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, data_prop=True)
    return Graph(
        opset=next(o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}),
        nodes=len(model.graph.node),
        inputs=inputs,
        outputs=tuple(map(_settle, declared, map(_tensor, inferred.graph.output))),
    )


def _settle(declared: TensorSpec, inferred: TensorSpec) -> TensorSpec:
    """Return an output with the dims that inference found, named as they were declared.

    Inference finds each number, but loses a name now and then: behind a Reshape to sizes that
    are computed it makes up names of its own (``unk__0``).
    """
    if len(inferred.dims) != len(declared.dims):
        return inferred if inferred.dims else declared
    dims = tuple(
        stated if isinstance(stated, str) and not isinstance(found, int) else found
        for stated, found in zip(declared.dims, inferred.dims, strict=True)
    )
    return replace(inferred, dims=dims)


def observed(path: Path, input_spec: InputSpec) -> tuple[TensorSpec, ...]:
    """Return what the outputs of a graph are, from runs at several batch sizes."""
    import onnx

    session = open_session(path)
    graph = onnx.load(path, load_external_data=False)
    return observe(lambda inputs: session.run(None, dict(inputs)), graph, input_spec)


def _save(module: "nn.Module", spec: ModelSpec, path: Path) -> None:
    """Write the graph, and its weights beside it: so they are never in memory twice."""
    import torch

    from greenbatch.exporter.any_rows import AnyRows

    traced = _traced(module, spec)
    with AnyRows():
        program = torch.onnx.export(
            traced.module,
            traced.examples,
            dynamo=True,
            dynamic_shapes=traced.dynamic_shapes,
            input_names=[spec.input.name, *(other.name for other in spec.input.others)],
            output_names=traced.outputs,
            opset_version=OPSET,
            custom_translation_table=dict(translations()),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx returned nothing")
    program.save(path, external_data=True)


@dataclass(frozen=True, slots=True)
class _Traced:
    """What torch traces: a module that returns tensors side by side, and its inputs."""

    module: "nn.Module"
    examples: "tuple[torch.Tensor, ...]"
    dynamic_shapes: tuple[object, ...]
    outputs: list[str]


def _traced(module: "nn.Module", spec: ModelSpec) -> _Traced:
    """Return what is traced of a network; one that returns a lone tensor is traced as it is.

    Raises:
        ExportError: The network returns something else than tensors.
    """
    import torch

    inputs = synthetic_inputs(spec, TRACED_BATCH, seed=0)
    examples = tuple(map(torch.from_numpy, inputs.values()))
    batch = {0: torch.export.Dim(BATCH_AXIS)}
    shapes = (batch, *(batch if other.batched else None for other in spec.input.others))
    with torch.inference_mode():
        made = module(*examples)
    outputs = list(flatten(made))
    kinds = {parameter.kind for parameter in inspect.signature(module.forward).parameters.values()}
    if isinstance(made, torch.Tensor) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return _Traced(module, examples, shapes, outputs)
    return _Traced(flattened(module), examples, (shapes,), outputs)


def flattened(module: "nn.Module") -> "nn.Module":
    """Return a module that returns the network's tensors as a tuple, whatever holds them."""
    from torch import nn

    class Flattened(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, *inputs: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
            return tuple(flatten(self.network(*inputs)).values())

    return Flattened().eval()


def _tidy(path: Path) -> None:
    """Take out what computes sizes in each run, and make float32 of outputs in bfloat16.

    The weights beside the graph stay as they are.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    folded, cast = fold_sizes(model, BATCH_AXIS, path.parent), cast_ends(model)
    if folded or cast:
        path.write_bytes(model.SerializeToString())


def _check_kernels(path: Path, spec: ModelSpec, error: Exception) -> None:
    """Refuse a graph that failed because it computes in bfloat16.

    Raises:
        ExportError: It does.
    """
    import onnx

    if not path.exists():
        return
    if lacking := without_kernels(onnx.load(path, load_external_data=False)):
        raise ExportError(
            f"{spec.name} does not run: {lacking}; compute in float32, without autocast, and "
            "choose the precision with --precision"
        ) from error


def _data_path(path: Path) -> Path:
    """Return where torch.onnx puts the weights of a graph."""
    return path.with_name(f"{path.name}.data")


def _take_data_in(path: Path) -> None:
    """Move the weights beside a graph into its file."""
    import onnx

    model = onnx.load(path)
    set_stacks_aside(model, path)
    onnx.save(model, path)
    _data_path(path).unlink(missing_ok=True)  # torch keeps less than 256 bytes in the graph


def _name_data(path: Path, graph: Graph) -> Graph:
    """Name the weights beside a graph by their content, also in the graph."""
    import onnx

    draft = _data_path(path)
    digest = sha256(draft)
    data = draft.rename(path.with_name(f"{path.stem}-{digest[:12]}{DATA_SUFFIX}"))
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = data.name
    set_stacks_aside(model, path)
    path.write_bytes(model.SerializeToString())
    return replace(graph, data=data, data_sha256=digest)


@contextlib.contextmanager
def _quiet(printed: io.StringIO) -> Iterator[None]:
    """Collect what is printed and warned of; what torch logs of a draft is left out."""
    draft = logging.getLogger("torch.export._draft_export")
    disabled, draft.disabled = draft.disabled, True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                yield
        finally:
            draft.disabled = disabled
            for warning in caught:
                printed.write(f"{warning.category.__name__}: {warning.message}\n")


def _tensor(value: "onnx.ValueInfoProto") -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    return TensorSpec(
        name=value.name,
        dtype=onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
        dims=tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param
            for dim in tensor.shape.dim
        ),
    )


def _fault_of_axes(graph: Graph, spec: ModelSpec) -> str:
    """Say what is wrong with the axes at both ends; empty: nothing."""
    wanted = [(t.name, t.dims) for t in tensors_of(spec.input)]
    if [(t.name, t.dims) for t in graph.inputs] != wanted:
        found = ", ".join(f"{t.name} {t.dims}" for t in graph.inputs) or "none"
        return (
            f"the inputs of the exported {spec.name} are {found} instead of "
            f"{', '.join(f'{name} {dims}' for name, dims in wanted)}"
        )
    if not follows_batch(graph.outputs):
        found = ", ".join(f"{t.name} {t.dims}" for t in graph.outputs) or "none"
        return (
            f"the outputs of the exported {spec.name} are {found}, and none of them follows the "
            "number of images"
        )
    return ""


def _fixing_lines(module: "nn.Module", spec: ModelSpec) -> list[str]:
    """Return the lines of Python that fix the batch size, if torch reports them.

    `torch.export.draft_export` exports in any case, and reports each guard that it had to put on
    a size: below the user's stack stands its last line. The report is made to be printed; where
    another version of torch words it otherwise, no lines are found.
    """
    import torch

    try:
        with _quiet(io.StringIO()):
            traced = _traced(module, spec)
            program = torch.export.draft_export(
                traced.module, traced.examples, dynamic_shapes=traced.dynamic_shapes
            )
        report = str(getattr(program, "_report", ""))
    except Exception:  # an error's text is no place for another error
        return []
    ends = r"\n\s*(?:Locals:|And the following framework)"
    stacks = re.findall(rf"(?s)Guard Added.*?stacktrace:(.*?){ends}", report)
    return [stack.strip().splitlines()[-1].strip().removesuffix(":") for stack in stacks]
