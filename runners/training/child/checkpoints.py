"""Checkpoints of one training: files that are whole or not there, one for each epoch that ended.

The child writes one before it reports the epoch. The parent removes those that nothing needs any
more, when the epoch is in the journal: so that of the journal's last epoch is always there, however
far the child was ahead of it.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from greenbatch.files import draft, open_regular

if TYPE_CHECKING:
    import torch

    from greenbatch.runners.training.child.training_state import RandomState, SavedState

    class Position(TypedDict):
        """See `greenbatch.runners.training.child.progress.Progress`."""

        epochs: int
        frozen: bool
        best: float
        waited: int
        stale: int
        reductions: int

    class Checkpoint(SavedState):
        """What a file holds."""

        random: RandomState
        state: Position


KEPT = 2
_SUFFIX = ".pt"


def path_of(folder: Path, epochs: int) -> Path:
    """Return the file that stands behind so many epochs."""
    return folder / f"epoch-{epochs:06d}{_SUFFIX}"


def save(folder: Path, epochs: int, state: "Checkpoint") -> None:
    """Write the checkpoint behind so many epochs, and flush it to the disk."""
    import torch

    path = path_of(folder, epochs)
    with draft(path, durable=True) as unfinished, unfinished.open("wb") as file:
        torch.save(state, file)


def load(folder: Path, epochs: int, device: "torch.device") -> "tuple[int, Checkpoint | None, str]":
    """Read the latest checkpoint that stands behind no more than so many epochs.

    Args:
        folder: Of the training's checkpoints.
        epochs: That the journal holds.
        device: Where tensors are wanted.

    Returns:
        How many epochs it stands behind; what it holds; and a sentence, where it is not behind
        all of them. 0 and ``None`` where the training begins anew.
    """
    import torch

    failures = []
    for behind in range(epochs, max(0, epochs - KEPT), -1):
        path = path_of(folder, behind)
        try:
            with open_regular(path) as file:
                state = torch.load(file, map_location=device, weights_only=True)
        except Exception as error:  # whatever a damaged file makes of torch: an earlier one may do
            first = " ".join(str(error).split())[:200] or type(error).__name__
            failures.append(f"{path.name} cannot be read ({first})")
            continue
        return behind, state, _sentence(failures, f"it goes on behind epoch {behind}")
    return 0, None, _sentence(failures, "it begins anew")


def _sentence(failures: list[str], what: str) -> str:
    return f"{'; '.join(failures)}: {what}" if failures else ""


def prune(folder: Path, epochs: int) -> None:
    """Remove what nothing needs any more when the journal holds so many epochs."""
    oldest = path_of(folder, epochs - KEPT + 1).name
    for path in folder.glob(f"epoch-*{_SUFFIX}"):
        if path.name < oldest:
            path.unlink(missing_ok=True)


def drop_ahead(folder: Path, epochs: int) -> list[int]:
    """Remove checkpoints of epochs that never came into the journal; return behind which."""
    ahead = [
        path for path in sorted(folder.glob(f"epoch-*{_SUFFIX}")) if path > path_of(folder, epochs)
    ]
    for path in ahead:
        path.unlink(missing_ok=True)
    return [int(path.stem.partition("-")[2]) for path in ahead]


def remove(folder: Path) -> None:
    """Remove all of them; the training has ended."""
    shutil.rmtree(folder, ignore_errors=True)
