"""A user's own networks in a study: what they come from, and which runtime can run them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError

if TYPE_CHECKING:
    from greenbatch.design.study import Study
    from greenbatch.models.artifacts import Artifact
    from greenbatch.records import Manifest

_ONNX = "onnx"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The networks of a study.

    Attributes:
        sources: By name, what each comes from; itself where it needs no source.
        exported: Names of those that are measured as they were exported.
        inputs: By name, the inputs as a user wrote them.
        of_onnx: Names of those that came as an ``.onnx`` file.
    """

    sources: dict[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    of_onnx: tuple[str, ...] = ()


def choose(
    models: Sequence[str], artifacts_dir: Path, input: Sequence[str] = (), name: str = ""
) -> Chosen:
    """Find out what each model comes from.

    Args:
        models: Names in the registry or of artifacts, or sources, see
            `greenbatch.models.sources.parse.parse_source`.
        artifacts_dir: Where artifacts are.
        input: The inputs of the one network of the user's own, see
            `greenbatch.models.sources.input_option.parse_inputs`.
        name: What to call it.

    Raises:
        UnknownNameError: A model is not known.
        UsageError: Two models have one name, or ``input`` and ``name`` are for no or several.
    """
    from greenbatch.models.artifacts import has_manifest, read_manifest
    from greenbatch.models.sources.input_option import parse_inputs, sizes_of
    from greenbatch.models.sources.parse import check_name, names_apart, parse_source

    exported = {
        text: read_manifest(artifacts_dir, text)
        for text in dict.fromkeys(models)
        if has_manifest(artifacts_dir, text)
    }
    texts = [text for text in dict.fromkeys(models) if text not in exported]
    parsed = [parse_source(text) for text in texts]
    own = [source for source in parsed if source.kind != "torchvision"]
    if (input or name) and len(own) != 1:
        raise UsageError(
            "--input and --name are for one network of your own at a time; name its source, e.g. "
            "mypkg.nets:build, or leave them out"
        )
    sizes = sizes_of(input)
    for each in sizes.values():
        parse_inputs(each)
    names = dict(zip(texts, names_apart(parsed), strict=True))
    if name:
        names[own[0].text] = check_name(name)
    sources: dict[str, str] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    for text in models:
        called = names.get(text, text)
        if sources.setdefault(called, text) != text:
            raise UsageError(
                f"{sources[called]} and {text} are both called {called}; export one of them by "
                f"another name first: gb export {text} --name NAME"
            )
    if input:
        (network,) = own
        base = names.pop(network.text)
        del sources[base]
        sources |= {f"{base}{suffix}": network.text for suffix in sizes}
        inputs = {f"{base}{suffix}": each for suffix, each in sizes.items()}
    rebuilt = {text: origin_of(manifest, artifacts_dir) for text, manifest in exported.items()}
    return Chosen(
        sources={called: rebuilt.get(called) or text for called, text in sources.items()},
        exported=tuple(text for text, origin in rebuilt.items() if origin),
        inputs=inputs,
        of_onnx=(
            *(called for called, text in sources.items() if text.lower().endswith(".onnx")),
            *(text for text, manifest in exported.items() if manifest.source == _ONNX),
        ),
    )


def origin_of(manifest: "Manifest", artifacts_dir: Path) -> str:
    """Return what an artifact's network can be built again from; empty: nothing that may be run.

    A callable is run only if this user exported the artifact on this machine: a folder of
    artifacts may come from somebody else.
    """
    from greenbatch.models.sources.parse import runs_code
    from greenbatch.runners.run.consent import exported_here

    if manifest.source == _ONNX or not manifest.origin:
        return ""
    if runs_code(manifest.origin) and not exported_here(artifacts_dir, manifest):
        return ""
    return manifest.origin


def default_runtimes(runtimes: Sequence[str], chosen: Chosen) -> tuple[list[str], str]:
    """Return those of the runtimes that run every model, and a sentence on those that do not."""
    from greenbatch.runners import backends

    able = [name for name in runtimes if not (chosen.of_onnx and backends.builds_networks(name))]
    if len(able) == len(runtimes):
        return able, ""
    left = ", ".join(name for name in runtimes if name not in able)
    return able, (
        f"{left} is not measured: it builds a network from its source, and "
        f"{', '.join(chosen.of_onnx)} came as an ONNX file"
    )


def check_runnable(study: "Study", artifacts: Mapping[str, "Artifact"]) -> None:
    """Refuse a study in which a runtime cannot run a network, before anything is measured.

    Raises:
        UsageError: One cannot; the message has a command that can.
    """
    from greenbatch.models import registry
    from greenbatch.runners import backends

    builders = [n for n in study.backends if backends.builds_networks(backends.find(n).runtime)]
    others = [n for n in study.backends if n not in builders]
    for model in study.models if builders else ():
        manifest = artifacts[model].manifest
        if model in study.sources and manifest.source != _ONNX:
            continue
        if manifest.source == "torchvision" and model in registry.names(registry.ALL):
            continue
        runtimes = dict.fromkeys(backends.find(n).runtime for n in others) or {"onnxruntime": None}
        works = f"gb bench {model} {' '.join(f'--runtime {name}' for name in runtimes)}"
        cause = "came as an ONNX file"
        cure = f"measure it with: {works}"
        if manifest.source != _ONNX:
            origin = manifest.origin or f"a {manifest.source} source"
            cause = f"was made of {origin}, which was not exported here and is not named"
            cure = f"name the source: gb bench {origin} --name {model}, or {cure}"
        raise UsageError(
            f"{', '.join(builders)} cannot run {model}: a network of torch is built from its "
            f"source, and {model} {cause}; {cure}"
        )
