"""What counts as a use of `Any`."""

import pytest

from tools.count_any import uses


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from typing import Any", 0),
        ("x: dict[str, Any]", 1),
        ("import typing\nx: typing.Any", 1),
        ("def f(a: Any, *b: Any) -> list[Any]: ...", 3),
        ("def f(a: 'Any') -> 'dict[Any, Any]': ...", 3),
        ("x = cast('dict[str, Any]', y)", 1),
        ("Alias = dict[str, Any]", 1),
        ('def f() -> None:\n    """Any of them."""\n    raise Error("Any")', 0),
        ("Anything = 1", 0),
    ],
)
def test_uses_in_types_are_counted_and_words_are_not(source: str, count: int) -> None:
    assert uses(source) == count
