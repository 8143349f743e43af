"""A module as it is exported: out of its wrappers, with its values, on the CPU, for inference."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.models.sources.describe import error_text

if TYPE_CHECKING:
    import torch
    from torch import nn

_WRAPPED = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",  # what torch.compile returns
}
_COMPILED = "_torchdynamo_orig_callable"  # of a function that torch.compile returned


def unwrap(module: "nn.Module") -> "tuple[nn.Module, list[str]]":
    """Take a module and its parts out of what runs them otherwise than plainly.

    Returns:
        The module, and the names of the wrappers' classes, each once.
    """
    found: list[str] = []

    def inner(part: "nn.Module") -> "nn.Module":
        while (held := _held(part)) is not None:
            found.append(type(part).__name__)
            part = held
        return part

    module = inner(module)
    for owner in list(module.modules()):
        for name, part in list(owner._modules.items()):
            if part is not None and (plain := inner(part)) is not part:
                owner._modules[name] = plain
    for part in module.modules():
        if getattr(part, "_compiled_call_impl", None) is not None:  # Module.compile()
            part._compiled_call_impl = None
            found.append("torch.compile")
        for name, value in list(vars(part).items()):
            if callable(value) and (plain_call := getattr(value, _COMPILED, None)) is not None:
                setattr(part, name, plain_call)
                found.append("torch.compile")
    return module, list(dict.fromkeys(found))


def _held(part: "nn.Module") -> "nn.Module | None":
    """Return the module that a wrapper holds; None: it is no wrapper."""
    from torch import nn

    attribute = _WRAPPED.get(type(part).__name__)
    if attribute is None or not type(part).__module__.startswith("torch."):
        return None
    held = getattr(part, attribute)
    assert isinstance(held, nn.Module)
    return held


def put_into_evaluation(module: "nn.Module", name: str) -> None:
    """Put a module into evaluation mode, with all of its parts.

    Raises:
        ExportError: A part does not let itself be put into it.
    """
    module.eval()
    for path, part in module.named_modules():
        if getattr(part, "training", False):  # a frozen TorchScript module has no mode
            raise ExportError(
                f"{path or name} of {name} ({type(part).__name__}) stays in training mode when "
                "eval() is called; let its train() take the mode that it is given"
            )


def is_uninitialised(module: "nn.Module") -> bool:
    """Whether a lazy module has not met its first image, so that weights have no size yet."""
    from torch.nn.parameter import is_lazy

    return any(is_lazy(value) for value in _values(module))


def initialise(module: "nn.Module", name: str, inputs: "Sequence[torch.Tensor]") -> None:
    """Give lazy weights their sizes by one image.

    Args:
        module: In evaluation mode, so that no statistics are changed.
        name: What to call it in an error.
        inputs: Of one image.

    Raises:
        ExportError: It cannot run, or a part of it is not reached.
    """
    import torch

    size = "x".join(map(str, inputs[0].shape[1:]))
    try:
        with torch.no_grad():
            module(*inputs)
    except Exception as error:  # a network's code may raise anything
        raise ExportError(
            f"{name} has lazy modules, and its first image of {size} raises {error_text(error)}; "
            "give the size that it takes with --input CxHxW, or run it once in the callable"
        ) from error
    if is_uninitialised(module):
        from torch.nn.parameter import is_lazy

        part = next(
            n for n, m in module.named_modules() if any(map(is_lazy, m.parameters(recurse=False)))
        )
        raise ExportError(
            f"the weights of {part or name} have no size after the first image, which does not "
            "reach them; remove that module, or run it once in the callable"
        )


def check_values(module: "nn.Module", name: str) -> None:
    """Refuse a module without values, or in another precision than fp32.

    Raises:
        ExportError: A parameter or buffer is on the meta device, or a parameter is not float32.
    """
    import torch

    for key, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_meta:
            raise ExportError(f"{key} of {name} has no values (device meta); load its weights")
    for key, parameter in module.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise ExportError(
                f"{key} of {name} is {parameter.dtype} instead of torch.float32; return "
                "module.float(), and choose the precision with --precision"
            )


def _values(module: "nn.Module") -> "Iterator[torch.Tensor]":
    yield from module.parameters()
    yield from module.buffers()
