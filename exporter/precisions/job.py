"""What a conversion works on, what comes of it, and the proofs that all precisions share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from greenbatch.errors import ExportError, ParityError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.precisions import fidelity
from greenbatch.exporter.precisions.calibration import Images
from greenbatch.exporter.precisions.running import run
from greenbatch.exporter.precisions.trials import Wanted
from greenbatch.exporter.torch_to_onnx import Graph, read_graph
from greenbatch.models.artifacts import Artifact
from greenbatch.models.onnx_session import CPU
from greenbatch.models.output_rows import Outputs
from greenbatch.records import Fidelity, Parity


@dataclass(frozen=True, slots=True)
class Converted:
    """What is known of an artifact of lower precision, for its manifest.

    Attributes:
        graph: What is in the written file.
        fidelity: Against fp32.
        parity: Rows of batches against images run alone; its errors are against fp32.
        calibration: What an int8 artifact was calibrated on, and how; empty for others.
        kept: Names of the nodes that compute in float32, as in a manifest's ``kept_in_fp32``.
    """

    graph: Graph
    fidelity: Fidelity
    parity: tuple[Parity, ...]
    calibration: str = ""
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What a conversion works on.

    Attributes:
        fp32: The artifact it comes from.
        precision: What it becomes.
        out_path: Where the graph is written.
        learnt: Images to calibrate on.
        wanted: Outputs of fp32 for the images that it is judged by.
        report: Is called with each step.
        folder: For files on the way.
    """

    fp32: Artifact
    precision: str
    out_path: Path
    learnt: Images
    wanted: Wanted
    report: Callable[[str], None]
    folder: Path

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.fp32.manifest.model

    @property
    def label(self) -> str:
        """What the artifact is called in an error."""
        return f"{self.name} in {self.precision}"


def not_mended(refused: ParityError) -> ParityError:
    """Return the error for a network that loses too much with any choice of nodes, too."""
    fault, _, cure = str(refused).rpartition("; ")
    return ParityError(f"{fault}, and half of its nodes kept in fp32 do not mend it; {cure}")


def outputs_of(job: Job, provider: str = CPU, *, optimise: bool = True) -> Outputs:
    """Run what was written on the images that it is judged by."""
    specs = job.wanted.specs
    return run(job.out_path, job.wanted.images, specs, job.label, provider, optimise=optimise)


def compared(job: Job, got: Outputs) -> Fidelity:
    """Compare outputs with those of fp32.

    Raises:
        ParityError: They have another shape, or are not finite.
    """
    wanted = job.wanted
    return fidelity.compare(
        wanted.specs, job.name, wanted.outputs, got, job.precision, wanted.images
    )


def checked_rows(job: Job, provider: str = CPU, *, optimise: bool = True) -> tuple[Parity, ...]:
    """Check batches of what was written, see `greenbatch.exporter.precisions.fidelity`."""
    wanted = job.wanted
    return fidelity.check_rows(
        job.out_path,
        wanted.images,
        wanted.specs,
        wanted.outputs,
        job.name,
        job.precision,
        provider,
        optimise=optimise,
    )


def read_written(job: Job) -> Graph:
    """Hold a written graph to the standard, and its ends to those of fp32.

    Raises:
        ExportError: It is no valid ONNX, an end has another name or type, or its batch is fixed.
    """
    manifest = job.fp32.manifest
    try:
        graph = read_graph(job.out_path)
    except Exception as error:  # onnx's errors have no common root
        raise ExportError(
            f"{job.name} became no valid ONNX in {job.precision}: {innermost_line(error)}; export "
            "it in fp32"
        ) from error
    wanted = (*manifest.inputs, *manifest.outputs)
    for end, spec in zip((*graph.inputs, *graph.outputs), wanted, strict=False):
        if (end.name, end.dtype) != (spec.name, spec.dtype):
            raise ExportError(
                f"the conversion of {job.name} to {job.precision} made {end.name} {end.dtype} of "
                f"{spec.name} {spec.dtype}; export it in fp32"
            )
        axis = spec.batch_axis
        if axis is not None and len(end.dims) > axis and not isinstance(end.dims[axis], str):
            raise ExportError(
                f"the conversion of {job.name} to {job.precision} fixed the batch axis of "
                f"{spec.name!r}; export it in fp32"
            )
    return replace(graph, inputs=manifest.inputs, outputs=manifest.outputs)
