"""A callable of the user: import its module, call it, and return the network."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ExportError, UsageError
from greenbatch.models.sources.describe import error_text, required_arguments, value_text

if TYPE_CHECKING:
    from torch import nn


def load_callable(text: str) -> "nn.Module":
    """Import a module, call its callable and return the network that it makes.

    Modules of the current folder are found too; installed modules have priority.

    Args:
        text: ``package.module:callable``.

    Raises:
        UsageError: There is no such callable, or it needs arguments.
        ExportError: Its code raises, or it returns no network.
    """
    from torch import nn

    module_name, _, attribute = text.partition(":")
    with _current_folder():
        try:
            found: Any = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            missing = getattr(error, "name", None)
            if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(
                f"{missing}."
            ):
                cure = "check its name, or run gb in the folder that holds it"
                raise UsageError(
                    f"there is no module {missing!r} in {Path.cwd()} nor among the installed "
                    f"packages; {_hidden(module_name) or cure}"
                ) from error
            raise ExportError(
                f"importing {module_name} raises {error_text(error)}; fix it"
            ) from error
        for part in attribute.split("."):
            try:
                found = getattr(found, part)
            except AttributeError as error:
                raise UsageError(_no_attribute(found, part, module_name)) from error
        if isinstance(found, nn.Module):
            return found
        if not callable(found):
            raise UsageError(
                f"{text} is of type {type(found).__name__} and cannot be called; name a callable "
                "without arguments that returns an nn.Module"
            )
        if needed := required_arguments(found):
            raise UsageError(
                f"{text} cannot be called without arguments (it needs {', '.join(needed)}); give "
                "them defaults, or write a function that passes them"
            )
        try:
            made = found()
        except (Exception, SystemExit) as error:
            raise ExportError(f"calling {text} raises {error_text(error)}; fix it") from error
    if not isinstance(made, nn.Module):
        raise ExportError(f"{text} returns {value_text(made)}; it must return an nn.Module")
    return made


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    """Let modules of the current folder be imported that no installed module is named like."""
    folder = str(Path.cwd())
    importlib.invalidate_caches()
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _hidden(module_name: str) -> str | None:
    """Say how to reach a module of the current folder that an installed one comes before."""
    top = module_name.partition(".")[0]
    own = next((path for path in (Path(f"{top}.py"), Path(top)) if path.exists()), None)
    found = getattr(sys.modules.get(top), "__file__", None) or ""
    if own is None or not found or Path(found).is_relative_to(Path.cwd()):
        return None
    return f"the installed module {top} ({found}) comes before ./{own}, which needs another name"


def _no_attribute(owner: Any, part: str, module_name: str) -> str:
    names = (
        [name for name in vars(owner) if not name.startswith("_")]
        if hasattr(owner, "__dict__")
        else []
    )
    near = get_close_matches(part, names, n=1, cutoff=0.5)
    cure = _hidden(module_name) or (f"did you mean {near[0]!r}?" if near else "check its name")
    return f"{getattr(owner, '__name__', type(owner).__name__)} has no {part!r}; {cure}"
