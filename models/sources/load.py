"""Build or read a network of any source, and try it on two images."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError, WeightsError
from greenbatch.models import registry
from greenbatch.models.inputs import synthetic_inputs
from greenbatch.models.sources.arguments import plain_forward
from greenbatch.models.sources.exported_program import load_program
from greenbatch.models.sources.load_callable import load_callable
from greenbatch.models.sources.load_hf import load_hf
from greenbatch.models.sources.load_timm import load_timm
from greenbatch.models.sources.parse import Kind, Source, check_name
from greenbatch.models.sources.program_input import input_spec
from greenbatch.models.sources.ready import (
    check_values,
    initialise,
    is_uninitialised,
    put_into_evaluation,
    unwrap,
)
from greenbatch.models.sources.torchscript import convert_scripts, read_script
from greenbatch.models.sources.trial import try_out
from greenbatch.models.spec import InputSpec, ModelSpec
from greenbatch.models.weights.load import Weights, WeightsApplied, load_weights

if TYPE_CHECKING:
    from torch import nn


class SourceWarning(UserWarning):
    """A network was changed before it was used, or did not get the weights hoped for."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is ready to be exported.

    Attributes:
        module: On the CPU, in evaluation mode; takes its inputs by position, the images
            (N, C, H, W) first, and returns any nesting of tensors.
        spec: Its name and input.
        applied: Which weights it holds; ``kind`` is ``own`` where they are as the source made
            them.
    """

    module: "nn.Module"
    spec: ModelSpec
    applied: WeightsApplied


def load(
    source: Source,
    input: InputSpec | None = None,
    name: str | None = None,
    weights: str | Path | Weights = "auto",
    seed: int = 0,
) -> Network:
    """Build or read a network and try it on two images.

    Args:
        source: Any but an ``.onnx`` file, which is no torch module.
        input: Its input; by default what the source says, else 3x224x224.
        name: Of the artifact; see `Source.default_name`.
        weights: ``auto`` keeps what the source made; for timm it is pretrained where that can be
            had. A callable also takes ``random`` and a file.
        seed: Of random weights.

    Raises:
        UsageError: The name or the callable is unfit.
        ExportError: The network cannot be had or is no network of images.
        WeightsError: The weights cannot be had or do not fit.

    Warns:
        SourceWarning: The network was in training mode, or pretrained weights cannot be had.
    """
    choice = Weights.parse(weights)
    if source.kind == "onnx":
        raise UsageError(f"{source.text} is an ONNX file already; export it with --dynamic-batch")
    if source.kind == "torchvision":
        from greenbatch.models.build import build

        spec = registry.find(source.text)
        module = build(spec)
        return Network(module, spec, load_weights(module, spec, choice, seed))
    name = check_name(name or source.default_name)
    module, taken, applied = _take(source, choice, input)
    spec, module = _ready(module, name, source.kind, taken)
    if choice.kind in {"random", "file"}:
        applied = load_weights(module, spec, choice, seed)
    elif applied.kind == "random":
        applied = replace(load_weights(module, spec, "random", seed), note=applied.note)
    if applied.note:
        _warn(applied.note)
    return Network(module, spec, applied)


def _take(
    source: Source, choice: Weights, input: InputSpec | None
) -> "tuple[nn.Module, InputSpec, WeightsApplied]":
    """Build or read the network of a source, and say its input and its weights."""
    if source.kind == "timm":
        module, found, applied = load_timm(source.text, choice)
        return module, input or found, applied
    if source.kind == "hf":
        module, found, applied = load_hf(source.text, choice)
        return module, _named(input, found), applied
    if source.kind in {"pt2", "torchscript"} and choice.kind != "auto":
        raise WeightsError(
            f"{source.text} holds its own weights and takes no others; leave --weights out"
        )
    if source.kind == "pt2":
        program = load_program(Path(source.text))
        found = input_spec(program.inputs, Path(source.text), input)
        return program.module, found, WeightsApplied("own", Path(source.text).name)
    if source.kind == "torchscript":
        script = read_script(Path(source.text))
        return script, input or InputSpec(), WeightsApplied("own", Path(source.text).name)
    if choice.kind == "pretrained":
        raise WeightsError(
            f"nothing is published for {source.text}; let the callable load its weights, or "
            "give --weights random or a file"
        )
    return load_callable(source.text), input or InputSpec(), WeightsApplied("own", source.text)


def _ready(
    module: "nn.Module", name: str, kind: Kind, input_spec: InputSpec
) -> "tuple[ModelSpec, nn.Module]":
    """Put a network where and how it is exported: plain, on the CPU, in evaluation mode; try it."""
    import torch

    def inputs(count: int) -> list[torch.Tensor]:
        arrays = synthetic_inputs(input_spec, count, seed=0).values()
        return [torch.from_numpy(array) for array in arrays]

    names = [input_spec.name, *(other.name for other in input_spec.others)]

    module, wrappers = unwrap(module)
    if wrappers:
        _warn(f"{name} was taken out of {' and '.join(wrappers)}")
    if any(getattr(part, "training", False) for part in module.modules()):
        put_into_evaluation(module, name)
        _warn(f"{name} was in training mode and is put into evaluation mode")
    if is_uninitialised(module):
        module = plain_forward(module, name, names)
        initialise(module, name, inputs(1))
        _warn(f"the lazy modules of {name} got their sizes from one image")
    check_values(module, name)
    module.cpu()
    module, scripts = convert_scripts(module, name, inputs)
    if scripts:
        parts = ", ".join(path or name for path in scripts)
        _warn(f"{parts} is TorchScript and is converted to an exported program")
    module = plain_forward(module, name, names)
    try_out(module, name, inputs, input_spec.channels)
    return _own_spec(name, kind, module, input_spec), module


def _named(input: InputSpec | None, found: InputSpec) -> InputSpec:
    """Return what the user stated, by the name that the network has for its images."""
    if input is None:
        return found
    if input.channels == found.channels and input.dtype == found.dtype:
        input = replace(input, mean=found.mean, std=found.std, interpolation=found.interpolation)
    return replace(input, name=found.name) if input.name == InputSpec().name else input


def _own_spec(name: str, kind: Kind, module: "nn.Module", input_spec: InputSpec) -> ModelSpec:
    """Make the spec of a network of which nothing is published."""
    return ModelSpec(
        name=name,
        family="own",
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        weights="",
        input=input_spec,
        source=kind,
    )


def _warn(text: str) -> None:
    warnings.warn(text, SourceWarning, stacklevel=4)
