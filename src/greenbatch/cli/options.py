"""How options read: lists, ranges and settings."""

from collections.abc import Sequence

from greenbatch.errors import UsageError


def batch_sizes(text: str) -> list[int]:
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


def rates(text: str) -> list[float]:
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
                f"rate {part.strip()!r} is not a number above 0; write requests per second, as "
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


def settings(plain: Sequence[str], of_providers: Sequence[str]) -> dict[str, list[str]]:
    """Read what is set on backends.

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
                raise UsageError(f"{option} {where!r} names no backend; write it as {example}")
            key = f"{owner}.{name}" if option == "--set" else f"onnxruntime-{owner}.provider.{name}"
            if key in found:
                raise UsageError(f"{key} is set twice; give all its values at once, as {example}")
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
            raise UsageError(f"{option} {text!r} cannot be read; write it as {example}")
        if name in found:
            raise UsageError(f"{name} is set twice; give all its values at once, as {example}")
        found[name] = values
    return found
