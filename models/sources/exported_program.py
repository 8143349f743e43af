"""Reading a ``.pt2`` exported program without running code that is in it.

`torch.export.load` runs code from a file in several ways (torch 2.15): weights and constants marked
``use_pickle`` and custom objects are unpickled, so are example inputs if a safe reading fails,
compiled libraries (AOTInductor) are loaded, symbolic sizes are evaluated by `sympy.sympify`
(which is `eval`), names become part of generated source code, tree contexts import modules, and
guards are compiled. So nothing is loaded from the file itself: a copy is written that holds only
what is needed and known to be harmless, and that copy is loaded. What does not fit is refused.
"""

import ast
import contextlib
import json
import logging
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from greenbatch.errors import ArtifactError, ExportError

if TYPE_CHECKING:
    from torch import nn

_CURE = "export it again with torch.export.export and torch.export.save"
_KNOWN_FILES = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|\.format_version|"
    r".storage_alignment|extra/.*|data/sample_inputs/model\.pt|models/model\.json|"
    r"data/(?:weights|constants)/model_(?:weights|constants)_config\.json|"
    r"data/weights/weight_\d+|data/constants/tensor_\d+"
)
_LEFT_OUT = re.compile(r"extra/.*|data/sample_inputs/.*")
_MODEL = "models/model.json"
_CONFIGS = (
    "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json",
)
_SAMPLES = "data/sample_inputs/model.pt"
_LARGEST_JSON_BYTES = 256 << 20

# Values of the program, by what they may hold. Anything else is plain words: no quotes, brackets,
# spaces or line ends, so that nothing can be code wherever torch may put it.
_PLAIN = re.compile(r"[\w.+<=>,\-/]*", re.ASCII)
_DUNDER = re.compile(r"__\w+__")
_NAMES = frozenset(
    {"name", "as_name", "parameter_name", "buffer_name", "tensor_constant_name", "fqn"}
)
_DOTTED_NAME = re.compile(r"(?:[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)?")
_ARITHMETIC = "add|sub|mul|floordiv|truediv|mod|pow|neg|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_|xor"
_TARGET = re.compile(
    rf"torch\.ops\.(?:aten|torchvision)\.(?!from_file\b)[a-z0-9_]+(?:\.[A-Za-z0-9_]+)?|"
    rf"torch\.ops\.higher_order\.wrap_with_set_grad_enabled|"
    rf"_operator\.(?:{_ARITHMETIC})|math\.(?:floor|ceil|trunc|sqrt)|"
    rf"torch\.sym_(?:int|float|max|min|not|ite|sqrt)"
)
_FUNCTIONS = frozenset(
    {
        "Symbol", "Integer", "Rational", "Add", "Mul", "Max", "Min", "Mod", "PythonMod", "FloorDiv",
        "CeilDiv", "CleanDiv", "ModularIndexing", "CeilToInt", "FloorToInt", "TruncToInt",
        "IntTrueDiv", "ToFloat", "Identity", "Where", "Abs", "floor", "ceiling", "And", "Or", "Not",
        "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality", "StrictLessThan", "LessThan",
        "StrictGreaterThan", "GreaterThan",
    }
)  # fmt: skip
_ASSUMPTIONS = frozenset({"positive", "nonnegative", "integer", "zero", "finite"})
_SYMBOL = re.compile(r"[a-z]{1,3}\d{1,6}")
_LONGEST_EXPRESSION = 2000
_TREES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict"})


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was read.

    Attributes:
        module: Maps images (N, C, H, W) to what the program puts out; in evaluation mode.
        shape: Channels, height and width of its input.
    """

    module: "nn.Module"
    shape: tuple[int, int, int]


def load_program(path: Path) -> Program:
    """Read an exported program.

    Args:
        path: As `torch.export.save` of torch 2.8 or later writes it.

    Raises:
        ArtifactError: It is damaged, or holds what could run code when read.
        ExportError: It does not take one batch of float images of any batch size, or was
            exported in training mode.
    """
    with tempfile.TemporaryFile() as copy:
        try:
            with zipfile.ZipFile(path) as archive:
                facts = _copy_harmless(archive, path, copy)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
            raise ArtifactError(
                f"cannot read {path}: {_cause(error)}; it is damaged or no exported program, "
                f"{_CURE}"
            ) from error
        shape = _image_shape(facts, path)
        _refuse_training(facts, path)
        copy.seek(0)
        return Program(_load(copy, path), shape)


def _load(copy: IO[bytes], path: Path) -> "nn.Module":
    import torch

    try:
        with warnings.catch_warnings(), _silent("torch"):
            warnings.simplefilter("ignore")
            program = torch.export.load(copy)
            inner = program.module(check_guards=False)
    except Exception as error:  # torch raises whatever its reader stumbles over
        raise ArtifactError(
            f"torch {torch.__version__} cannot read {path}: {_cause(error)}; {_CURE} of this "
            "version"
        ) from error
    return _whole(inner)


def _whole(inner: "nn.Module") -> "nn.Module":
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


def _copy_harmless(archive: zipfile.ZipFile, path: Path, copy: IO[bytes]) -> dict[str, Any]:
    """Write what is needed of an archive into ``copy``; return the program's own description."""
    entries = _entries(archive, path)
    texts = {}
    for inside in (_MODEL, *_CONFIGS):
        if inside not in entries:
            raise ArtifactError(
                f"{path} holds no {inside}, as torch 2.8 and later write it; {_CURE}"
            )
        if entries[inside].file_size > _LARGEST_JSON_BYTES:
            raise ArtifactError(f"{path} holds a {inside} of more than 256 MiB; {_CURE}")
        try:
            texts[inside] = json.loads(archive.read(entries[inside]))
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{inside} in {path} is no JSON; it is damaged, {_CURE}") from error
    program = texts[_MODEL]
    if not isinstance(program, dict) or not isinstance(program.get("graph_module"), dict):
        raise ArtifactError(f"{path} describes no program; it is damaged, {_CURE}")
    program["guards_code"] = []
    try:
        _strip(program)
        for inside in (_MODEL, *_CONFIGS):
            _judge(texts[inside], "", path)
        for inside in _CONFIGS:
            _judge_config(texts[inside], path)
    except RecursionError as error:
        raise ArtifactError(f"{path} is nested too deeply; it is damaged, {_CURE}") from error
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as clean:
        for inside, entry in entries.items():
            if _LEFT_OUT.fullmatch(inside):
                continue
            with clean.open(f"program/{inside}", "w", force_zip64=True) as target:
                if inside in texts:
                    target.write(json.dumps(texts[inside]).encode())
                else:
                    with archive.open(entry) as origin:
                        while block := origin.read(1 << 24):
                            target.write(block)
        clean.writestr(f"program/{_SAMPLES}", b"")
    return program


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return an archive's entries by their name below its one folder."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        _, _, inside = entry.filename.partition("/")
        if not _KNOWN_FILES.fullmatch(inside):
            raise ArtifactError(
                f"{path} holds {entry.filename!r}, which is no part of a plain exported program "
                f"and could run code when it is read; {_CURE}, without custom objects and compiled "
                "code"
            )
        if entry.compress_type != zipfile.ZIP_STORED or inside in entries:
            raise ArtifactError(f"{entry.filename!r} in {path} is packed unusually; {_CURE}")
        entries[inside] = entry
    return entries


def _strip(value: Any) -> None:
    """Empty all metadata, which is for debugging: names of source files, stack traces."""
    if isinstance(value, dict):
        if isinstance(value.get("metadata"), dict):
            value["metadata"] = {}
        for member in value.values():
            _strip(member)
    elif isinstance(value, list):
        for member in value:
            _strip(member)


def _judge(value: Any, key: str, path: Path) -> None:
    """Refuse every text in a description that could become code."""
    if isinstance(value, dict):
        for name, member in value.items():
            if not _DOTTED_NAME.fullmatch(name) or _DUNDER.search(name):
                raise _unsafe(name, "name", path)
            _judge(member, name, path)
    elif isinstance(value, list):
        for member in value:
            _judge(member, key, path)
    elif isinstance(value, str):
        check = _CHECKS.get(key, _is_name if key in _NAMES else _is_plain)
        if not check(value):
            raise _unsafe(value, key, path)


def _is_plain(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and not _DUNDER.search(text)


def _is_name(text: str) -> bool:
    return _DOTTED_NAME.fullmatch(text) is not None and not _DUNDER.search(text)


def _is_target(text: str) -> bool:
    return _TARGET.fullmatch(text) is not None and not _DUNDER.search(text)


def _is_expression(text: str) -> bool:
    """Say whether a symbolic size is a sum, product or the like of symbols and numbers."""

    def harmless(node: ast.AST) -> bool:
        match node:
            case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
                return _SYMBOL.fullmatch(name) is not None and all(
                    word.arg in _ASSUMPTIONS
                    and isinstance(word.value, ast.Constant)
                    and isinstance(word.value.value, bool)
                    for word in node.keywords
                )
            case ast.Call(func=ast.Name(id=name), keywords=[]):
                return name in _FUNCTIONS - {"Symbol"} and all(map(harmless, node.args))
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.FloorDiv()):
                return harmless(node.left) and harmless(node.right)
            case ast.UnaryOp(op=ast.USub()):
                return harmless(node.operand)
            case ast.Compare():
                return all(map(harmless, (node.left, *node.comparators)))
            case ast.Name(id=name):
                return _SYMBOL.fullmatch(name) is not None
            case ast.Constant(value=bool() | int()):
                return abs(node.value) < 1 << 63  # type: ignore[arg-type]
        return False

    if len(text) > _LONGEST_EXPRESSION:
        return False
    try:
        return harmless(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_tree(text: str) -> bool:
    """Say whether a tree of arguments is made of tuples, lists and dicts alone."""

    def plain(node: Any) -> bool:
        if node["type"] not in _TREES:
            return False
        names = json.loads(node["context"]) if isinstance(node["context"], str) else node["context"]
        if names is not None and not (
            isinstance(names, list) and all(isinstance(n, str) and _is_name(n) for n in names)
        ):
            return False
        return all(map(plain, node["children_spec"]))

    try:
        version, root = json.loads(text)
        return version == 1 and plain(root)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


_CHECKS: dict[str, Callable[[str], bool]] = {
    "target": _is_target,
    "as_operator": _is_target,
    "expr_str": _is_expression,
    "in_spec": _is_tree,
    "out_spec": _is_tree,
}


def _judge_config(config: Any, path: Path) -> None:
    members = config.get("config") if isinstance(config, dict) else None
    if not isinstance(members, dict):
        raise ArtifactError(f"{path} lists its weights in no known way; it is damaged, {_CURE}")
    for name, meta in members.items():
        if not isinstance(meta, dict) or meta.get("use_pickle") is not False:
            raise ArtifactError(
                f"{name} in {path} is pickled, and reading it could run code; {_CURE}, with plain "
                "tensors as weights"
            )
        if not re.fullmatch(r"(?:weight|tensor)_\d+", str(meta.get("path_name"))):
            raise _unsafe(str(meta.get("path_name")), "path", path)


def _unsafe(text: str, key: str, path: Path) -> ArtifactError:
    shown = text if len(text) <= 60 else f"{text[:60]}..."
    return ArtifactError(
        f"{path} holds the {key or 'text'} {shown!r}, which is no plain exported network's and "
        "could run code when it is read; give the network as package.module:callable instead"
    )


def _image_shape(program: dict[str, Any], path: Path) -> tuple[int, int, int]:
    """Return channels, height and width of a program's one input, whose batch axis is symbolic."""
    try:
        module = program["graph_module"]
        tensors = module["graph"]["tensor_values"]
        users = [
            spec["user_input"]["arg"]
            for spec in module["signature"]["input_specs"]
            if "user_input" in spec
        ]
        names = [arg["as_tensor"]["name"] if "as_tensor" in arg else None for arg in users]
        metas = [tensors[name] if name else None for name in names]
        sizes = [m and [s.get("as_int", s.get("as_expr")) for s in m["sizes"]] for m in metas]
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} describes no program; it is damaged, {_CURE}") from error
    if len(sizes) != 1:
        raise ExportError(
            f"{path} takes {len(sizes)} inputs, and gb measures networks of one image; export a "
            "module whose forward takes the images alone"
        )
    (size,), (meta,) = sizes, metas
    shown = "x".join("?" if isinstance(n, dict) else str(n) for n in size or ()) or "no tensor"
    if meta is None or size is None or len(size) != 4 or not all(type(n) is int for n in size[1:]):
        raise ExportError(
            f"the input of {path} is {shown} instead of images (batch, channels, height, width) "
            "with a fixed size; export it for such images"
        )
    if meta["dtype"] != _FLOAT32:
        raise ExportError(f"the input of {path} is not float32; export module.float()")
    if isinstance(size[0], int):
        raise ExportError(
            f"{path} fixes the batch at {size[0]}; export it with "
            '`dynamic_shapes={"x": {0: torch.export.Dim("batch")}}`, x being the name of '
            "forward's argument"
        )
    return (size[1], size[2], size[3])


_FLOAT32 = 7  # ScalarType.FLOAT of torch._export.serde.schema


def _refuse_training(program: dict[str, Any], path: Path) -> None:
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


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("target"), str):
            yield value
        for member in value.values():
            yield from _nodes(member)
    elif isinstance(value, list):
        for member in value:
            yield from _nodes(member)


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
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
