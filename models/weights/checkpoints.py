"""Published weights: where torch keeps them, and fetching them without waiting for long."""

import hashlib
import os
import queue
import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import IO, cast

from greenbatch.errors import WeightsError
from greenbatch.models.spec import ModelSpec

PUBLISHER = "https://download.pytorch.org/models/"
_TIMEOUT_S = 5.0
_CHUNK_BYTES = 1 << 20


def cached_checkpoint(spec: ModelSpec) -> Path | None:
    """Return the file of a model's published weights if torch has it, without importing torch."""
    if not spec.checkpoint:
        return None
    path = _folder() / spec.checkpoint
    return path if path.is_file() else None


def fetch_checkpoint(spec: ModelSpec, timeout_s: float = _TIMEOUT_S) -> Path:
    """Return the file of a model's published weights; download it if torch has not yet.

    The file goes where torch itself would put it, so other programs share it.

    Args:
        spec: The model.
        timeout_s: How long to wait for the publisher to answer, and for each further part, in
            s. torch's own download has no such limit: without a network it can hang for minutes.

    Raises:
        WeightsError: The publisher does not answer, or sent something else.
    """
    from http.client import HTTPException

    if not spec.checkpoint:
        raise WeightsError(f"nothing is published for {spec.name}; give --weights random or a file")
    if path := cached_checkpoint(spec):
        return path
    path = _folder() / spec.checkpoint
    url = PUBLISHER + spec.checkpoint
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            _open(url, timeout_s) as answer,
            tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part") as part,
        ):
            digest = hashlib.sha256()
            while chunk := answer.read(_CHUNK_BYTES):
                digest.update(chunk)
                part.write(chunk)
            part.flush()
            _check(url, digest.hexdigest())
            # A link, then a rename: the temporary file keeps the name that it deletes itself by.
            complete = f"{part.name}.complete"
            try:
                os.link(part.name, complete)
            except OSError:  # a file system without links
                shutil.copyfile(part.name, complete)
            Path(complete).replace(path)
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        raise WeightsError(
            f"cannot fetch {url}: {cause}; put the file into {path.parent}, "
            "or choose random weights or a weights file"
        ) from error
    return path


def _folder() -> Path:
    """Return where torch.hub keeps checkpoints (the rules are those of `torch.hub.get_dir`)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    home = Path(os.environ.get("TORCH_HOME", cache / "torch"))
    return home.expanduser() / "hub" / "checkpoints"


def _open(url: str, timeout_s: float) -> IO[bytes]:
    """Open ``url`` within ``timeout_s``: looking up a name has no time limit of its own."""
    import urllib.request

    answers: queue.SimpleQueue[IO[bytes] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(cast("IO[bytes]", urllib.request.urlopen(url, timeout=timeout_s)))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _check(url: str, sha256: str) -> None:
    stated = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    if stated and not sha256.startswith(stated[1]):
        raise OSError(f"what came is damaged (SHA-256 {sha256[:8]}... instead of {stated[1]}...)")
