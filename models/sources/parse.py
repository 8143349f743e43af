"""Where a network comes from: torchvision, a callable of the user's, a library, or a file."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from greenbatch.errors import UsageError
from greenbatch.models import registry
from greenbatch.models.sources.pickled import network_in

Kind = Literal["torchvision", "python", "timm", "hf", "pt2", "torchscript", "onnx"]

LIBRARIES: tuple[Kind, ...] = ("timm", "hf")
"""Kinds that are written ``KIND:NAME``."""
_FILES: dict[str, Kind] = {
    ".pt2": "pt2",
    ".onnx": "onnx",
    ".torchscript": "torchscript",
    ".ts": "torchscript",
}
_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_EXAMPLES = {"timm": "resnet18", "hf": "google/vit-base-patch16-224"}
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_CALLABLE = re.compile(rf"({_DOTTED}):({_DOTTED})")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Source:
    """What a user named.

    Attributes:
        kind: ``torchvision``, ``python``, ``timm``, ``hf`` (Hugging Face), ``pt2``,
            ``torchscript`` or ``onnx``, as in a manifest.
        text: The network's name, ``module:callable``, the path of a file, or for ``hf`` that of a
            folder or a name of the hub.
    """

    kind: Kind
    text: str

    @property
    def spelled(self) -> str:
        """The source as a user writes it, see `parse_source`."""
        return f"timm:{self.text}" if self.kind == "timm" else self.text

    @property
    def default_name(self) -> str:
        """A name for the artifact, safe as a file's: ``nets_build`` for ``pkg.nets:build``.

        A file that is called as one of torchvision's networks has its kind behind its name, as
        ``resnet50_onnx``. One that no letter is left of, as of ``模型.onnx``, is ``network_`` and
        the beginning of a digest of its name.
        """
        if self.kind == "torchvision":
            return self.text
        if self.kind == "python":
            module, _, attribute = self.text.partition(":")
            stem = f"{module.rpartition('.')[2]}_{attribute}"
        elif self.kind == "timm":
            stem = f"timm_{self.text}"
        elif self.kind == "hf":
            stem = f"hf_{Path(self.text).name or Path(self.text).resolve().name}"
        else:
            stem = Path(self.text).stem
        return _safe(stem, self.kind)


def names_apart(sources: Sequence[Source]) -> list[str]:
    """Return a name for each source: files of one name get those of their folders before it.

    ``v1/model.onnx`` and ``v2/model.onnx`` are ``v1_model`` and ``v2_model``.

    Raises:
        UsageError: Two that differ have one name nevertheless.
    """
    short = [source.default_name for source in sources]
    names = []
    for source, name in zip(sources, short, strict=True):
        same = zip(sources, short, strict=True)
        alike = [other for other, of_it in same if of_it == name and other != source]
        names.append(_with_folders(source, alike) if alike else name)
    owners: dict[str, Source] = {}
    for source, name in zip(sources, names, strict=True):
        if owners.setdefault(name, source) != source:
            raise UsageError(
                f"{owners[name].text} and {source.text} are both called {name}; export one of "
                f"them by another name first: gb export {source.text} --name NAME"
            )
    return names


def _with_folders(source: Source, alike: Sequence[Source]) -> str:
    """Put as many of a file's folders before its name as tell it from others."""
    if source.kind not in {*_FILES.values(), "hf"}:
        return source.default_name
    parts, *others = [Path(each.text).resolve().parts for each in (source, *alike)]
    count = 1
    while count < len(parts) and any(other[-count:] == parts[-count:] for other in others):
        count += 1
    last = f"hf_{parts[-1]}" if source.kind == "hf" else Path(parts[-1]).stem
    return _safe("_".join((*parts[-count:-1], last)), source.kind)


def _safe(stem: str, kind: Kind) -> str:
    name = re.sub(r"[^a-z0-9_.-]", "_", stem.lower()).lstrip("_.-")[:100]
    if not name:
        digest = hashlib.sha256(stem.encode(errors="surrogateescape")).hexdigest()
        return f"network_{digest[:8]}"
    return f"{name}_{kind}" if name in registry.names(registry.ALL) else name


def parse_source(text: str) -> Source:
    """Read what a user named, without importing or loading it.

    Args:
        text: A torchvision name, ``package.module:callable``, ``timm:NAME``, ``hf:NAME``, or the
            path of a ``.pt2``, ``.onnx`` or TorchScript file.

    Raises:
        UnknownNameError: It looks like a name of torchvision and is none.
        UsageError: It is nothing of all that, or there is no such file.
    """
    path = Path(text)
    suffix = path.suffix.lower()
    for library in LIBRARIES:
        if text.startswith(f"{library}:"):
            named = text.removeprefix(f"{library}:")
            if not named:
                raise UsageError(
                    f"{library}: names no network; write {library}:NAME, e.g. "
                    f"{library}:{_EXAMPLES[library]}"
                )
            return Source(library, named)
    if suffix in {".pt", ".pth"} and path.is_file() and (kind := network_in(path)):
        return Source(kind, text)
    if suffix in _FILES:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name a file in it")
        if not path.is_file():
            raise UsageError(f"there is no file {path}; check its path")
        return Source(_FILES[suffix], text)
    if suffix in _WEIGHTS:
        raise UsageError(
            f"{path} holds weights, which are no network; name the network and give "
            f"--weights {path}"
        )
    if suffix == ".py":
        raise UsageError(
            f"{path} is a Python file and does not name the callable; "
            f"write {path.stem}:CALLABLE, e.g. {path.stem}:build"
        )
    if ":" in text:
        if not _CALLABLE.fullmatch(text):
            raise UsageError(
                f"{text!r} is no callable; write package.module:callable, e.g. mypkg.nets:build"
            )
        return Source("python", text)
    return Source("torchvision", registry.find(text).name)


def runs_code(text: str) -> bool:
    """Whether a source is a module that is imported: loading any other runs no code of its own."""
    known = text.startswith(tuple(f"{library}:" for library in LIBRARIES))
    known = known or Path(text).suffix.lower() in (*_FILES, *_WEIGHTS)
    return ":" in text and not known


def check_name(name: str) -> str:
    """Return a name for a user's own network if it can be one.

    Raises:
        UsageError: It cannot be part of a file's name everywhere, or is a known model's.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the name {name!r} is unfit for a file; use up to 100 of a-z, 0-9, '_', '.' and '-', "
            "beginning with a letter or digit, in --name"
        )
    if name in registry.names(registry.ALL):
        raise UsageError(
            f"the name {name!r} is that of a torchvision network; choose another --name"
        )
    return name
