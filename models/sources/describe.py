"""What errors say of a user's network: its values, its errors, what it needs."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass

from greenbatch.errors import GreenbatchError


def required_arguments(function: Callable[..., object]) -> list[str]:
    """Return the names of the arguments without which a function cannot be called."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built-in ones do not report them
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def value_text(value: object) -> str:
    """Say what a value is, and what is in it."""
    name = type(value).__name__
    if isinstance(value, Mapping):
        return f"a {name} with {', '.join(map(str, value)) or 'nothing'}"
    if is_dataclass(value):
        return f"a {name} with {', '.join(field.name for field in fields(value))}"
    if isinstance(value, (tuple, list)):
        return f"a {name} of {len(value)}"
    if value is None:
        return "None"
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"


def error_text(error: BaseException) -> str:
    """Say an error's type and its first line."""
    lines = (line.strip() for line in str(error).splitlines())
    line = next((line for line in lines if line), "").rstrip(".")[:300]
    if isinstance(error, GreenbatchError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
