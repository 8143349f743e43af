"""What several commands share of their options: the declarations, and how values are read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from greenbatch.errors import UsageError

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def by_comma(values: list[str] | None) -> list[str] | None:
    """Split the values of a repeatable option at their commas.

    Each is given on, one that is empty too: it is not the default.

    >>> by_comma(["fp32, int8", "bf16"])
    ['fp32', 'int8', 'bf16']
    """
    if values is None:
        return None
    return [word.strip() for value in values for word in value.split(",")]


def parse_bytes(text: str) -> int:
    """Read the size that ``--memory`` gives, in bytes.

    ``12GiB`` is by powers of 1024; ``12GB``, ``12G`` and ``12e9`` are by powers of 1000.

    Raises:
        UsageError: It is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?) *([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    size = 0
    if match:
        size = int(float(match[1]) * (1024 if match[3] else 1000) ** _UNITS[match[2].upper()])
    if size < 1:
        raise UsageError(f"--memory {text!r} is not a size; write e.g. 12GiB")
    return size


AllowDifference = Annotated[
    list[str] | None,
    typer.Option(
        help="Go on even if these facts differ, e.g. artifact,threads or version.torch. Repeatable."
    ),
]
Artifacts = Annotated[Path, typer.Option(help="Folder of exported artifacts.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
CpuTdp = Annotated[
    float | None,
    typer.Option(
        help="Maximum power of the available cores in W. The estimate of CPU energy uses it."
    ),
]
Meters = Annotated[
    list[str] | None,
    typer.Option(
        help="Energy meter: auto, none or a name that 'gb doctor' lists. Repeatable. Default: auto."
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder of the new run. Default: runs/<date and time>.")
]
Resume = Annotated[
    Path | None, typer.Option(help="Resume the run in this folder; same as 'gb resume'.")
]
OnBusy = Annotated[
    str | None,
    typer.Option(
        help="What to do with a machine that does not become quiet: measure (repetitions are "
        "flagged) or refuse. Default: measure."
    ),
]
ShareMachine = Annotated[
    bool,
    typer.Option(
        "--share-machine",
        help="Measure even if another run is active on this machine. Repetitions that "
        "overlap with it are flagged as disturbed.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(help="Number of threads of CPU backends. Default: the number of available cores."),
]
ThreadsOfCells = Annotated[
    str | None,
    typer.Option(
        metavar="N1,N2",
        help="Number of threads of CPU backends, e.g. 1,2. Each number is measured. Default: the "
        "number of available cores.",
    ),
]
TrainImages = Annotated[
    int | None,
    typer.Option(
        help="Maximum number of training images, balanced over the classes. Default: all."
    ),
]
ValidationImages = Annotated[
    int | None, typer.Option(help="Maximum number of validation images. Default: all.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the code that a study or run from another user names: callables, "
        "installed backends and meters, files in settings.",
    ),
]
WaitMachine = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="How long to wait if another run is active on this machine, e.g. 30m. Default: 0, "
        "which refuses to measure beside it.",
    ),
]
WaitQuiet = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="How long to wait before the first cell until nothing else loads the machine, "
        "e.g. 5m; 0 for no wait. Default: 1m; 5m with the profile rigorous; 0 with the profile "
        "quick.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="Weights: auto, pretrained, random or a .safetensors or .pth file."),
]


def parse_wait(text: str | None, option: str = "--wait-machine") -> float:
    """Read a time to wait, in s: ``30m``; ``None`` is no time.

    Raises:
        UsageError: It is no time.
    """
    if text is None:
        return 0.0
    from pydantic import TypeAdapter, ValidationError

    from greenbatch.design.field_types import Wait

    try:
        return float(TypeAdapter(Wait).validate_python(text))
    except ValidationError as error:
        raise UsageError(f"{option} is {text!r}; write a time, e.g. 30m, or 0") from error


def parse_batch_sizes(text: str) -> list[int]:
    """Read ``1,8,32``, or ``1..128``: the powers of two from 1 to 128.

    Raises:
        UsageError: It is neither.
    """
    sizes: list[int] = []
    for part in text.split(","):
        low, dots, high = part.strip().partition("..")
        try:
            ends = [int(end) for end in ((low, high) if dots else (low,))]
        except ValueError:
            raise _wrong(text, part) from None
        if ends[0] < 1 or ends[-1] < ends[0]:
            raise _wrong(text, part)
        size = ends[0]
        while size <= ends[-1]:
            sizes.append(size)
            size *= 2
    return list(dict.fromkeys(sizes))


def parse_threads(text: str) -> list[int]:
    """Read ``4`` or ``1,2,4``.

    Raises:
        UsageError: One is not a whole number; 0 stands for the available cores, alone.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not part.isdecimal() or (int(part) == 0 and len(parts) > 1):
            raise UsageError(
                f"threads {part!r} is not a whole number of 1 or more; write --threads 4, or "
                "--threads 1,2 to measure both"
            )
    return [int(part) for part in parts]


def parse_rates(text: str) -> list[float]:
    """Read ``50,100``.

    Raises:
        UsageError: One is not a number above 0.
    """
    found = []
    for part in text.split(","):
        try:
            rate = float(part)
        except ValueError:
            rate = 0.0
        if not 0 < rate < float("inf"):
            raise UsageError(
                f"rate {part.strip()!r} is not a number above 0; write requests/s, e.g. "
                "--rate 50,100"
            )
        found.append(rate)
    return found


def _wrong(text: str, part: str) -> UsageError:
    where = "" if part == text else f" (in {text!r})"
    return UsageError(
        f"batch size {part.strip()!r}{where} is not a whole number of 1 or more; "
        "write --batch-sizes 1,8,32 or 1..128 for the powers of two between"
    )


def parse_settings(plain: Sequence[str], of_providers: Sequence[str]) -> dict[str, list[str]]:
    """Read the settings of backends.

    Args:
        plain: ``BACKEND.NAME=V1,V2``, each.
        of_providers: ``PROVIDER.NAME=V1,V2``, each, for ONNX Runtime's provider.

    Returns:
        Values by ``BACKEND.NAME``.

    Raises:
        UsageError: One is not written so, or a setting is given twice.
    """
    found: dict[str, list[str]] = {}
    for option, texts, example in (
        ("--set", plain, "onnxruntime-cpu.allow_spinning=0,1"),
        ("--provider-option", of_providers, "cuda.cudnn_conv_algo_search=HEURISTIC"),
    ):
        for where, values in named_values(texts, option, example).items():
            owner, _, name = where.partition(".")
            if not (owner and name):
                raise UsageError(f"{option} {where!r} names no backend; write e.g. {example}")
            key = f"{owner}.{name}" if option == "--set" else f"onnxruntime-{owner}.provider.{name}"
            if key in found:
                raise UsageError(f"{key} is set twice; give all its values at once, e.g. {example}")
            found[key] = values
    return found


def named_values(texts: Sequence[str], option: str, example: str) -> dict[str, list[str]]:
    """Read ``NAME=V1,V2``, each name once.

    Args:
        texts: As given to the option.
        option, example: For the message where one is not written so.

    Raises:
        UsageError: A name or a value is empty, or a name is given twice.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, _, rest = (part.strip() for part in text.partition("="))
        values = [value.strip() for value in rest.split(",")]
        if not (name and all(values)):
            raise UsageError(f"{option} {text!r} cannot be read; write e.g. {example}")
        if name in found:
            raise UsageError(f"{name} is set twice; give all its values at once, e.g. {example}")
        found[name] = values
    return found


def names_in(values: Sequence[str] | None) -> tuple[str, ...]:
    """Read the names of an option that is repeatable and takes lists, each name once.

    >>> names_in(["threads,spinning", "threads"])
    ('threads', 'spinning')
    """
    names = (name.strip() for value in values or () for name in value.split(","))
    return tuple(dict.fromkeys(filter(None, names)))
