"""What backends compiled, kept across runs by all that it follows from.

An entry is a folder that is named by a digest of the cell, the contents of its artifact, the
threads, the versions of the runtimes, and the machine. It is copied when it is used and never
changed: two runs at a time do not disturb each other. Compiled code runs when it is loaded, so the
entries lie in the user's own cache folder, and nothing that comes with a run is read.
"""

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from greenbatch.design.study import Study
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.doctor import gpus, machine
from greenbatch.runners.host.cores import thread_count
from greenbatch.runners.run.environment import versions
from greenbatch.user_folders import cache_folder

FORGOTTEN_S = 30 * 24 * 3600.0
"""An entry that was not used for so long is removed."""
MOST_BYTES = 10 * 1024**3
"""Of more, the entries that were used longest ago are removed."""

_DRAFT = ".draft-"
_LEFT_S = 3600.0  # a draft takes seconds


class SharedCode:
    """The entries for the cells of a study on this machine.

    Args:
        study: Its threads count, and which networks are a user's own.
        folder: Where the entries are; by default in the user's cache folder.

    Raises:
        FileError: The cache folder belongs to another user, or others may write into it.
        OSError: It cannot be made.
    """

    def __init__(self, study: Study, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder("compiled-by-content")
        self._own = {*study.sources} - {*study.exported}
        here = machine.look()
        self._surroundings = {
            "node": platform.node(),
            "cpu": here.cpu or here.architecture,
            "gpus": [asdict(gpu) for gpu in gpus.look().devices],
            "threads": thread_count(study.threads),
            "versions": versions(),
        }
        self._clean()

    def take(self, cell: Cell, artifact: Artifact, into: Path) -> bool:
        """Copy what was compiled for a cell into its folder, which has nothing yet.

        Args:
            cell: That will be measured.
            artifact: Of it.
            into: A folder that exists.

        Returns:
            Whether there was an entry.
        """
        entry = self.entry(cell, artifact)
        if entry is None or not entry.is_dir() or any(into.iterdir()):
            return False
        os.utime(entry)
        shutil.copytree(entry, into, symlinks=True, dirs_exist_ok=True)
        return True

    def give(self, cell: Cell, artifact: Artifact, compiled: Path) -> None:
        """Keep what was compiled for a cell that was measured well; one that is there stays.

        Args:
            cell: That was measured.
            artifact: Of it.
            compiled: The folder with what its backend compiled; where it is empty nothing is kept.
        """
        entry = self.entry(cell, artifact)
        if entry is None or entry.exists() or not any(compiled.iterdir()):
            return
        draft = self._folder / f"{_DRAFT}{os.getpid()}-{entry.name}"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            shutil.copytree(compiled, draft, symlinks=True)
            draft.rename(entry)
        except OSError:  # a full disk, or another run was first: nothing depends on it
            shutil.rmtree(draft, ignore_errors=True)

    def forget(self, cell: Cell, artifact: Artifact) -> None:
        """Remove the entry of a cell that failed: it may be why."""
        if entry := self.entry(cell, artifact):
            shutil.rmtree(entry, ignore_errors=True)

    def entry(self, cell: Cell, artifact: Artifact) -> Path | None:
        """Return the folder of a cell's entry, which need not exist.

        Returns:
            ``None`` where nothing is kept: PyTorch compiles a user's own network from its code,
            whose contents are not known.
        """
        runtime = backends.find(cell.backend).runtime
        if cell.model in self._own and runtime.startswith("torch"):
            return None
        manifest = artifact.manifest
        contents = {
            "cell": cell.slug,
            "graph": [manifest.sha256, manifest.data_sha256, manifest.weights.sha256],
            **self._surroundings,
        }
        text = json.dumps(contents, sort_keys=True, default=str)
        return self._folder / hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def _clean(self) -> None:
        """Remove drafts of killed runs, what was not used for long, and what is too much."""
        now_s = time.time()
        kept: list[tuple[float, int, Path]] = []
        for each in self._folder.iterdir():
            with suppress(OSError):
                age_s = now_s - each.lstat().st_mtime
                left = each.name.startswith(_DRAFT) and age_s > _LEFT_S
                if left or age_s > FORGOTTEN_S:
                    shutil.rmtree(each, ignore_errors=True)
                elif not each.name.startswith(_DRAFT):
                    kept.append((age_s, _size(each.rglob("*")), each))
        total = 0
        for _, size, each in sorted(kept):
            total += size
            if total > MOST_BYTES:
                shutil.rmtree(each, ignore_errors=True)


def _size(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with suppress(OSError):
            total += path.lstat().st_size
    return total
