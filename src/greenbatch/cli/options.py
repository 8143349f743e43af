"""How options read: lists and ranges."""

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


def _wrong(text: str, part: str) -> UsageError:
    where = "" if part == text else f" (in {text!r})"
    return UsageError(
        f"batch size {part.strip()!r}{where} is not a whole number of 1 or more; "
        "write --batch-sizes 1,8,32 or 1..128 for the powers of two between"
    )
