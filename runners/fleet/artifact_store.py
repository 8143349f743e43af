"""Artifacts on a machine of a fleet, by content: each file travels to a machine once."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from greenbatch.errors import ArtifactError
from greenbatch.files import draft, make_folder
from greenbatch.models.artifacts import Artifact, sha256
from greenbatch.names import check_name
from greenbatch.runners.fleet.messages import FileRef
from greenbatch.user_folders import cache_folder

CHUNK_BYTES = 4 << 20


def files_of(artifacts: Sequence[Artifact]) -> tuple[FileRef, ...]:
    """List the files of artifacts with their content's hash."""
    found: dict[str, FileRef] = {}
    for artifact in artifacts:
        paths = [artifact.path, artifact.manifest_path, artifact.weights_path, artifact.data_path]
        for path in filter(None, paths):
            if path.name not in found and path.is_file():
                found[path.name] = FileRef(path.name, sha256(path), path.stat().st_size)
    return tuple(found.values())


class ArtifactStore:
    """The files that this machine has, named by their hash, in the user's cache folder.

    A file is taken in under a temporary name and gets its own once its hash was checked.

    Args:
        folder: Where they are; by default ``artifacts`` in the user's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder("fleet-artifacts")

    def lacking(self, files: Sequence[FileRef], files_at: str = "") -> list[FileRef]:
        """Return the files that must be sent.

        Args:
            files: That are needed.
            files_at: The folder of the client; a file that is there too, and has the size, is
                copied from it.
        """
        return [
            file
            for file in files
            if not self._path(file).exists() and not self._copied(file, files_at)
        ]

    def add(self, file: FileRef, data: bytes, offset: int) -> None:
        """Take in a piece of a file; with the last one its hash is checked.

        Args:
            file: Which.
            data: The piece.
            offset: Where it belongs; pieces arrive in order.

        Raises:
            ArtifactError: The content has another hash.
        """
        part = self._path(file).with_suffix(f".{os.getpid()}.part")
        with part.open("r+b" if offset else "wb") as out:
            out.seek(offset)
            out.write(data)
        if offset + len(data) >= file.size_bytes:
            self._keep(file, part)

    def lay_out(self, files: Sequence[FileRef], folder: Path) -> None:
        """Put files into a folder under their own names.

        Raises:
            ArtifactError: One is not in the store.
        """
        make_folder(folder)
        for file in files:
            target = folder / check_name("file", file.name)
            if target.exists():
                continue
            source = self._path(file)
            if not source.exists():
                raise ArtifactError(f"{file.name} did not reach this machine; run the fleet again")
            with draft(target) as unfinished:
                unfinished.unlink(missing_ok=True)
                try:
                    os.link(source, unfinished)
                except OSError:  # another file system
                    shutil.copyfile(source, unfinished)

    def _copied(self, file: FileRef, files_at: str) -> bool:
        source = Path(files_at) / check_name("file", file.name)
        if not files_at or not source.is_file() or source.stat().st_size != file.size_bytes:
            return False
        part = self._path(file).with_suffix(f".{os.getpid()}.part")
        shutil.copyfile(source, part)
        try:
            self._keep(file, part)
        except ArtifactError:  # another file of that name and size
            return False
        return True

    def _keep(self, file: FileRef, part: Path) -> None:
        if (found := sha256(part)) != file.sha256:
            part.unlink()
            raise ArtifactError(
                f"{file.name} arrived with the hash {found[:12]}, wanted {file.sha256[:12]}; run "
                "the fleet again"
            )
        part.replace(self._path(file))

    def _path(self, file: FileRef) -> Path:
        return self._folder / check_name("file", file.sha256)
