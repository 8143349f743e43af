"""Tensors that a module computes with and that are not in its state dict.

Buffers that are not persistent, and tensors kept as plain attributes, are made anew each time a
network is built. Where they were drawn at random, a network that is built again computes something
else with the same state dict. So an artifact's weights hold them too, by names of their own.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import nn

PREFIX = "unsaved:"
"""What their names begin with beside those of a state dict."""

_DEEPEST = 8
Holder: TypeAlias = Any
"""A dict or a list; ``None``: a tuple, which takes nothing in its places."""

_OF_MODULES = frozenset({"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})


def unsaved_tensors(module: "nn.Module") -> "dict[str, torch.Tensor]":
    """Return a module's tensors that are not in its state dict, by where they stand.

    One that the state dict holds elsewhere is left out, as is one without values.
    """
    found: dict[str, torch.Tensor] = {}
    for place in _places(module):
        if not place.value.is_meta:
            found.setdefault(f"{PREFIX}{place.path}", place.value.detach())
    return found


def saved(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Return those of an artifact's tensors that are of a state dict."""
    return {name: value for name, value in tensors.items() if not name.startswith(PREFIX)}


def restore(module: "nn.Module", tensors: "Mapping[str, torch.Tensor]") -> None:
    """Give a module that was built again the values of `unsaved_tensors`.

    One that the module has not, or has in another shape or type, was made while the network ran,
    and is left as it is.

    Args:
        module: Is changed in place; the values go to its device.
        tensors: By name; those without the prefix are left alone.
    """
    device = next((value.device for value in module.parameters()), None)
    for place in _places(module):
        wanted = tensors.get(f"{PREFIX}{place.path}")
        if wanted is None or not _alike(wanted, place.value):
            continue
        if place.holder is None:
            place.value.copy_(wanted)
        else:
            to = device if place.value.is_meta else place.value.device
            place.holder[place.key] = wanted.to(to)


def _alike(one: "torch.Tensor", other: "torch.Tensor") -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an unsaved tensor stands: ``holder[key]``."""

    path: str
    holder: Holder
    key: str | int
    value: "torch.Tensor"


def _places(module: "nn.Module") -> list[_Place]:
    saved = {id(value) for value in module.state_dict(keep_vars=True).values()}
    saved.update(id(value) for value in module.parameters())
    places: list[_Place] = []
    for path, part in module.named_modules():
        ahead = f"{path}." if path else ""
        loose = {name: value for name, value in part._buffers.items() if value is not None}
        _collect(loose, part._buffers, ahead, places)
        own = {name: value for name, value in vars(part).items() if name not in _OF_MODULES}
        _collect(own, vars(part), ahead, places)
    return [place for place in places if id(place.value) not in saved]


def _collect(
    members: Mapping[str, object] | Mapping[int, object],
    holder: Holder,
    ahead: str,
    places: list[_Place],
    depth: int = 0,
) -> None:
    """Note the tensors among some members, and within the lists and dicts among them."""
    import torch

    for key, value in members.items():
        path = f"{ahead}{key}"
        if isinstance(value, torch.Tensor):
            # What is traced is of another type.
            plain = type(value) in (torch.Tensor, torch.nn.Parameter)
            if plain and value.layout == torch.strided:
                places.append(_Place(path, holder, key, value))
        elif depth < _DEEPEST and type(value) in (dict, OrderedDict):
            assert isinstance(value, dict)
            _collect(value, value, f"{path}.", places, depth + 1)
        elif depth < _DEEPEST and isinstance(value, list | tuple):
            into = value if isinstance(value, list) else None
            _collect(dict(enumerate(value)), into, f"{path}.", places, depth + 1)
