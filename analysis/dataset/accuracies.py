"""Accuracy of the artifacts that a run measured: as evaluated here, else as published."""

import warnings
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.coordinates import model_facts
from greenbatch.analysis.dataset.labels import Labels
from greenbatch.analysis.dataset.run_files import RunFiles
from greenbatch.analysis.dataset.variables import ACCURACIES
from greenbatch.records import artifact_key
from greenbatch.records.accuracy import Accuracy

if TYPE_CHECKING:
    from greenbatch.analysis.dataset.variables import Arrays


def fill_accuracies(arrays: "Arrays", files: RunFiles, grid: Labels) -> list[Accuracy]:
    """Fill the variables of accuracy, in percent.

    A measured one is of the very artifact of the run, known by its hash. The published one
    stands for pretrained weights in fp32, which it was published for, and has no interval.

    Args:
        arrays: The dataset's arrays, changed in place.
        files: The run. A record that is of another artifact is left out, with a warning.
        grid: The dataset's labels.

    Returns:
        The records that were taken in.
    """
    facts = model_facts(files, grid.texts("model"))
    places: dict[str, list[int]] = {}
    for place, variant in enumerate(grid.variants):
        places.setdefault(variant.precision, []).append(place)
    for model, (top1, weights) in enumerate(zip(facts["top1"], facts["weights"], strict=True)):
        if weights == "pretrained" and top1 == top1:
            fp32 = places.get("fp32", [])
            arrays["accuracy_top1"][model, fp32] = top1
            arrays["accuracy_source"][model, fp32] = ACCURACIES.index("published")
    taken = []
    for record in files.accuracies:
        where = f"{record.model} in {record.precision}"
        known = record.model in grid.along["model"] and record.precision in places
        if not known or _sha256(files, record) != record.artifact_sha256:
            warnings.warn(
                f"the accuracy of {where} was measured on another artifact than this run's and "
                "was left out; evaluate the run's own with: gb eval",
                stacklevel=2,
            )
            continue
        at = (grid.place("model", record.model), places[record.precision])
        arrays["accuracy_top1"][at] = 100 * record.top1.value
        arrays["accuracy_top1_low"][at] = 100 * record.top1.low
        arrays["accuracy_top1_high"][at] = 100 * record.top1.high
        if record.top5:
            arrays["accuracy_top5"][at] = 100 * record.top5.value
        arrays["accuracy_images"][at] = record.images
        arrays["accuracy_source"][at] = ACCURACIES.index("measured")
        taken.append(record)
    return taken


def _sha256(files: RunFiles, record: Accuracy) -> str | None:
    entry = files.study.artifacts.get(artifact_key(record.model, record.precision))
    return entry.sha256 if entry else None
