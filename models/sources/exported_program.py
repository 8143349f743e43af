"""Reading a ``.pt2`` exported program without running code that is in it."""

import contextlib
import logging
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from greenbatch.errors import ArtifactError, ExportError
from greenbatch.models.sources.program_archive import CURE, copy_harmless
from greenbatch.models.sources.program_trees import Json

if TYPE_CHECKING:
    from torch import nn


_DTYPES = {1: "uint8", 2: "int8", 4: "int32", 5: "int64", 6: "float16", 7: "float32"}
_DTYPES |= {8: "float64", 12: "bool"}
"""NumPy's names of ScalarType of torch._export.serde.schema."""


@dataclass(frozen=True, slots=True)
class ProgramInput:
    """An input of a program; ``None`` is a size that it leaves open."""

    name: str
    dtype: str
    dims: tuple[int | None, ...]

    def __str__(self) -> str:
        """Write its sizes and type, as part of a sentence."""
        sizes = "x".join("?" if size is None else str(size) for size in self.dims)
        return f"{sizes or 'a number'} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was read.

    Attributes:
        module: Takes the inputs by position; in evaluation mode.
        inputs: In that order.
    """

    module: "nn.Module"
    inputs: tuple[ProgramInput, ...]


def load_program(path: Path) -> Program:
    """Read an exported program.

    Args:
        path: As `torch.export.save` of torch 2.8 or later writes it.

    Raises:
        ArtifactError: It is damaged, or holds what could run code when read.
        ExportError: An input is no tensor, or it was exported in training mode.
    """
    with tempfile.TemporaryFile() as copy:
        try:
            with zipfile.ZipFile(path) as archive:
                facts = copy_harmless(archive, path, copy)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
            raise ArtifactError(
                f"cannot read {path}: {_cause(error)}; it is damaged or no exported program, {CURE}"
            ) from error
        inputs = _inputs(facts, path)
        _refuse_training(facts, path)
        copy.seek(0)
        return Program(_load(copy, path), inputs)


def _load(copy: IO[bytes], path: Path) -> "nn.Module":
    import torch

    try:
        with warnings.catch_warnings(), silent("torch"):
            warnings.simplefilter("ignore")
            program = torch.export.load(copy)
            inner = program.module(check_guards=False)
    except Exception as error:  # torch raises whatever its reader stumbles over
        raise ArtifactError(
            f"torch {torch.__version__} cannot read {path}: {_cause(error)}; {CURE} of this version"
        ) from error
    return evaluating(inner)


def evaluating(inner: "nn.Module") -> "nn.Module":
    """Make an exported program's module one that may be put into evaluation mode.

    It was exported in that mode and knows no other; torch lets it refuse `eval` nevertheless.
    """
    from torch import nn

    def train(mode: bool = True) -> "nn.Module":
        if mode:
            raise RuntimeError("an exported program cannot be put into training mode")
        return inner

    for part in inner.modules():
        part.training = False
    for name, function in (("train", train), ("eval", lambda: inner)):
        object.__setattr__(inner, name, function)
    assert isinstance(inner, nn.Module)
    return inner


def _inputs(program: dict[str, Json], path: Path) -> tuple[ProgramInput, ...]:
    """Return a program's inputs, in their order."""
    try:
        module = program["graph_module"]
        tensors = module["graph"]["tensor_values"]
        users = [
            spec["user_input"]["arg"]
            for spec in module["signature"]["input_specs"]
            if "user_input" in spec
        ]
        names = [str(arg["as_tensor"]["name"]) for arg in users if "as_tensor" in arg]
        if not names or len(names) < len(users):
            raise ExportError(
                f"{path} takes {'an input that is no tensor' if users else 'no input'}; export a "
                "module whose forward takes tensors alone"
            )
        return tuple(
            ProgramInput(
                name,
                _DTYPES.get(tensors[name]["dtype"], "of another type"),
                tuple(size.get("as_int") for size in tensors[name]["sizes"]),
            )
            for name in names
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} describes no program; it is damaged, {CURE}") from error


def _refuse_training(program: dict[str, Json], path: Path) -> None:
    """Refuse a program whose normalisation or dropout works as in training."""
    for node in _nodes(program):
        flags = [
            argument["arg"].get("as_bool")
            for argument in node.get("inputs", ())
            if argument.get("name") in {"training", "train"}
        ]
        target = str(node.get("target"))
        if any(flags) and re.search(r"\.aten\.\w*(?:dropout|norm)", target):
            raise ExportError(
                f"{path} was exported in training mode ({target.removeprefix('torch.ops.')}); call "
                "module.eval() before torch.export.export"
            )


def _nodes(value: Json) -> Iterator[dict[str, Json]]:
    if isinstance(value, dict):
        if isinstance(value.get("target"), str):
            yield value
        for member in value.values():
            yield from _nodes(member)
    elif isinstance(value, list):
        for member in value:
            yield from _nodes(member)


@contextlib.contextmanager
def silent(name: str) -> Iterator[None]:
    """Keep a library's log quiet: what matters of it is in the error."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _cause(error: BaseException) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__).rstrip(".")[:300]
