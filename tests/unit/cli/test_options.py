"""How the values of options are read."""

import pytest

from greenbatch.cli.options import parse_bytes
from greenbatch.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [("12GiB", 12 << 30), ("12 GB", 12 * 10**9), ("0.5g", 5 * 10**8), ("6e9", 6 * 10**9)],
)
def test_sizes_of_memory_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "12XB", "0", "-3G", "1.2.3G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--memory .*12GiB"):
        parse_bytes(text)
