"""Count `Any` in the code of the package, where mypy sees nothing, and fail above a ceiling.

Counted is each use: in an annotation, in an alias, in a cast; imports are not.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

CEILING = 101
ROOT = Path(__file__).parents[1]
ROOMS = ("analysis", "exporter", "models", "runners", "src/greenbatch")


def uses(source: str) -> int:
    r"""Count the uses of `Any` in a module; those in quoted annotations too.

    >>> uses('from typing import Any, cast\\nx: dict[str, Any] = cast("list[Any]", y)')
    2
    """
    tree = ast.parse(source)
    names = sum(
        (isinstance(node, ast.Name) and node.id == "Any")
        or (isinstance(node, ast.Attribute) and node.attr == "Any")
        for node in ast.walk(tree)
    )
    quoted = {
        id(node): node.value
        for annotation in _annotations(tree)
        for node in ast.walk(annotation)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return names + sum(len(re.findall(r"\bAny\b", text)) for text in quoted.values())


def _annotations(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.returns
        elif isinstance(node, ast.Call) and node.args and ast.unparse(node.func) == "cast":
            yield node.args[0]


def main() -> int:
    """Print the count of each package; return 1 if all together are above the ceiling."""
    counts: Counter[str] = Counter()
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            counts[room] += uses(file.read_text(encoding="utf-8"))
    total = counts.total()
    print(*(f"{count:4d}  {room}" for room, count in sorted(counts.items())), sep="\n")
    print(f"{total:4d}  uses of Any in all; at most {CEILING} (tools/count_any.py)")
    return int(total > CEILING)


if __name__ == "__main__":
    sys.exit(main())
