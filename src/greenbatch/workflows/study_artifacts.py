"""The artifacts of a study: exported where they are missing, read and checked."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch import extras, files
from greenbatch.errors import ExportError, UsageError
from greenbatch.workflows.exports import plan_exports

if TYPE_CHECKING:
    from greenbatch.design.study import Study
    from greenbatch.exporter.parallel import Outcome
    from greenbatch.models import ModelSpec
    from greenbatch.models.artifacts import Artifact
    from greenbatch.workflows.inference import Listener

_FOR_GPUS = ["--int8-for=gpu"]


def load_artifacts(study: "Study") -> Mapping[str, "Artifact"]:
    """Read the artifacts of a study, with the fp32 ones as reference, and check their files."""
    from greenbatch.models.artifacts import load_artifact
    from greenbatch.records import artifact_key

    folder = Path(study.artifacts_dir)
    return {
        artifact_key(model, precision): load_artifact(folder, model, precision)
        for model in study.models
        for precision in dict.fromkeys(("fp32", *study.precisions))  # fp32 is the reference
    }


def export_models(study: "Study", listener: "Listener") -> Mapping[str, "Artifact"]:
    """Export what a study needs, in processes of their own: this one stays small and quiet."""
    from greenbatch.models import registry

    listener.on_step(f"exporting {', '.join(study.models)} (up-to-date artifacts are kept)")
    options = [f"--precision={name}" for name in study.precisions if name != "fp32"]
    drawn = [f"--weights={study.weights}", f"--seed={study.seed}"]
    known = registry.names(registry.ALL)
    listed = [registry.find(name) for name in study.models if name in known]
    stale = [spec for spec in listed if _stale(spec, study)]
    for processor in ([], _FOR_GPUS):
        some = [spec for spec in stale if _int8_for(spec.name, study) == processor]
        _export(some, [*options, *drawn, *processor], study, listener)
    for name in study.models:  # how much memory others take is not known: one at a time
        if name not in known:
            _export_own(name, options, study, listener)
    return load_artifacts(study)


def _export_own(name: str, options: Sequence[str], study: "Study", listener: "Listener") -> None:
    """Export a network of the user's, or what is missing beside an artifact that is there."""
    from greenbatch.exporter.precisions.export import find_lower
    from greenbatch.models import ModelSpec

    folder, given = Path(study.artifacts_dir), list(options)
    lower = [precision for precision in study.precisions if precision != "fp32"]
    if source := _to_export(study).get(name):
        given += [f"--input={text}" for text in study.inputs.get(name, ())]
        given += ["--dynamic-batch"] if source.lower().endswith(".onnx") else []
    elif all(find_lower(name, precision, folder) for precision in lower):
        return
    spec = ModelSpec(name=name, family="own", parameters=0, weights="")
    _export([spec], [*given, *_int8_for(name, study)], study, listener)


def _to_export(study: "Study") -> dict[str, str]:
    """Return the sources of the networks that are not measured as they were exported."""
    return {name: text for name, text in study.sources.items() if name not in study.exported}


def _int8_for(name: str, study: "Study") -> list[str]:
    """Return the option of an int8 artifact for GPUs: missing, of a study on CUDA alone.

    One that is there is kept as it is.
    """
    from greenbatch.models.artifacts import has_manifest

    if "int8" not in study.precisions or has_manifest(Path(study.artifacts_dir), name, "int8"):
        return []
    return _FOR_GPUS if _devices(study) == {"cuda"} else []


def _devices(study: "Study") -> set[str]:
    """Return what a study measures on, e.g. ``{"cpu", "cuda"}``."""
    from greenbatch.runners import backends

    return {backends.find(backend).device for backend in study.backends}


def _stale(spec: "ModelSpec", study: "Study") -> bool:
    """Whether an export of this network has something to do, as far as that is known at once."""
    from greenbatch.exporter.export import find_up_to_date

    if study.precisions != ("fp32",):
        return True
    folder = Path(study.artifacts_dir)
    return not find_up_to_date(spec.name, folder, weights=study.weights, seed=study.seed)


def _export(
    specs: "Sequence[ModelSpec]", options: Sequence[str], study: "Study", listener: "Listener"
) -> None:
    from greenbatch.exporter.parallel import Fleet

    if not specs:
        return
    extras.require(f"the export of {specs[0].name}", extras.EXTRAS["bench"])
    plan = plan_exports(Path(study.artifacts_dir), options, len(specs), sources=_to_export(study))
    on_gpu = "cuda" in _devices(study)
    failed: list[Outcome] = []
    notes: dict[str, None] = {}
    with contextlib.closing(Fleet(plan).run(specs)) as running:
        for outcome in running:
            if outcome.exported:
                made = f"{outcome.model} ({', '.join(outcome.exported)})"
                listener.on_step(f"exported {made} in {outcome.seconds:.0f} s")
            for note in (*outcome.notes, *(outcome.gpu_notes if on_gpu else ())):
                if note not in notes:
                    listener.on_step(note)
                notes[note] = None
            if not outcome.good:
                failed.append(outcome)
    if failed:
        wrong_use = all(outcome.exit_code == UsageError.exit_code for outcome in failed)
        error = UsageError if wrong_use else ExportError
        raise error("; ".join(outcome.reason for outcome in failed))


def keep_accuracies(study: "Study", artifacts: Mapping[str, "Artifact"], path: Path) -> None:
    """Copy what ``gb eval`` measured of these very artifacts into the run."""
    from greenbatch.records.accuracy import FOLDER, parse_accuracy

    for artifact in artifacts.values():
        manifest = artifact.manifest
        file = Path(study.artifacts_dir) / FOLDER / f"{manifest.model}-{manifest.precision}.json"
        if not file.is_file() or (path / FOLDER / file.name).exists():
            continue
        text = files.read_text(file, files.MEGABYTE_BYTES)
        if parse_accuracy(text, str(file)).artifact_sha256 == manifest.sha256:
            files.make_folder(path / FOLDER)
            files.write_atomically(path / FOLDER / file.name, text)
