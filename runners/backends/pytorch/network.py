"""The network of a cell as a torch module: built, with its artifact's weights, cast at its ends."""

import warnings
from typing import TYPE_CHECKING

from greenbatch.errors import UnsupportedCell, WeightsError, first_line
from greenbatch.models import registry
from greenbatch.models.build import build_empty
from greenbatch.models.outputs import flatten
from greenbatch.models.sources.load import SourceWarning, load
from greenbatch.models.sources.parse import LIBRARIES, parse_source
from greenbatch.models.weights.unsaved import restore, saved
from greenbatch.runners.backends import Task

if TYPE_CHECKING:
    import torch
    from torch import nn

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Names in torch of the precisions that its backends support."""


def build_network(task: Task, device: "torch.device") -> "nn.Module":
    """Build the network of a task's artifact on a device, with the artifact's weights, in fp32.

    Args:
        task: With the artifact's manifest and its file of weights.
        device: Where its parameters are to be.

    Raises:
        UnsupportedCell: The network cannot be built again: its source is not known.
        WeightsError: The artifact's weights do not fit it.
    """
    from safetensors.torch import load_file

    if task.manifest.source == "torchvision":
        module = build_empty(registry.find(task.cell.model), device)
    else:
        module = _from_source(task).to(device)
    try:
        tensors = load_file(task.weights)
        module.load_state_dict(saved(tensors))
    except RuntimeError as error:
        raise WeightsError(
            f"{task.weights.name} does not fit the {task.cell.model} that was built "
            f"({first_line(error)}); export it again"
        ) from error
    restore(module, tensors)
    return module


def _from_source(task: Task) -> "nn.Module":
    """Build a network that is not torchvision's from the text that it came from."""
    text = task.source
    if task.manifest.source == "onnx" or not text:
        raise UnsupportedCell(
            f"{task.cell.backend} builds networks from torchvision or from the source that the "
            f"study names, and {task.cell.model} came from {task.manifest.source}; measure it "
            "with --runtime onnxruntime"
        )
    source = parse_source(text)
    with warnings.catch_warnings():  # reported when it was exported
        warnings.simplefilter("ignore", SourceWarning)
        network = load(
            source,
            task.manifest.input,
            task.cell.model,
            "random" if source.kind in LIBRARIES else "auto",  # replaced: fetch nothing for it
        )
    return network.module


def with_ends(
    module: "nn.Module", precision: str, channels_last: bool, cast: bool = False
) -> "nn.Module":
    """Return a module that takes and gives float32, and computes in the precision and layout.

    Args:
        module: The network.
        precision, channels_last: How it is to compute.
        cast: Whether it gives bfloat16 by itself, which the artifact casts.
    """
    import torch
    from torch import nn

    dtype: torch.dtype = getattr(torch, DTYPES[precision])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    module = module.to(dtype).to(memory_format=layout)

    plain = dtype is torch.float32 and not channels_last

    def taken(value: torch.Tensor) -> torch.Tensor:
        if plain or not value.is_floating_point():
            return value
        if value.ndim == 4:
            return value.to(dtype=dtype, memory_format=layout)
        return value.to(dtype)

    def given(value: torch.Tensor) -> torch.Tensor:
        own = value.dtype == torch.bfloat16 if plain else value.is_floating_point()
        return value.float() if own else value

    class WithEnds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, *inputs: torch.Tensor) -> "torch.Tensor | dict[str, torch.Tensor]":
            returned = self.network(*map(taken, inputs))
            if isinstance(returned, torch.Tensor):
                return given(returned)
            return {name: given(value) for name, value in flatten(returned).items()}

    return module if plain and not cast else WithEnds().eval()
