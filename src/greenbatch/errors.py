"""Every error that greenbatch raises on purpose.

    GreenbatchError
    ├── UsageError                invalid request                             exit 2
    │   ├── UnknownNameError      a name that is not in its registry
    │   ├── StudyError            a study that does not hold together
    │   └── RunError              a run directory that cannot be used
    │       └── JournalError      a journal that cannot be read
    ├── FileError                 a file cannot be read or written safely     exit 2
    ├── ArtifactError             an .onnx or its manifest is damaged         exit 2
    ├── ExportError               a network did not become a verified artifact
    │   └── ParityError           the artifact computes something else
    ├── WeightsError              weights cannot be had or do not fit
    ├── MissingPackage            an extra of greenbatch is not installed     exit 3
    └── MeasurementError          nothing can be measured                     exit 3
        ├── BackendUnavailable    the backend cannot run on this machine
        ├── PlacementError        the graph does not run where requested
        ├── UnsupportedCell       the backend cannot do this cell
        ├── MeterUnavailable      a requested meter cannot be read
        ├── FleetError            the machines of a fleet cannot be reached
        └── MessageError          a message between parent and child is not valid

A message is one sentence that says what is wrong, what was found, what was wanted and
what to do. Errors of other libraries are translated where they are caught, ``from`` them.
"""

from collections.abc import Iterable
from difflib import get_close_matches

_MOST_NAMES = 12
_LONGEST_LINE = 300


def first_line(error: BaseException | str) -> str:
    """Return the first line of an error that says something, as a clause: without its full stop.

    Args:
        error: As another library raised it, or its text.
    """
    lines = (line.strip() for line in str(error).splitlines())
    line = next((line for line in lines if line), type(error).__name__).rstrip(".:")
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."


class GreenbatchError(Exception):
    """Root of all deliberate errors; ``exit_code`` is what the command exits with."""

    exit_code = 2


class UsageError(GreenbatchError):
    """The request is invalid."""


class UnknownNameError(UsageError):
    """A name that is not in its registry.

    Attributes:
        got: The name.
    """

    def __init__(self, kind: str, got: str, known: Iterable[str]) -> None:
        self.got = got
        names = list(known)
        near = get_close_matches(got.lower(), names, n=1, cutoff=0.5)
        shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
        cure = f"did you mean {near[0]!r}?" if near else f"choose one of {shown}"
        super().__init__(f"unknown {kind} {got!r}; {cure}")


class StudyError(UsageError):
    """A study that does not hold together."""


class RunError(UsageError):
    """A run directory that does not fit the request."""


class JournalError(RunError):
    """A journal that cannot be read."""


class FileError(GreenbatchError):
    """A file cannot be read or written, or not safely."""


class ArtifactError(GreenbatchError):
    """An ``.onnx`` file or its manifest is damaged."""


class ExportError(GreenbatchError):
    """A network did not become a verified artifact."""

    exit_code = 3


class ParityError(ExportError):
    """The artifact computes something else than the network it came from."""


class WeightsError(GreenbatchError):
    """Weights cannot be had or do not fit the network."""


class MissingPackage(GreenbatchError):
    """A package that an extra of greenbatch brings is not installed."""

    exit_code = 3


class MeasurementError(GreenbatchError):
    """Nothing can be measured."""

    exit_code = 3


class BackendUnavailable(MeasurementError):
    """The backend cannot run on this machine."""


class PlacementError(MeasurementError):
    """The graph does not run where requested."""


class UnsupportedCell(MeasurementError):
    """The backend cannot do this cell."""


class MeterUnavailable(MeasurementError):
    """A requested meter cannot be read."""


class FleetError(MeasurementError):
    """The machines of a fleet cannot be reached, or none of them can measure the study."""


class MessageError(MeasurementError):
    """A message between parent and child is not valid."""
