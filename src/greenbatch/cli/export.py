"""``gb export``: networks into verified ONNX artifacts."""

import shlex
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch import units
from greenbatch.cli.options import by_comma, parse_bytes
from greenbatch.cli.output.export import print_check, print_export
from greenbatch.cli.output.printing import echo, note
from greenbatch.errors import ArtifactError, ExportError, UnknownNameError, UsageError
from greenbatch.extras import EXTRAS, require

if TYPE_CHECKING:
    from greenbatch.models import ModelSpec
    from greenbatch.models.sources.parse import Source

DAMAGED = 3  # exit code of a check that found a fault


def export(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models, package.module:callable, timm:NAME, hf:NAME, .pt2, TorchScript or .onnx "
            "files. Default: the five study models."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Export all models that 'gb models' lists.")
    ] = False,
    family: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Export all models of this family, e.g. resnet, detection or all. Repeatable, or "
            "with commas.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the artifacts.")] = Path("artifacts"),
    weights: Annotated[
        str, typer.Option(help="Weights: auto, pretrained, random or a .safetensors or .pth file.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Random seed of random weights.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Export again even if the artifact is up to date.")
    ] = False,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Precision: fp32, fp16, bf16 or int8. Repeatable, or with commas. The fp32 "
            "artifact is always exported.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images for the int8 calibration. Default: synthetic images. An "
            "artifact that is up to date keeps its own."
        ),
    ] = None,
    int8_for: Annotated[
        str | None,
        typer.Option(
            help="Processor of the int8 artifact: cpu, or gpu for CUDA and TensorRT. Default: "
            "that of the artifact that is there, else cpu."
        ),
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option(
            help="Input of your own network as CxHxW, e.g. 3x224x224, or as "
            "[NAME=]SHAPE[:TYPE[:VALUE]]. Repeatable for further inputs."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the artifact of your own network.")
    ] = None,
    dynamic_batch: Annotated[
        bool,
        typer.Option("--dynamic-batch", help="Make the fixed batch axis of an .onnx file dynamic."),
    ] = False,
    describe: Annotated[
        bool,
        typer.Option(
            "--describe",
            help="Print the inputs, outputs and axes of .onnx files, and the command that "
            "measures them; export nothing.",
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of models to export in parallel. Default: the number of available "
            "cores, at most 8.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Maximum memory of all parallel exports together, e.g. 12GiB; a network that "
            "needs more is proved at a smaller largest batch. Default: the free memory."
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Verify the artifacts in DIR against their manifests, and report which nodes "
            "CUDA and TensorRT would leave to the CPU; export nothing.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for each artifact.")
    ] = False,
) -> None:
    """Export models to ONNX and verify each artifact against PyTorch.

    The batch axis of an artifact is dynamic. Several models are exported in parallel, each in its
    own process. An artifact that is up to date is kept. A failed export does not stop the others.

    Exit 0: all artifacts are verified. Exit 3: an export failed, or --check found damage.
    """
    require("gb export", EXTRAS["bench"])
    if check is not None:
        if models or every or family:
            raise UsageError("--check verifies all artifacts of a folder; remove the models")
        if print_check(check, as_json=as_json):
            raise typer.Exit(DAMAGED)
        return
    if models and (every or family):
        option = "--all" if every else "--family"
        raise UsageError(f"{option} and the model {models[0]} are both given; remove one of them")
    from greenbatch.models import registry

    every = every or bool(family)
    listed = [name for each in family or [registry.CLASSIFICATION] for name in registry.names(each)]
    lower = _lower_precisions(precision, calibration, int8_for)
    chosen = list(dict.fromkeys(listed if every else models or registry.STUDY))
    there = [] if every else [name for name in chosen if _is_there(name, out)]
    own = {} if every or not models else _own([name for name in chosen if name not in there])
    if (input or name or dynamic_batch) and (len(own) != 1 or len(chosen) != 1):
        raise UsageError(
            "--input, --name and --dynamic-batch are for one network of your own at a time; "
            "remove them, or name one network"
        )
    planned = _own_exports(list(own.values()), input or [], name)
    if describe:
        _describe(planned)
        return
    kept: list[str] = []
    try:
        code = 0
        kept.extend(
            _export_own(source, out, weights, seed, given, named, dynamic_batch, memory, as_json)
            for source, named, given in planned
        )
        for each in there:
            _print_own(each, out, weights, force and not lower, as_json)
            kept.append(each)
        specs = [registry.find(text) for text in chosen if text not in own and text not in there]
        if len(specs) == 1:
            _export_one(specs[0].name, out, weights, seed, force, memory, as_json)
            kept.append(specs[0].name)
        elif specs:
            if every:
                specs.sort(key=lambda spec: spec.parameters)  # most are done soon
            code = _export_many(specs, out, weights, seed, force, jobs, memory, as_json, kept)
        for each in (*kept[: len(planned)], *there, *(spec.name for spec in specs)):
            for wanted in lower:
                failed = _export_lower(each, wanted, out, calibration, int8_for, force, as_json)
                code = max(code, failed)
                if not failed:
                    kept.append(f"{each} in {wanted}")
    except KeyboardInterrupt as stop:
        total = len(chosen) * (1 + len(lower))
        anew = "starts again" if own else "continues with the rest"
        raise KeyboardInterrupt(_what_is_kept(len(kept), total, out, anew, force)) from stop
    if planned and not as_json:
        folder = "" if out == Path("artifacts") else f" --artifacts {shlex.quote(str(out))}"
        echo(f"measure: gb bench {' '.join(named for _, named, _ in planned)}{folder}")
    raise typer.Exit(code)


def _what_is_kept(proved: int, total: int, out: Path, anew: str, force: bool) -> str:
    """Say what an interruption leaves, and how to go on."""
    if not proved:
        return f"no artifact in {out} was made or changed; the same command starts again"
    command = "the same command without --force" if force else "the same command"
    return f"{units.part(proved, total, 'artifact')} verified and kept in {out}; {command} {anew}"


def _lower_precisions(
    names: list[str] | None, calibration: Path | None, int8_for: str | None
) -> list[str]:
    """Return the precisions to make beside fp32, each once."""
    from greenbatch.exporter.precisions.int8 import PROCESSORS
    from greenbatch.records import PRECISIONS

    if int8_for is not None and int8_for not in PROCESSORS:
        raise UnknownNameError("processor", int8_for, PROCESSORS)
    for name in names or ():
        if name not in PRECISIONS:
            raise UnknownNameError("precision", name, PRECISIONS)
    lower = [name for name in dict.fromkeys(names or ()) if name != "fp32"]
    if calibration and "int8" not in lower:
        raise UsageError("--calibration needs --precision int8; add it, or remove --calibration")
    if int8_for is not None and "int8" not in lower:
        raise UsageError(
            f"--int8-for {int8_for} needs --precision int8; add it, or remove --int8-for"
        )
    return lower


def _own(texts: Collection[str]) -> "dict[str, Source]":
    """Return those that are not in the registry; a wrong name is an error before the start."""
    from greenbatch.models.sources.parse import parse_source

    sources = {text: parse_source(text) for text in texts}
    return {text: source for text, source in sources.items() if source.kind != "torchvision"}


def _is_there(name: str, out: Path) -> bool:
    """Whether a name is that of an artifact of a user's own network in the folder."""
    from greenbatch.models import registry
    from greenbatch.models.artifacts import has_manifest

    return name not in registry.names(registry.ALL) and has_manifest(out, name)


def _print_own(name: str, out: Path, weights: str, force: bool, as_json: bool) -> None:
    """Print an artifact of a user's own network, which is there.

    Raises:
        UsageError: It was to be made again, which needs its source.
        ArtifactError: It is damaged.
    """
    from greenbatch.models.artifacts import export_command, load_artifact

    if force or weights != "auto":
        raise UsageError(
            f"{name} is an artifact of your own network in {out}; to make it again, give its "
            f"source: {export_command(out, name)}"
        )
    manifest = load_artifact(out, name).manifest
    print_export(manifest, out, up_to_date=True, notes=(), as_json=as_json)


def _own_exports(
    sources: "list[Source]", input: list[str], name: str | None
) -> "list[tuple[Source, str, tuple[str, ...]]]":
    """Return what is exported of a user's own networks: source, name, inputs."""
    from greenbatch.models.sources.input_option import sizes_of
    from greenbatch.models.sources.parse import check_name, names_apart

    names = [check_name(name)] if name else names_apart(sources)
    return [
        (source, f"{named}{suffix}", given)
        for source, named in zip(sources, names, strict=True)
        for suffix, given in sizes_of(input).items()
    ]


def _describe(planned: "list[tuple[Source, str, tuple[str, ...]]]") -> None:
    """Print what was understood of ``.onnx`` files, and the commands that measure them."""
    from greenbatch.cli.output.export import description
    from greenbatch.exporter.onnx_file.inspection import inspect
    from greenbatch.models.sources.input_option import parse_inputs

    for source, _, given in planned:
        if source.kind != "onnx":
            raise UsageError(f"--describe is for .onnx files, and {source.text} is none")
        echo(*description(inspect(source.text, parse_inputs(given)), given))


def _export_own(
    source: "Source",
    out: Path,
    weights: str,
    seed: int,
    input: Sequence[str],
    name: str | None,
    dynamic_batch: bool,
    memory: str | None,
    as_json: bool,
) -> str:
    from greenbatch.cli.output.steps import Steps
    from greenbatch.exporter.user_network import export_own
    from greenbatch.models.sources.input_option import parse_inputs
    from greenbatch.runners.run.consent import remember_export
    from greenbatch.workflows.exports import free_bytes

    with Steps() as steps, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exported = export_own(
            source,
            out,
            input=parse_inputs(input),
            name=name,
            weights=weights,
            seed=seed,
            dynamic_batch=dynamic_batch,
            memory_bytes=parse_bytes(memory) if memory else free_bytes(),
            on_step=steps.show,
        )
    remember_export(out, exported.manifest)
    print_export(
        exported.manifest,
        out,
        up_to_date=False,
        notes=_notes(caught),
        as_json=as_json,
        rebatched=exported.rebatched,
    )
    return exported.manifest.model


def _export_lower(
    name: str,
    precision: str,
    out: Path,
    calibration: Path | None,
    int8_for: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Make a lower precision of what is there in fp32; say why where it cannot be."""
    from greenbatch.cli.output.steps import Steps
    from greenbatch.exporter.precisions.export import export_lower

    path = out / f"{name}-{precision}.json"
    before = path.read_bytes() if path.exists() else None
    try:
        with Steps() as steps, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            manifest = export_lower(
                name,
                precision,
                out,
                calibration=calibration,
                force=force,
                on_step=steps.show,
                processor=int8_for,
            )
    except (ArtifactError, ExportError) as error:
        note(str(error))
        return ExportError.exit_code
    print_export(
        manifest, out, up_to_date=before == path.read_bytes(), notes=_notes(caught), as_json=as_json
    )
    return 0


def _export_many(
    specs: "list[ModelSpec]",
    out: Path,
    weights: str,
    seed: int,
    force: bool,
    jobs: int | None,
    memory: str | None,
    as_json: bool,
    kept: list[str],
) -> int:
    from greenbatch.cli.output.export_progress import show_fleet
    from greenbatch.models.weights.load import Weights
    from greenbatch.workflows.exports import plan_exports

    Weights.parse(weights)
    options = [f"--weights={weights}", f"--seed={seed}", *(["--force"] if force else [])]
    memory_bytes = parse_bytes(memory) if memory else None
    plan = plan_exports(out, options, len(specs), jobs=jobs, memory_bytes=memory_bytes)
    return show_fleet(specs, plan, weights, seed, force=force, as_json=as_json, kept=kept)


def _export_one(
    name: str,
    out: Path,
    weights: str,
    seed: int,
    force: bool,
    memory: str | None,
    as_json: bool,
) -> None:
    from greenbatch.cli.output.steps import Steps
    from greenbatch.exporter import export_model
    from greenbatch.workflows.exports import free_bytes

    manifest_path = out / f"{name}-fp32.json"
    before = manifest_path.read_bytes() if manifest_path.exists() else None
    with Steps() as steps, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manifest = export_model(
            name,
            out,
            weights=weights,
            seed=seed,
            force=force,
            memory_bytes=parse_bytes(memory) if memory else free_bytes(),
            on_step=steps.show,
        )
    up_to_date = before is not None and before == manifest_path.read_bytes()
    print_export(manifest, out, up_to_date=up_to_date, notes=_notes(caught), as_json=as_json)


def _notes(caught: Collection[warnings.WarningMessage]) -> Collection[str]:
    return dict.fromkeys(str(warning.message) for warning in caught)
