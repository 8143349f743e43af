"""By which images a lower precision is judged: those to which fp32 answers by more than noise.

Where an output is near 0 in all its values, they are rounding errors of float32. ONNX Runtime with
and without its optimizers does not agree on them, and a lower precision cannot.
"""

from collections.abc import Sequence
from pathlib import Path

from greenbatch.errors import ParityError
from greenbatch.exporter.precisions.calibration import (
    FEWEST,
    FEWEST_JUDGED,
    Images,
    draw_images,
    images_for,
)
from greenbatch.exporter.precisions.running import run
from greenbatch.exporter.precisions.trials import Wanted
from greenbatch.models.artifacts import Artifact
from greenbatch.models.output_rows import Outputs, by_image
from greenbatch.records import TensorSpec

_MOST_NOISE = 0.01  # length of the difference between the two runs, over that of the output


def choose_images(
    fp32: Artifact, precision: str, calibration: Path | None
) -> tuple[Images, Wanted]:
    """Return images to calibrate on, and others to judge by with their outputs in fp32.

    Where synthetic images give noise, drawn ones are taken; those that give noise are left out.

    Raises:
        UsageError: The folder does not hold enough photographs.
        ParityError: No images give more than noise.
        ExportError: The fp32 artifact does not run.
    """
    manifest = fp32.manifest
    count = images_for(manifest)
    best: tuple[list[int], Images, Images] | None = None
    for drawn in (False,) if calibration else (False, True):
        learnt, judged = draw_images(manifest.input, calibration, count, drawn=drawn)
        outputs = run(fp32.path, judged, manifest.outputs, manifest.model)
        again = run(fp32.path, judged, manifest.outputs, manifest.model, optimise=False)
        sound = _sound(manifest.outputs, outputs, again, len(judged))
        if len(sound) == len(judged):
            return learnt, Wanted(manifest.model, judged, manifest.outputs, outputs)
        if best is None or len(sound) > len(best[0]):
            best = sound, learnt, judged
    assert best is not None
    sound, learnt, judged = best
    if len(sound) < FEWEST_JUDGED:
        where = f"folder {calibration.name}" if calibration else "synthetic and drawn images"
        raise ParityError(
            f"{manifest.model} in {precision} cannot be judged on {where}: its outputs are so near "
            f"0 there that they are rounding errors of float32; give at least {2 * FEWEST} "
            "photographs of what it finds (--calibration DIR)"
        )
    data = f"{judged.data}, {len(judged) - len(sound)} without an answer"
    some = Images(judged.spec, judged.take(sound), data)
    outputs = run(fp32.path, some, manifest.outputs, manifest.model)
    return learnt, Wanted(manifest.model, some, manifest.outputs, outputs)


def _sound(specs: Sequence[TensorSpec], outputs: Outputs, again: Outputs, count: int) -> list[int]:
    """Return the numbers of the images whose outputs are the same in two runs of fp32."""
    import numpy as np

    sound = np.ones(count, bool)
    for spec in specs:
        if spec.index or spec.counted or spec.batch_axis is None or "float" not in spec.dtype:
            continue
        wanted, found = (by_image(spec, one[spec.name]) for one in (outputs, again))
        error = np.linalg.norm(wanted.astype(np.float64) - found, axis=1)
        size = np.linalg.norm(wanted.astype(np.float64), axis=1)
        sound &= error <= _MOST_NOISE * size
    return [int(number) for number in np.flatnonzero(sound)]
