"""A network's first runs: on two images and on three, so that its outputs show their axes."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.errors import ExportError
from greenbatch.models.outputs import flatten
from greenbatch.models.sources.describe import error_text
from greenbatch.models.sources.randomness import check_repeatable, run

if TYPE_CHECKING:
    import torch
    from torch import nn

    Outputs = Mapping[str, torch.Tensor]
    Inputs = Callable[[int], Sequence[torch.Tensor]]

TRIED = (2, 3)
_SHOWN = 4
_WRAP = "wrap it in a module whose forward takes the images alone and returns tensors"


def try_out(module: "nn.Module", name: str, inputs: "Inputs", channels: int) -> None:
    """Run a network on two and on three images, and see that an output follows them.

    Args:
        module: In evaluation mode, on the CPU; takes its inputs by position.
        name: What to call it in an error.
        inputs: Makes the inputs of a number of images; the first are the images.
        channels: Of the images.

    Raises:
        ExportError: It does not run, is random, returns what is no tensor, or returns the same
            outputs for any number of images.
    """
    few, more = (_outputs(module, name, inputs, count, channels) for count in TRIED)
    if few.keys() != more.keys():
        raise ExportError(
            f"{name} returns {_listed(few)} for {TRIED[0]} images and {_listed(more)} for "
            f"{TRIED[1]}; wrap it in a module that stacks what it returns for each image"
        )
    for key, tensor in few.items():
        if tensor.is_complex() or tensor.is_quantized:
            raise ExportError(
                f"{name} returns {key} of {tensor.dtype}, which runtimes do not exchange; wrap it "
                "in a module that returns real numbers, e.g. by torch.view_as_real or dequantize"
            )
        if tensor.ndim != more[key].ndim:
            raise ExportError(
                f"{name} returns {key} with {tensor.ndim} axes for {TRIED[0]} images and with "
                f"{more[key].ndim} for {TRIED[1]}; its outputs must keep their axes"
            )
    if all(tensor.shape == more[key].shape for key, tensor in few.items()):
        raise ExportError(
            f"{name} returns {_shapes(few)} for {TRIED[0]} images and for {TRIED[1]}, so no output "
            "has a row for each image; return one for each"
        )
    check_repeatable(module, name, inputs(TRIED[0]))


def _outputs(
    module: "nn.Module", name: str, inputs: "Inputs", count: int, channels: int
) -> "Outputs":
    """Run a network on some images."""
    try:
        found = run(module, inputs(count))
    except Exception as error:  # a network's code may raise anything
        raise _failure(module, name, inputs, count, error, channels) from error
    return flatten(found, name)


def _failure(
    module: "nn.Module", name: str, inputs: "Inputs", count: int, error: Exception, channels: int
) -> ExportError:
    """Say why a network does not run on images, and what helps."""
    from torch import nn

    raises = f"{name} raises {error_text(error)}"
    if wanted := _wanted_instead(module, inputs(count), str(error)):
        return ExportError(f"{raises} for a batch of images, as it takes {wanted}; {_WRAP}")
    size = "x".join(map(str, inputs(1)[0].shape[1:]))
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    if first is not None and first.in_channels != channels:
        return ExportError(
            f"{name} takes images of {first.in_channels} channels instead of {channels}; "
            f"pass --input {first.in_channels}x{size.partition('x')[2]}"
        )
    further = " and ".join("x".join(map(str, v.shape)) or "a scalar" for v in inputs(count)[1:])
    beside = f" and further inputs of {further}" if further else ""
    cure = "; give --input NAME=SHAPE for one image, or NAME=scalar" if further else ""
    for other in {1, *TRIED} - {count}:
        with contextlib.suppress(Exception):
            run(module, inputs(other))
            return ExportError(
                f"{raises} for a batch of {units.count(count, 'image')} of {size}{beside} and runs "
                f"with {other}, so it fixes the batch; let it take a batch of any size{cure}"
            )
    if beside:
        return ExportError(
            f"{raises} for a batch of {units.count(count, 'image')} of {size}{beside}{cure}"
        )
    return ExportError(
        f"{raises} for images of {size}; give the size that it takes with --input CxHxW, or fix it"
    )


def _wanted_instead(module: "nn.Module", given: "Sequence[torch.Tensor]", text: str) -> str:
    """Say what a network takes that cannot use a tensor of images; empty: it does not show."""
    import torch

    if match := re.search(r"'Tensor' object has no attribute '(\w+)'", text):
        return f"an object with the attribute {match[1]}"
    keys: list[str] = []

    class Asked(torch.Tensor):  # torch takes a text as an index for that of its letters
        def __getitem__(self, key: object) -> torch.Tensor:
            if isinstance(key, str):
                keys.append(key)
                raise KeyError(key)
            part: torch.Tensor = super().__getitem__(key)  # type: ignore[index]
            return part

    with contextlib.suppress(Exception):
        run(module, [value.as_subclass(Asked) for value in given])
    return f"a dict with {keys[0]!r}" if keys else ""


def _listed(outputs: "Outputs") -> str:
    """Say which outputs there are, and of many only the first."""
    names = list(outputs)
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} tensors ({', '.join(names[:_SHOWN])}{more})"


def _shapes(outputs: "Outputs") -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in outputs.items())
