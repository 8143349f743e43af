"""Which argument of ``forward`` gets which input."""

import inspect
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.errors import ExportError

if TYPE_CHECKING:
    from torch import nn

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def plain_forward(module: "nn.Module", name: str, inputs: Sequence[str]) -> "nn.Module":
    """Let a module take its inputs by position, an argument for each and nothing else.

    An input that is called as an argument is passed as that argument, the others go to the
    arguments that are left, in order. A ``forward(*images)``, one with keyword-only arguments and
    one with the arguments in another order get a ``forward`` of a subclass in front of them. What
    is in the module stays as it is, by the same names.

    Args:
        module: Gets another class where it has to; one with hooks, which see what it is called
            with, is put into a module that shares its state.
        name: What to call it in an error.
        inputs: Names of the inputs, in the order in which they are passed.

    Raises:
        ExportError: An argument without a default gets no input, or an input has no argument.
    """
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):  # built-in ones report none
        return module
    placed = _place(parameters, inputs)
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (*_POSITIONAL, *_NAMED)
    ]
    spare = [given for given in inputs if given not in placed.values()]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if (spare and not variadic) or not placed.keys() >= set(needed):
        raise _misfit(name, needed or [p.name for p in parameters], inputs)
    in_order = [p.name for p in parameters if p.kind in _POSITIONAL][: len(inputs)]
    if list(placed) == in_order and list(placed.values()) == list(inputs):
        return module
    by_name = {argument: inputs.index(given) for argument, given in placed.items()}
    rest = [inputs.index(given) for given in spare]
    leading = [by_name.pop(argument) for argument in _gapless(parameters, placed)]
    return _by_position(module, [*leading, *rest], by_name, len(inputs))


def _gapless(parameters: Sequence[inspect.Parameter], placed: dict[str, str]) -> list[str]:
    """Return the arguments that get an input by position, up to the first that gets none."""
    positional = [p.name for p in parameters if p.kind in _POSITIONAL]
    return list(itertools.takewhile(placed.__contains__, positional))


def _place(parameters: Sequence[inspect.Parameter], inputs: Sequence[str]) -> dict[str, str]:
    """Return the input of each argument that gets one, in the order of the arguments."""
    named = [p.name for p in parameters if p.kind in _NAMED]
    placed = {given: given for given in inputs if given in named}
    free = [p for p in parameters if p.name not in placed]
    free = [p for p in free if p.kind in _POSITIONAL or (p.kind in _NAMED and p.default is p.empty)]
    unnamed = [given for given in inputs if given not in placed]
    placed.update(zip((p.name for p in free), unnamed, strict=False))
    return {p.name: placed[p.name] for p in parameters if p.name in placed}


def _by_position(
    module: "nn.Module", leading: Sequence[int], by_name: dict[str, int], count: int
) -> "nn.Module":
    """Put a ``forward`` of ``count`` arguments in front of a module's own."""
    own = type(module)
    hooked = bool(module._forward_pre_hooks)
    replaced = module if hooked else vars(module).pop("forward", None)  # of this instance alone

    def forward(self: "nn.Module", *inputs: object) -> object:
        keywords = {argument: inputs[number] for argument, number in by_name.items()}
        given = [inputs[number] for number in leading]
        return replaced(*given, **keywords) if replaced else own.forward(self, *given, **keywords)

    names = ["self", *(f"input_{number}" for number in range(count))]
    shown = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    forward.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    members = {"forward": forward, "__module__": own.__module__}
    if hooked:
        return _sharing(module, members)
    module.__class__ = type(own.__name__, (own,), members)
    return module


def _sharing(module: "nn.Module", members: dict[str, object]) -> "nn.Module":
    """Return a module of its own with the parameters, buffers and parts of another."""
    from torch import nn

    outer: nn.Module = type(type(module).__name__, (nn.Module,), members)()
    outer.training = module.training
    for kept in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
        setattr(outer, kept, getattr(module, kept))
    return outer


def _misfit(name: str, needed: Sequence[str], inputs: Sequence[str]) -> ExportError:
    options = " ".join(f"--input {argument}=SHAPE" for argument in needed)
    return ExportError(
        f"{name} takes {units.count(len(needed), 'input')} ({', '.join(needed)}), and it was given "
        f"{len(inputs)} ({', '.join(inputs)}); give each of them by name with {options}, or wrap "
        "it in a module whose forward takes the images alone"
    )
