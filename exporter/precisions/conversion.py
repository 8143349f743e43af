"""One proved fp32 artifact -> one proved artifact of lower precision."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from greenbatch.errors import UnknownNameError
from greenbatch.exporter.precisions import int8
from greenbatch.exporter.precisions.halving import halve
from greenbatch.exporter.precisions.job import Converted, Job
from greenbatch.exporter.precisions.judging import choose_images
from greenbatch.exporter.precisions.quantising import quantise
from greenbatch.models.artifacts import Artifact

PRECISIONS = ("fp16", "bf16", "int8")


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
        learnt, wanted = choose_images(fp32, precision, calibration)
        with tempfile.TemporaryDirectory(dir=out_path.parent, prefix=".converting-") as folder:
            job = Job(fp32, precision, out_path, learnt, wanted, report, Path(folder))
            return quantise(job, processor) if precision == "int8" else halve(job)
    except BaseException:
        out_path.unlink(missing_ok=True)
        raise
