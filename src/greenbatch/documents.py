"""Read YAML and JSON that others wrote: plain values alone, within limits of size and depth.

A few hundred bytes of YAML can name billions of values by aliases, and brackets that are nested
deeply end the interpreter's stack. Both are refused before anything is made of them.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from greenbatch.errors import first_line

if TYPE_CHECKING:
    import yaml

LARGEST_YAML_BYTES = 1_000_000
DEEPEST = 50
"""Levels of lists and mappings, one inside another."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LONGEST_NUMBER = 400  # digits; the largest float has 309

Place: TypeAlias = tuple[str | int, ...]
"""The path to a value: keys of mappings and positions in lists."""


class DocumentError(ValueError):
    """A text that is not the YAML or JSON that is read here.

    Attributes:
        problem: What is wrong, as a phrase.
        line: Where, from 1; ``None`` where no line is known.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.problem = problem
        self.line = line


def parse_yaml(text: str | bytes) -> Any:
    """Read YAML: mappings, lists and plain values, without anchors and aliases.

    Raises:
        DocumentError: It is no such YAML, or larger or deeper than the limits.
    """
    return _load(text)[0]


def parse_yaml_lines(text: str | bytes) -> tuple[Any, Mapping[Place, int]]:
    """Read YAML as `parse_yaml` does, and at which line each value stands, from 1.

    Raises:
        DocumentError: It is no such YAML, or larger or deeper than the limits.
    """
    value, node = _load(text)
    lines: dict[Place, int] = {}
    if node is not None:
        _note_lines(node, (), lines)
    return value, lines


def write_yaml(members: Mapping[str, Any]) -> str:
    """Write YAML that `parse_yaml` reads: what is used twice is written twice."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(
        dict(members), Dumper=Dumper, sort_keys=False, default_flow_style=None, width=96
    )


def parse_json(text: str | bytes, deepest: int = DEEPEST) -> Any:
    """Read JSON.

    Args:
        text: The document.
        deepest: The most levels of lists and objects.

    Raises:
        ValueError: It is no JSON, or nested more deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise DocumentError(_too_deep(deepest)) from None
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        if (depth := depth + 1) > deepest:
            raise DocumentError(_too_deep(deepest))
        level = [
            inner for each in level for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return value


def _too_deep(deepest: int) -> str:
    return f"it is nested more than {deepest} levels deep"


def _load(text: str | bytes) -> tuple[Any, "yaml.Node | None"]:
    import yaml

    if len(text) > LARGEST_YAML_BYTES:
        raise DocumentError(
            f"it is larger than {LARGEST_YAML_BYTES / 1e6:g} MB, the most that is read"
        )
    try:
        loader = _loader_type()(text.decode("utf-8") if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise DocumentError(f"byte {error.start} is not UTF-8") from error
    except yaml.YAMLError as error:
        raise _fault(error) from error
    try:
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _fault(error) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # A tag on what is none, as !!timestamp x; or a date that does not exist.
        raise DocumentError(f"it has a value that cannot be read ({error})") from error
    finally:
        loader.dispose()
    return value, node


def _fault(error: "yaml.YAMLError") -> DocumentError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or first_line(error)
    return DocumentError(problem, mark.line + 1 if mark else None)


def _loader_type() -> "type[yaml.SafeLoader]":
    """Return the loader; made on first use, as YAML is not imported before."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Composes no aliases, and nothing below the deepest level."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            if getattr(event, "anchor", None) is not None:
                raise yaml.composer.ComposerError(
                    problem="anchors (&) and aliases (*) are not read; write the value out",
                    problem_mark=event.start_mark,
                )
            if self.depth > DEEPEST:
                raise yaml.composer.ComposerError(
                    problem=_too_deep(DEEPEST), problem_mark=event.start_mark
                )
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            assert node is not None
            if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
                raise yaml.composer.ComposerError(
                    problem=f"a number has {len(node.value)} characters",
                    problem_mark=node.start_mark,
                )
            return node

    return Loader


def _note_lines(node: "yaml.Node", place: Place, lines: dict[Place, int]) -> None:
    import yaml

    if place:
        lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            lines[inner] = key.start_mark.line + 1
            _note_lines(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _note_lines(value, (*place, number), lines)
