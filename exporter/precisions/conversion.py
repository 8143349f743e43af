"""One proved fp32 artifact -> one proved artifact of lower precision."""

import ctypes
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ExportError, ParityError, UnknownNameError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.placement.check import check_placement
from greenbatch.exporter.precisions import fidelity, half, int8
from greenbatch.exporter.precisions.calibration import Images, draw_images
from greenbatch.exporter.torch_to_onnx import Graph, read_graph
from greenbatch.models.artifacts import Artifact
from greenbatch.models.onnx_session import CPU
from greenbatch.records import Fidelity, Parity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRECISIONS = ("fp16", "bf16", "int8")

# Methods of calibration and types of weights, in the order they are tried.
_WAYS = {
    "cpu": (
        ("minmax", int8.WEIGHTS[0]),
        ("percentile", int8.WEIGHTS[0]),
        ("minmax", int8.WEIGHTS[1]),
    ),
    "gpu": (("minmax", int8.GPU_WEIGHTS), ("percentile", int8.GPU_WEIGHTS)),
}
_ROUNDED_IMAGES = 16  # for an overflow, and for errors that add up, some are enough


@dataclass(frozen=True, slots=True)
class Converted:
    """What is known of an artifact of lower precision, for its manifest.

    Attributes:
        graph: What is in the written file.
        fidelity: Against fp32.
        parity: Rows of batches against images run alone; its errors are against fp32.
        calibration: What an int8 artifact was calibrated on, and how; empty for others.
    """

    graph: Graph
    fidelity: Fidelity
    parity: tuple[Parity, ...]
    calibration: str = ""


def convert(
    fp32: Artifact,
    precision: str,
    out_path: Path,
    calibration: Path | None = None,
    on_step: Callable[[str], None] | None = None,
    processor: str = "cpu",
) -> Converted:
    """Write an artifact's graph in a lower precision, and prove it against fp32.

    Args:
        fp32: The proved artifact; its ``.onnx`` file and its manifest's ``input`` are used.
        precision: One of `PRECISIONS`.
        out_path: Where to write the graph.
        calibration: Folder of photographs; ``None``: seeded synthetic images.
        on_step: Is called with each step, in a few words.
        processor: What int8 is for, one of `greenbatch.exporter.precisions.int8.PROCESSORS`.

    Raises:
        UnknownNameError: No such precision or processor.
        UsageError: The folder does not hold enough photographs.
        ExportError: The graph cannot be converted, or nothing on this machine runs it.
        ParityError: It computes something else than fp32, by the precision's bound.
        In each case nothing is left at ``out_path``.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    if processor not in int8.PROCESSORS:
        raise UnknownNameError("processor", processor, int8.PROCESSORS)
    report = on_step or (lambda step: None)
    try:
        return _convert(fp32, precision, out_path, calibration, report, processor)
    except BaseException:
        out_path.unlink(missing_ok=True)
        raise


def _convert(
    fp32: Artifact,
    precision: str,
    out_path: Path,
    calibration: Path | None,
    report: Callable[[str], None],
    processor: str,
) -> Converted:
    learnt, judged = draw_images(fp32.manifest.input, calibration)
    name = fp32.manifest.model
    if precision == "int8":
        return _quantise(fp32, out_path, learnt, judged, report, processor)
    report(f"converting {name} to {precision}")
    write = half.write_fp16 if precision == "fp16" else half.write_bf16
    write(fp32.path, out_path, name)
    graph = _read(out_path, name, precision)
    provider = _find_provider(out_path, f"{name} in {precision}")
    report(f"verifying {name} in {precision}")
    wanted = fidelity.run(fp32.path, judged, name)
    _prove_rounded(fp32, out_path, precision, judged, wanted)
    got = fidelity.run(out_path, judged, f"{name} in {precision}", provider)
    found = fidelity.compare(name, wanted, got, precision, judged.data)
    fidelity.judge(name, found, precision)
    rows = fidelity.check_rows(out_path, judged, wanted, name, precision, provider)
    return Converted(graph, found, rows)


def _quantise(
    fp32: Artifact,
    out_path: Path,
    learnt: Images,
    judged: Images,
    report: Callable[[str], None],
    processor: str,
) -> Converted:
    """Take the first way to quantise whose result is within the bound.

    What is for a GPU is computed unoptimised: in float32 from what was dequantised, as CUDA does.
    The products of this processor prove nothing of it, and may saturate where a GPU's do not.
    """
    name, here = fp32.manifest.model, processor == "cpu"
    wanted = fidelity.run(fp32.path, judged, name)
    refused: ParityError | None = None
    for method, weights in _WAYS[processor]:
        report(f"quantising {name} ({method}, weights {weights}, {len(learnt.pixels)} images)")
        int8.write_int8(fp32.path, out_path, name, learnt, method, weights, processor=processor)
        graph = _read(out_path, name, "int8")
        got = fidelity.run(out_path, judged, f"{name} in int8", optimise=here)
        found = fidelity.compare(name, wanted, got, "int8", judged.data)
        try:
            fidelity.judge(name, found, "int8")
            if here:
                fidelity.check_arithmetic(out_path, judged, name, got)
        except ParityError as error:
            refused = refused or error
        else:
            rows = fidelity.check_rows(out_path, judged, wanted, name, "int8", optimise=here)
            calibrated = f"{learnt.data}: {len(learnt.pixels)} images, {method}; weights {weights}"
            calibrated += "" if here else "; for GPUs: signed activations, bias in float32"
            return Converted(graph, found, rows, calibrated)
    assert refused is not None
    raise refused


def _prove_rounded(
    fp32: Artifact,
    out_path: Path,
    precision: str,
    judged: Images,
    wanted: "NDArray[np.float32]",
) -> None:
    """Hold the type itself to the bound, whatever the device does with the graph."""
    name = fp32.manifest.model
    some = Images(judged.pixels[:_ROUNDED_IMAGES], judged.data)
    with tempfile.TemporaryDirectory(dir=out_path.parent, prefix=".rounded-") as folder:
        path = Path(folder) / "rounded.onnx"
        half.write_rounded(fp32.path, path, precision)
        got = fidelity.run(path, some, f"{name} rounded to {precision}", optimise=False)
    found = fidelity.compare(name, wanted[:_ROUNDED_IMAGES], got, precision, judged.data)
    fidelity.judge(name, found, precision)


def _find_provider(path: Path, name: str) -> str:
    """Return the first provider that takes all of a graph.

    Raises:
        ExportError: None does.
    """
    import onnxruntime as ort

    refusals: list[ExportError] = []
    providers: list[str] = [CPU, *([fidelity.CUDA] if _has_cuda(ort) else [])]
    for provider in providers:
        try:
            fidelity.open_session(path, name, provider)
        except ExportError as error:
            refusals.append(error)
        else:
            return provider
    on_cpu = f"ONNX Runtime {ort.__version__} has no kernels for it on the CPU"
    if fault := check_placement(path)[0].fault:
        raise ExportError(
            f"{name} cannot be proved with ONNX Runtime: {on_cpu}, and {fault}; choose fp16, or "
            "measure this precision with torch"
        ) from refusals[-1]
    raise ExportError(
        f"{name} cannot be proved on this machine: {on_cpu} ({innermost_line(refusals[0])}), and "
        "no CUDA device took it; export it where 'gb doctor' lists a CUDA device, or choose fp16"
    ) from refusals[-1]


def _has_cuda(ort: Any) -> bool:
    """Say whether trying CUDA makes sense: without a driver ONNX Runtime only logs at length."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return fidelity.CUDA in ort.get_available_providers()


def _read(path: Path, name: str, precision: str) -> Graph:
    """Hold a written graph to the standard, and its batch axis to being symbolic at both ends."""
    try:
        graph = read_graph(path)
    except Exception as error:  # onnx's errors have no common root
        raise ExportError(
            f"{name} became no valid ONNX in {precision}: {innermost_line(error)}; export it in "
            "fp32"
        ) from error
    if fixed := [
        end.name for end in (*graph.inputs, *graph.outputs) if not isinstance(end.dims[0], str)
    ]:
        raise ExportError(
            f"the conversion of {name} to {precision} fixed the batch axis of {fixed[0]!r}; "
            "export it in fp32"
        )
    return graph
