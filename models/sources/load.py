"""Build or read a network of any source, and try it on two images."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError, UsageError, WeightsError
from greenbatch.models import registry
from greenbatch.models.inputs import synthetic_images
from greenbatch.models.sources.describe import error_text, required_arguments, value_text
from greenbatch.models.sources.input_option import parse_input
from greenbatch.models.sources.load_callable import load_callable
from greenbatch.models.sources.load_timm import load_timm
from greenbatch.models.sources.parse import Kind, Source, check_name
from greenbatch.models.spec import InputSpec, ModelSpec
from greenbatch.models.weights.load import Weights, WeightsApplied, load_weights

if TYPE_CHECKING:
    from torch import nn


_TRIED_BATCH = 2


class SourceWarning(UserWarning):
    """A network was changed before it was used, or did not get the weights hoped for."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is ready to be exported.

    Attributes:
        module: On the CPU, in evaluation mode; maps (N, C, H, W) to (N, classes).
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
        ExportError: The network cannot be had or does not map images to logits.
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
    if source.kind == "timm":
        module, found, applied = load_timm(source.text, choice)
    elif source.kind == "pt2":
        from greenbatch.models.sources.exported_program import load_program

        if choice.kind != "auto":
            raise WeightsError(
                f"{source.text} holds its own weights and takes no others; leave --weights out"
            )
        program = load_program(Path(source.text))
        module, found = program.module, parse_input("x".join(map(str, program.shape)))
        if input is not None and input.shape != found.shape:
            raise UsageError(
                f"{source.text} was exported for images {found.shape}, and --input says "
                f"{input.shape}; leave --input out, or export the program again"
            )
        applied = WeightsApplied("own", Path(source.text).name)
    else:
        if choice.kind == "pretrained":
            raise WeightsError(
                f"nothing is published for {source.text}; let the callable load its weights, or "
                "give --weights random or a file"
            )
        module, found = load_callable(source.text), InputSpec()
        applied = WeightsApplied("own", source.text)
    spec = _own_spec(name, source.kind, module, input or found)
    _ready(module, spec)
    _try(module, spec)
    if choice.kind in {"random", "file"}:
        applied = load_weights(module, spec, choice, seed)
    elif applied.kind == "random":
        applied = replace(load_weights(module, spec, "random", seed), note=applied.note)
    if applied.note:
        warnings.warn(applied.note, SourceWarning, stacklevel=2)
    return Network(module, spec, applied)


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


def _ready(module: "nn.Module", spec: ModelSpec) -> None:
    """Put a network where and how it is exported: on the CPU, in evaluation mode, in fp32."""
    import torch

    if any(part.training for part in module.modules()):
        warnings.warn(
            f"{spec.name} was in training mode and is put into evaluation mode",
            SourceWarning,
            stacklevel=3,
        )
        module.eval()
    state = list(module.state_dict().items())
    for name, value in state:
        if value.is_meta:
            raise ExportError(
                f"{name} of {spec.name} has no values (device meta); load its weights"
            )
        if value.is_floating_point() and value.dtype != torch.float32:
            raise ExportError(
                f"{name} of {spec.name} is {value.dtype} instead of torch.float32; return "
                "module.float(), and choose the precision with --precision"
            )
    module.cpu()


def _try(module: "nn.Module", spec: ModelSpec) -> None:
    """Run a network on two images and see that it returns a row of logits for each."""
    import torch
    from torch import nn

    needed = required_arguments(module.forward)
    if len(needed) > 1:
        raise ExportError(
            f"{spec.name} takes {len(needed)} inputs ({', '.join(needed)}), and gb measures "
            "networks of one image; wrap it in a module whose forward takes the images alone"
        )
    channels = spec.input.shape[0]
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    size = "x".join(map(str, spec.input.shape))
    images = torch.from_numpy(synthetic_images(spec, _TRIED_BATCH, seed=0))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            logits = module(images)
    except Exception as error:
        if first is not None and first.in_channels != channels:
            raise ExportError(
                f"{spec.name} takes images of {first.in_channels} channels instead of {channels}; "
                f"pass --input {first.in_channels}x{size.partition('x')[2]}"
            ) from error
        raise ExportError(
            f"{spec.name} raises {error_text(error)} for images of {size}; give the size that it "
            "takes with --input CxHxW, or fix it"
        ) from error
    if not isinstance(logits, torch.Tensor):
        raise ExportError(
            f"{spec.name} returns {value_text(logits)} instead of logits (N, classes); wrap it in "
            "a module whose forward returns the logits alone"
        )
    if logits.ndim != 2 or len(logits) != _TRIED_BATCH or not logits.is_floating_point():
        raise ExportError(
            f"{spec.name} returns {logits.dtype} of shape {tuple(logits.shape)} for "
            f"{_TRIED_BATCH} images instead of logits ({_TRIED_BATCH}, classes); wrap it in "
            "a module whose forward returns a row of them for each image"
        )
