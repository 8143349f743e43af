"""Whether a network gives the same values twice for the same images, and which part does not."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.models.outputs import flatten

if TYPE_CHECKING:
    import torch
    from torch import nn

    Call = tuple[str, str, str, str]  # name and class of a module, digests of inputs and outputs
    Hook = Callable[[nn.Module, object, object, object], None]

_SEEDS = (0, 1)
_ROUNDING = 1e-5  # relative difference of sums that threads add in another order
_CURE = (
    "leave the noise out in evaluation mode, e.g. functional dropout with training=self.training"
)


def check_repeatable(module: "nn.Module", name: str, inputs: "Sequence[torch.Tensor]") -> None:
    """Run a network twice on the same images, and see that it returns the same.

    Args:
        module: In evaluation mode, on the CPU.
        name: What to call it in an error.
        inputs: Of a batch.

    Raises:
        ExportError: It returns other values the second time; the message names the first module
            in which that happens.
    """
    first, second = (flatten(run(module, inputs, seed)) for seed in _SEEDS)
    if _equal(first, second):
        return
    again = flatten(run(module, inputs, _SEEDS[0]))
    if not _equal(first, again) and _near(first, second):
        return  # rounding, and no seed changes it
    what = (
        "is random in evaluation mode"
        if _equal(first, again)
        else "keeps a state from one batch to the next, or is random, in evaluation mode"
    )
    raise ExportError(
        f"{name} {what}: {_random_part(module, inputs)} returns other values for the same input; "
        f"{_CURE}"
    )


def run(module: "nn.Module", inputs: "Sequence[torch.Tensor]", seed: int = _SEEDS[0]) -> object:
    """Return what a network returns; the global random state is left as it was."""
    import torch

    with torch.no_grad(), torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return module(*(value.clone() for value in inputs))


def _equal(first: "Mapping[str, torch.Tensor]", second: "Mapping[str, torch.Tensor]") -> bool:
    import torch

    return first.keys() == second.keys() and all(
        value.shape == second[name].shape
        and torch.equal(torch.isnan(value), torch.isnan(second[name]))
        and torch.equal(value[~torch.isnan(value)], second[name][~torch.isnan(value)])
        for name, value in first.items()
    )


def _near(first: "Mapping[str, torch.Tensor]", second: "Mapping[str, torch.Tensor]") -> bool:
    if first.keys() != second.keys():
        return False
    for name, value in first.items():
        if value.shape != second[name].shape or not value.is_floating_point():
            return False
        if not value.numel():
            continue
        largest = float((value - second[name]).abs().max())
        if not largest <= _ROUNDING * float(value.abs().max()):
            return False
    return True


def _random_part(module: "nn.Module", inputs: "Sequence[torch.Tensor]") -> str:
    """Name the first module whose output differs between two runs though its input does not."""
    calls = [_record(module, inputs, seed) for seed in _SEEDS]
    for one, other in zip(*calls, strict=False):
        if one[:3] != other[:3]:
            break  # what stands before it has differed, outside of all modules
        if one[3] != other[3] and one[0]:
            return f"its module {one[0]} ({one[1]})"
    return _random_operator(module) or f"its own forward ({type(module).__name__})"


def _record(module: "nn.Module", inputs: "Sequence[torch.Tensor]", seed: int) -> "list[Call]":
    """Run a network and note each module that returns, inner ones before outer ones."""
    calls: list[Call] = []

    def noting(name: str) -> "Hook":
        def note(part: "nn.Module", args: object, keywords: object, output: object) -> None:
            calls.append((name, type(part).__name__, _digest((args, keywords)), _digest(output)))

        return note

    handles = [
        part.register_forward_hook(noting(name), with_kwargs=True)
        for name, part in module.named_modules()
    ]
    try:
        run(module, inputs, seed)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _digest(value: object) -> str:
    """Return a digest of all tensors in a value."""
    import torch
    from torch.utils import _pytree

    digest = hashlib.sha256()
    for leaf in _pytree.tree_leaves(value):
        if isinstance(leaf, torch.Tensor):
            digest.update(str((leaf.dtype, leaf.shape)).encode())
            flat = leaf.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _random_operator(module: "nn.Module") -> str:
    """Name the random operator of a network that is a graph; empty: it is none, or has none."""
    import torch

    if isinstance(module, torch.fx.GraphModule):
        for node in module.graph.nodes:
            tags = getattr(node.target, "tags", ())
            if torch.Tag.nondeterministic_seeded in tags:
                return f"its operator {node.target}"
    return ""
