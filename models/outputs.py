"""What a network returns, as named tensors."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError

if TYPE_CHECKING:
    import torch

LONE, LOGITS = "output", "logits"
"""Names of a network's only tensor, and of one that holds a row of scores for each image."""

_DEEPEST = 32
_CURE = "wrap it in a module whose forward returns tensors alone"


def flatten(value: object, network: str = "the network") -> "dict[str, torch.Tensor]":
    """Name the tensors in what a network returns, in the order in which they stand there.

    A lone tensor is ``logits`` where it is of shape (N, classes) and floating-point, else
    ``output``. Members of mappings, dataclasses and named tuples are called by their keys and
    fields, members of sequences by their index: ``output_0`` at the top, ``boxes.0`` below. Names
    of nested members are joined by dots, and a name that is taken already gets ``_2``, ``_3``.
    Members that are ``None`` are left out, and leave the names of the others as they are.

    Args:
        value: A tensor, or any nesting of mappings, dataclasses, tuples and lists of tensors.
            A ``ModelOutput`` of transformers is a mapping.
        network: What to call it in an error.

    Raises:
        ExportError: A member is no dense tensor, there is none, or they are nested without end.
    """
    import torch

    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        scores = value.ndim == 2 and value.is_floating_point()
        return {LOGITS if scores else LONE: value}
    named: dict[str, torch.Tensor] = {}
    for path, tensor in _leaves(value, (), network):
        name = path[0] if isinstance(path[0], str) else f"{LONE}_{path[0]}"
        named[_apart(".".join((name, *map(str, path[1:]))), named)] = tensor
    if not named:
        raise ExportError(f"{network} returns no tensor ({_kind(value)}); {_CURE}")
    return named


def _leaves(
    value: object, path: tuple[str | int, ...], network: str
) -> "Iterator[tuple[tuple[str | int, ...], torch.Tensor]]":
    """Yield each tensor with the keys, fields and indices that lead to it."""
    import torch

    if len(path) > _DEEPEST:
        raise ExportError(
            f"the output of {network} is nested deeper than {_DEEPEST} levels; {_CURE}"
        )
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided:
            raise ExportError(
                f"{network} returns {_place(path)}of layout {value.layout}, wanted is a dense "
                f"tensor; {_CURE}"
            )
        yield path, value
    elif value is not None:
        members = _members(value)
        if members is None:
            raise ExportError(
                f"{network} returns {_place(path)}of type {_kind(value)} instead of a tensor; "
                f"{_CURE}"
            )
        for key, member in members:
            yield from _leaves(member, (*path, key), network)


def _members(value: object) -> list[tuple[str | int, object]] | None:
    """Return what a container holds, by key, field or index; None: it is no container."""
    if isinstance(value, Mapping):
        return [(str(key) or "_", member) for key, member in value.items()]
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name, None)) for field in fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(map(str, value._fields), value, strict=True))
    if isinstance(value, (tuple, list)):
        return list(enumerate(value))
    return None


def _apart(name: str, taken: "Mapping[str, object]") -> str:
    """Return a name that is not taken yet."""
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    return free


def _place(path: tuple[str | int, ...]) -> str:
    return f"the member {'.'.join(map(str, path))!r} " if path else "a value "


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
