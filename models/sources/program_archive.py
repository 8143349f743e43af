"""What of an exported program's archive is copied, and which of its texts are no code.

`torch.export.load` runs code from a file in several ways (torch 2.15): weights and constants marked
``use_pickle`` and custom objects are unpickled, so are example inputs if a safe reading fails,
compiled libraries (AOTInductor) are loaded, symbolic sizes are evaluated by `sympy.sympify`
(which is `eval`), names become part of generated source code, tree contexts import modules, and
guards are compiled. So a copy is written that holds only what is needed and known to be harmless,
and that copy is loaded. What does not fit is refused.
"""

import ast
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from greenbatch.errors import ArtifactError
from greenbatch.models.sources.program_trees import Json, is_plain_tree, plain_call

CURE = "export it again with torch.export.export and torch.export.save"
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


def copy_harmless(archive: zipfile.ZipFile, path: Path, copy: IO[bytes]) -> dict[str, Json]:
    """Write what is needed of an archive into ``copy``; return the program's own description."""
    entries = _entries(archive, path)
    texts = {}
    for inside in (_MODEL, *_CONFIGS):
        if inside not in entries:
            raise ArtifactError(
                f"{path} holds no {inside}, as torch 2.8 and later write it; {CURE}"
            )
        if entries[inside].file_size > _LARGEST_JSON_BYTES:
            raise ArtifactError(f"{path} holds a {inside} of more than 256 MiB; {CURE}")
        try:
            texts[inside] = json.loads(archive.read(entries[inside]))
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{inside} in {path} is no JSON; it is damaged, {CURE}") from error
    program = texts[_MODEL]
    if not isinstance(program, dict) or not isinstance(program.get("graph_module"), dict):
        raise ArtifactError(f"{path} describes no program; it is damaged, {CURE}")
    program["guards_code"] = []
    try:
        _strip(program)
        plain_call(program)
        for inside in (_MODEL, *_CONFIGS):
            _judge(texts[inside], "", path)
        for inside in _CONFIGS:
            _judge_config(texts[inside], path)
    except RecursionError as error:
        raise ArtifactError(f"{path} is nested too deeply; it is damaged, {CURE}") from error
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
                f"and could run code when it is read; {CURE}, without custom objects and compiled "
                "code"
            )
        if entry.compress_type != zipfile.ZIP_STORED or inside in entries:
            raise ArtifactError(f"{entry.filename!r} in {path} is packed unusually; {CURE}")
        entries[inside] = entry
    return entries


def _strip(value: Json) -> None:
    """Empty all metadata, which is for debugging: names of source files, stack traces."""
    if isinstance(value, dict):
        if isinstance(value.get("metadata"), dict):
            value["metadata"] = {}
        for member in value.values():
            _strip(member)
    elif isinstance(value, list):
        for member in value:
            _strip(member)


def _judge(value: Json, key: str, path: Path) -> None:
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


_CHECKS: dict[str, Callable[[str], bool]] = {
    "target": _is_target,
    "as_operator": _is_target,
    "expr_str": _is_expression,
    "in_spec": is_plain_tree,
    "out_spec": is_plain_tree,
}


def _judge_config(config: Json, path: Path) -> None:
    members = config.get("config") if isinstance(config, dict) else None
    if not isinstance(members, dict):
        raise ArtifactError(f"{path} lists its weights in no known way; it is damaged, {CURE}")
    for name, meta in members.items():
        if not isinstance(meta, dict) or meta.get("use_pickle") is not False:
            raise ArtifactError(
                f"{name} in {path} is pickled, and reading it could run code; {CURE}, with plain "
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
