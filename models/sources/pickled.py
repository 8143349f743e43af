"""What is in a file of `torch.save` or `torch.jit.save`, found without unpickling it."""

import pickletools
import zipfile
from pathlib import Path
from typing import Literal

from greenbatch.errors import UsageError

_PLAIN_MODULES = ("torch", "torch._utils", "torch.serialization", "collections", "numpy")
_PLAIN_NAMES = ("_rebuild", "OrderedDict", "Storage", "Size", "dtype", "device", "defaultdict")
_LARGEST_PICKLE_BYTES = 256 << 20
_LEGACY_PICKLES = 4  # a magic number, a version, facts of the machine, the object


def network_in(path: Path) -> Literal["torchscript", "pt2"] | None:
    """Say which kind of network an archive holds; ``None``: none, so it holds weights.

    Raises:
        UsageError: It holds pickled objects, such as a whole module: reading them would run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {name.partition("/")[2]: name for name in archive.namelist()}
            if "models/model.json" in inside:
                return "pt2"
            if "constants.pkl" in inside and any(name.startswith("code/") for name in inside):
                return "torchscript"
            pickles = [archive.read(inside["data.pkl"])] if _small(archive, inside) else []
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError):
        pickles = [path.read_bytes()] if path.stat().st_size <= _LARGEST_PICKLE_BYTES else []
    if found := next(filter(None, map(_foreign_class, pickles)), None):
        raise UsageError(
            f"{path} holds a pickled {found}, and reading that would run code; save the network "
            "with torch.export.save or torch.jit.save, or its state_dict() alone for --weights, or "
            "write a callable that loads it and name that as package.module:callable"
        )
    return None


def _small(archive: zipfile.ZipFile, inside: dict[str, str]) -> bool:
    name = inside.get("data.pkl")
    return name is not None and archive.getinfo(name).file_size <= _LARGEST_PICKLE_BYTES


def _foreign_class(data: bytes) -> str | None:
    """Return the first class in a pickle that is none of a state dict's; ``None``: there is none.

    A pickle that is torn, or that is none, has none either: reading it as weights reports that.
    """
    position = 0
    for _ in range(_LEGACY_PICKLES):
        texts: list[str | None] = [None, None]  # what was pushed last: names of a class follow
        memo: list[str | None] = []
        try:
            for operation, argument, at in pickletools.genops(data[position:]):
                module, name = "", ""
                if operation.name == "MEMOIZE":
                    memo.append(texts[-1])
                    continue
                if operation.name == "GLOBAL":
                    module, _, name = str(argument).partition(" ")
                elif operation.name == "STACK_GLOBAL":
                    module, name = (text or "?" for text in texts[-2:])
                if module and not _plain(module, name):
                    return f"{module}.{name}"
                if "UNICODE" in operation.name:
                    texts.append(str(argument))
                elif operation.name in {"BINGET", "LONG_BINGET"} and memo:
                    texts.append(memo[int(argument or 0)])
                else:
                    texts.append(None)
                end = (at or 0) + 1
        except Exception:  # pickletools raises whatever a torn pickle leads it to
            return None
        position += end
    return None


def _plain(module: str, name: str) -> bool:
    """Whether a name in a pickle belongs to tensors by name."""
    top = module.partition(".")[0]
    return top in _PLAIN_MODULES and any(plain in name for plain in _PLAIN_NAMES)
