"""Packages that only some commands need, and the extra of greenbatch that brings each.

``pip install greenbatch`` brings what reads runs and meters. `EXTRAS` lists the rest; a command
that needs one of these packages calls `require` before it does anything else.
"""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from greenbatch.errors import MissingPackage

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "bench": (
        "onnx",
        "onnxruntime",
        "onnxscript",
        "ml_dtypes",
        "safetensors",
        "torch",
        "torchvision",
    ),
    "carbon": ("codecarbon",),
    "fleet": ("distributed",),
    "openvino": ("openvino",),
    "parquet": ("pyarrow",),
    "stats": ("statsmodels",),
    "testing": ("pytest",),
    "timm": ("timm",),
    "train": ("optuna", "sklearn"),
    "transformers": ("transformers",),
    "wall": ("jmespath",),
    "zarr": ("zarr",),
    "zeus": ("zeus",),
}
"""By the name of the extra, the modules that it brings; ``all`` brings every one."""

_EXTRA_OF = {package: extra for extra, packages in EXTRAS.items() for package in packages}


def missing(packages: Iterable[str]) -> tuple[str, ...]:
    """Return those of the top-level modules that are not installed, each once.

    Modules that no extra brings, e.g. those of a backend of another distribution, are left out.
    """
    return tuple(p for p in dict.fromkeys(packages) if p in _EXTRA_OF and not _installed(p))


def install_line(packages: Iterable[str]) -> str:
    """Return the command that installs the extras of these modules."""
    extras = ",".join(dict.fromkeys(_EXTRA_OF[package] for package in packages))
    return f"pip install 'greenbatch[{extras}]'"


def reason(packages: Iterable[str]) -> str | None:
    """Say which of the modules are not installed and how to install them; ``None`` if all are."""
    gone = missing(packages)
    if not gone:
        return None
    return f"{_listed(gone)} {_are(gone)} not installed; run: {install_line(gone)}"


def require(purpose: str, packages: Iterable[str]) -> None:
    """Check that modules are installed; they are not imported.

    Args:
        purpose: Who needs them, e.g. ``gb bench``: the first words of the message.
        packages: Names of top-level modules, e.g. ``EXTRAS["bench"]``.

    Raises:
        MissingPackage: One is not.
    """
    gone = missing(packages)
    if gone:
        raise MissingPackage(
            f"{purpose} needs {_listed(gone)}, which {_are(gone)} not installed; "
            f"run: {install_line(gone)}"
        )


def explain(error: BaseException) -> str | None:
    """Return the sentence for a module that was imported and is not installed.

    ``None`` for another error, and for a module that no extra brings.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    return reason([error.name.partition(".")[0]])


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False
    except ValueError:  # a module that was made by hand
        return True


def _are(names: tuple[str, ...]) -> str:
    return "is" if len(names) == 1 else "are"


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
