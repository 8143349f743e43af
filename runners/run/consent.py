"""What a study makes this machine execute or contact, and whether the user agreed to it.

A study file or a run may come from somebody else. Code and addresses that it names are used only
if the user allows it, or began the run on this machine: the user's state folder keeps a note of
each such run.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath

from greenbatch.design.field_types import listed
from greenbatch.design.study import Study
from greenbatch.design.training_study import TrainingStudy
from greenbatch.errors import FileError, UsageError
from greenbatch.files import read_text, write_atomically
from greenbatch.models.sources.parse import runs_code
from greenbatch.records import Manifest
from greenbatch.runners import backends
from greenbatch.runners.metering import opening
from greenbatch.user_folders import state_folder

_NOTE_BYTES = 1000
_ENDS_LIKE_A_FILE = re.compile(r"\.[A-Za-z]\w*$")
_OWN = "greenbatch."


def code_of(study: Study | TrainingStudy | Mapping[str, object]) -> tuple[str, ...]:
    """Return what a study names that is imported or loaded when it runs, in words.

    Args:
        study: A design, or the members of a file that were not checked yet.
    """
    members = study if isinstance(study, Mapping) else study.model_dump()
    return tuple(dict.fromkeys(_named(members)))


def _named(members: Mapping[str, object]) -> Iterator[str]:
    for name, text in _mapping(members, "sources").items():
        if isinstance(text, str) and runs_code(text):
            yield f"the callable {text} (network {name})"
    for name in listed(members, "backends"):
        with contextlib.suppress(UsageError):
            if not backends.find(name).target.startswith(_OWN):
                yield f"the installed backend {name}"
    for name in listed(members, "meters"):
        if not opening.targets().get(name.partition(":")[0], _OWN).startswith(_OWN):
            yield f"the installed meter {name}"
    for name in opening.network_meters(listed(members, "meters")):
        yield f"the meter {name}, which sends requests to that address"
    for name, given in _mapping(members, "settings").items():
        for value in given if isinstance(given, list | tuple) else [given]:
            if _names_file(str(value)):
                yield f"the file {value} ({name})"


def _mapping(members: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = members.get(key)
    return found if isinstance(found, Mapping) else {}


def _names_file(value: str) -> bool:
    """Whether a setting names a file: runtimes load libraries and compiled engines by path."""
    return bool(_ENDS_LIKE_A_FILE.search(value)) or len(PureWindowsPath(value).parts) > 1


def require(
    study: Study | TrainingStudy,
    source: str,
    *,
    run: Path | None = None,
    members: Mapping[str, object] | None = None,
) -> None:
    """Refuse a study that names code, unless the user began its run on this machine.

    Args:
        study: The design.
        source: What to call it in the message.
        run: The run's directory, where the study is that of a run.
        members: What stands in the study's file, where the user changed some of it: what the user
            wrote needs no consent.

    Raises:
        UsageError: It names code, and the user neither began this run nor wrote the name.
    """
    code = code_of(study)
    if members is not None:
        in_file = code_of(members)
        code = tuple(each for each in code if each in in_file)
    if code and not (run and _began(run, study)):
        raise UsageError(
            f"{source} names what would run on this machine or be contacted from it: "
            f"{', '.join(code)}; look at it first, and if you trust it, add --trust (in Python: "
            "trust=True)"
        )


def remember(run: Path, study: Study | TrainingStudy) -> str | None:
    """Note that the user began a run, or trusts it; only where its study names code.

    Returns:
        Why no note could be made, if none could.
    """
    if not code_of(study):
        return None
    try:
        write_atomically(_note(run), _digest(study))
    except (FileError, OSError) as error:
        return f"{error}; to resume this run, add --trust"
    return None


def remember_export(artifacts_dir: Path, manifest: Manifest) -> None:
    """Note that the user exported an artifact here; only where its origin is code.

    Where no note can be made, the artifact's code is not run later unless it is named.
    """
    if runs_code(manifest.origin):
        with contextlib.suppress(FileError, OSError):
            write_atomically(_note(_artifact(artifacts_dir, manifest)), manifest.origin)


def exported_here(artifacts_dir: Path, manifest: Manifest) -> bool:
    """Whether the user exported an artifact of this origin on this machine."""
    try:
        noted = read_text(_note(_artifact(artifacts_dir, manifest)), _NOTE_BYTES)
    except (FileError, OSError):
        return False
    return noted == manifest.origin


def _artifact(artifacts_dir: Path, manifest: Manifest) -> Path:
    return artifacts_dir / f"{manifest.model}.origin"


def _began(run: Path, study: Study | TrainingStudy) -> bool:
    try:
        return read_text(_note(run), _NOTE_BYTES) == _digest(study)
    except (FileError, OSError):
        return False


def _note(run: Path) -> Path:
    place = hashlib.sha256(str(run.resolve()).encode("utf-8", "surrogateescape"))
    return state_folder("runs") / place.hexdigest()


def _digest(study: Study | TrainingStudy) -> str:
    return hashlib.sha256(json.dumps(code_of(study)).encode()).hexdigest()
