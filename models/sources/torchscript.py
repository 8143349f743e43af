"""TorchScript: read a file of `torch.jit.save` without harm, and convert it to a plain module.

A file of TorchScript is code for an interpreter of its own. That cannot import, but its operators
can write and map files, call other processes and load classes of other libraries, and its
``__setstate__`` runs while the file is read. So its code is read as text first, and refused if it
names one of those.
"""

import ast
import contextlib
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from greenbatch.errors import ArtifactError, ExportError
from greenbatch.models.outputs import flatten
from greenbatch.models.sources.describe import error_text
from greenbatch.models.sources.exported_program import evaluating, silent
from greenbatch.models.sources.randomness import run
from greenbatch.models.sources.trial import TRIED

if TYPE_CHECKING:
    import torch
    from torch import nn

    Given = tuple[Sequence[torch.Tensor], dict[str, torch.Tensor]]
    Inputs = Callable[[int], Sequence[torch.Tensor]]

_CURE = "save it again with torch.jit.save, or give the network as package.module:callable"
_KEPT = re.compile(
    r"code/[\w./]+\.py|data\.pkl|constants\.pkl|(?:data|constants|tensors)/\d+|version|byteorder|"
    r"\.data/\w+|\.format_version|\.storage_alignment",
    re.ASCII,
)
_LEFT_OUT = re.compile(
    r"code/.*\.debug_pkl|extra/.*|bytecode.*|mobile_debug.*|traced_inputs(?:\.pkl|/.*)"
)
_LARGEST_TEXT_BYTES = 64 << 20

# Operators that reach beyond tensors (of torch 2.15), wherever their name may stand: TorchScript
# finds them as functions, as methods of values and by getattr.
_HARMFUL = frozenset(
    {"save", "from_file", "read_file", "write_file", "load_tensor", "classes", "rpc_sync"}
    | {"rpc_async", "rpc_remote", "call_function", "to_here", "local_value"}
)
_HARMFUL_WORD = re.compile(rf"(?<!\w)(?:{'|'.join(sorted(_HARMFUL))})(?!\w)")
_NAMESPACES = frozenset({"aten", "prim", "torchvision", "quantized"})
_TEXT = re.compile(r"[\n\x20-\x7e]*")
_OTHER_CLASSES = b"torch.classes"


def read_script(path: Path) -> "nn.Module":
    """Read a network that `torch.jit.save` wrote.

    Raises:
        ArtifactError: It is damaged, or holds code that could do more than compute.
    """
    import torch

    with tempfile.TemporaryFile() as copy:
        try:
            with zipfile.ZipFile(path) as archive:
                _copy_harmless(archive, path, copy)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
            raise ArtifactError(
                f"cannot read {path}: {error_text(error)}; it is damaged, {_CURE}"
            ) from error
        copy.seek(0)
        try:
            with warnings.catch_warnings(), silent("torch"):
                warnings.simplefilter("ignore")
                module: nn.Module = torch.jit.load(  # type: ignore[no-untyped-call]
                    copy, map_location="cpu"
                )
        except Exception as error:  # torch raises whatever its reader stumbles over
            raise ArtifactError(
                f"torch {torch.__version__} cannot read {path}: {error_text(error)}; {_CURE}"
            ) from error
    return module


def _copy_harmless(archive: zipfile.ZipFile, path: Path, copy: IO[bytes]) -> None:
    """Write what is needed of an archive into ``copy``, its code judged."""
    seen: set[str] = set()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as clean:
        for entry in archive.infolist():
            _, _, inside = entry.filename.partition("/")
            if _LEFT_OUT.fullmatch(inside):
                continue
            if not _KEPT.fullmatch(inside) or ".." in inside or inside in seen:
                raise ArtifactError(
                    f"{path} holds {entry.filename!r}, which is no part of a TorchScript network; "
                    f"{_CURE}"
                )
            seen.add(inside)
            text = inside.endswith((".py", ".pkl"))
            if text and entry.file_size > _LARGEST_TEXT_BYTES:
                raise ArtifactError(f"{path} holds a {inside} of more than 64 MiB; {_CURE}")
            with (
                archive.open(entry) as origin,
                clean.open(f"network/{inside}", "w", force_zip64=True) as target,
            ):
                if text:
                    content = origin.read()
                    _judge(content, inside, path)
                    target.write(content)
                    continue
                while block := origin.read(1 << 24):
                    target.write(block)
    if not {"data.pkl", "constants.pkl"} <= seen:
        raise ArtifactError(f"{path} holds no TorchScript network; {_CURE}")


def _judge(content: bytes, inside: str, path: Path) -> None:
    """Refuse code and values that could do more than compute."""
    if _OTHER_CLASSES in content:
        raise _harmful("torch.classes", inside, path)
    if not inside.endswith(".py"):
        return
    text = content.decode("latin-1")
    try:
        if not _TEXT.fullmatch(text):
            raise SyntaxError("characters that TorchScript does not write")
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ArtifactError(
            f"{inside} in {path} is no code that TorchScript writes ({error_text(error)}); {_CURE}"
        ) from error
    if match := _HARMFUL_WORD.search(text):
        raise _harmful(match[0], inside, path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in _HARMFUL:
                raise _harmful(node.value, inside, path)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "ops" and node.attr not in _NAMESPACES:
                raise _harmful(f"ops.{node.attr}", inside, path)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom) or not all(
                n.startswith("__torch__") for n in names
            ):
                raise _harmful(f"import {names[0]}", inside, path)


def _harmful(what: str, inside: str, path: Path) -> ArtifactError:
    return ArtifactError(
        f"{inside} in {path} names {what!r}, which can do more than compute with tensors; give "
        "the network as package.module:callable instead"
    )


def convert_scripts(
    module: "nn.Module", name: str, inputs: "Inputs"
) -> "tuple[nn.Module, list[str]]":
    """Convert a TorchScript module, or those within a module, to plain ones.

    Args:
        module: In evaluation mode, on the CPU; is changed in place where its parts are converted.
        name: What to call it in an error.
        inputs: Makes the inputs of a number of images.

    Returns:
        The module, and the names of what was converted: ``""`` is the module itself.

    Raises:
        ExportError: torch cannot convert it, or what comes out computes something else.
    """
    import torch

    scripts = torch.jit.ScriptModule
    if isinstance(module, scripts):
        given: list[Given] = [(inputs(count), {}) for count in TRIED]
        return _converted(module, name, *given), [""]
    found = [
        (owner, key, f"{path}.{key}" if path else key, part)
        for path, owner in module.named_modules()
        if not isinstance(owner, scripts)
        for key, part in owner._modules.items()
        if isinstance(part, scripts)
    ]
    if not found:
        return module, []
    for owner, key, path, part in found:
        few, more = (_inputs_of(owner, key, module, inputs(count)) for count in TRIED)
        if few is None or more is None:
            raise ExportError(
                f"the TorchScript module {path} of {name} is not called by its forward; remove it"
            )
        owner._modules[key] = _converted(part, f"{path} of {name}", few, more)
    return module, [path for *_, path, _ in found]


def _inputs_of(
    owner: "nn.Module", key: str, module: "nn.Module", inputs: "Sequence[torch.Tensor]"
) -> "Given | None":
    """Return what a part of a module is given when that runs, the first time.

    A TorchScript module takes no hooks, so another one stands in its place meanwhile.
    """
    import torch

    part = cast("nn.Module", owner._modules[key])
    taken: list[Given] = []

    class Noting(torch.nn.Module):
        def forward(self, *given: torch.Tensor, **named: torch.Tensor) -> object:
            taken.append((given, named))
            return part(*given, **named)

    owner._modules[key] = Noting()
    with contextlib.suppress(Exception):  # the trial of the whole network reports it
        run(module, inputs)
    owner._modules[key] = part
    return taken[0] if taken else None


def _converted(
    script: "torch.jit.ScriptModule", name: str, few: "Given", more: "Given"
) -> "nn.Module":
    """Convert one TorchScript module by torch's own converter, and compare the two.

    Args:
        script: The module.
        name: What to call it in an error.
        few: Its inputs for some images: what the converter sees.
        more: Those of more images.
    """
    import torch
    from torch._export.converter import TS2EPConverter

    cure = "give the network as package.module:callable, without torch.jit"
    cannot = f"torch {torch.__version__} cannot convert {name} from TorchScript"
    try:
        with warnings.catch_warnings(), silent("torch"), torch.no_grad():
            warnings.simplefilter("ignore")
            program = TS2EPConverter(script, tuple(few[0]), dict(few[1])).convert()
            plain = evaluating(program.module(check_guards=False))
            same = all(_same(script, plain, name, given) for given in (few, more))
    except Exception as error:  # the converter raises whatever it stumbles over
        raise ExportError(f"{cannot} for any batch: {error_text(error)}; {cure}") from error
    if not same:
        raise ExportError(f"{cannot}: what it makes of it returns other values; {cure}")
    return plain


def _same(script: "nn.Module", plain: "nn.Module", name: str, given: "Given") -> bool:
    import torch

    wanted, got = (flatten(module(*given[0], **given[1]), name) for module in (script, plain))
    return len(wanted) == len(got) and all(
        one.shape == other.shape and torch.allclose(one, other, 1e-3, 1e-5, equal_nan=True)
        for one, other in zip(wanted.values(), got.values(), strict=True)
    )
