"""Check the language of the project; print what is found, and exit 1 if that is anything.

proselint reads docs and help texts, by the rules that ``proselint.json`` switches on. The words of
``words.toml`` are searched in docs, templates, string literals of package code, and names.
"""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proselint.checks import __register__ as rules
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

HERE = Path(__file__).parent
ROOT = HERE.parent
PACKAGE = ("src/greenbatch", "exporter", "models", "runners", "analysis")
DOCS = ("*.md", "docs/*.md", "docs/examples/README.md", "analysis/report/assets/*.md")
NOT_READ = ("CHANGELOG.md",)  # what was written at the time of a release stays so
TEMPLATES = {".j2", ".js", ".yaml"}
_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`]+`|\]\([^)\s]+\)")

CheckRegistry().register_many(rules)


@dataclass(frozen=True)
class Text:
    """A text, and the line of its file that it begins on."""

    line: int
    text: str


@dataclass(frozen=True)
class Words:
    """The word list: what is not used, and what is used instead.

    Attributes:
        phrases: Regular expressions of texts.
        names: Names in code, without leading or trailing underscores.
        kept: Texts in which no phrase is searched.
        not_yet: Folders in which nothing is searched.
    """

    phrases: dict[str, str]
    names: dict[str, str]
    kept: tuple[str, ...] = ()
    not_yet: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path = HERE / "words.toml") -> "Words":
        """Read the list from a file."""
        found = tomllib.loads(path.read_text())
        return cls(found["phrases"], found["names"], tuple(found["kept"]), tuple(found["not_yet"]))

    def in_text(self, text: Text) -> Iterator[str]:
        """Yield each phrase of the list that stands in a text, with its line."""
        searched = text.text
        for kept in self.kept:
            searched = searched.replace(kept, " " * len(kept))
        for pattern, instead in self.phrases.items():
            for match in re.finditer(pattern, searched, re.IGNORECASE):
                line = text.line + searched.count("\n", 0, match.start())
                yield f"{line}: {match.group().strip(' ,(')!r}; write: {instead}"

    def in_names(self, tree: ast.Module) -> Iterator[str]:
        """Yield each name of the list that a module defines, with its line."""
        for line, name in _defined(tree):
            if instead := self.names.get(name.strip("_")):
                yield f"{line}: the name {name!r}; write: {instead}"


def prose_of(page: str) -> str:
    """Return a page of Markdown, its code as backticks alone; each line stays where it was."""
    prose = _BLOCK.sub(lambda block: "\n" * block.group().count("\n"), page)
    return _CODE.sub(lambda code: re.sub(r"\S", "`", code.group()), prose)


def strings_of(tree: ast.Module) -> Iterator[Text]:
    """Yield the string literals of a module without docstrings; ``X`` is a value in an f-string."""
    seen: set[int] = set()
    for node in ast.walk(tree):  # a parent comes before its children
        if isinstance(node, ast.Expr):
            seen.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            seen.update(map(id, node.values))
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield Text(node.lineno, "".join(map(str, parts)))
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen
        ):
            yield Text(node.lineno, node.value)


def help_of(tree: ast.Module) -> Iterator[Text]:
    """Yield the help texts of a module of commands: of the options, and of the commands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "help":
            if isinstance(node.value, ast.Constant):
                yield Text(node.value.lineno, str(node.value.value))
        elif isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield Text(node.body[0].lineno, text)


def _defined(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def lint(text: Text, checks: dict[str, bool]) -> Iterator[str]:
    """Yield what proselint finds in the paragraphs of a text, with the line of each."""
    for paragraph in re.finditer(r"(?:.+\n?)+", text.text):
        begin = text.line + text.text.count("\n", 0, paragraph.start())
        for found in LintFile("text", paragraph.group()).lint({"max_errors": 99, "checks": checks}):
            line = begin + found.pos[0] - 1  # its first line is an empty one of its own
            yield f"{line}: {found.check_result.message} ({found.check_result.check_path})"


def findings(root: Path, words: Words, checks: dict[str, bool]) -> Iterator[str]:
    """Yield what is found below a folder, as ``file:line: what``."""
    for path in sorted(path for pattern in DOCS for path in root.glob(pattern)):
        page = Text(1, prose_of(path.read_text()))
        if path.name not in NOT_READ:
            yield from (f"{path.relative_to(root)}:{one}" for one in words.in_text(page))
            yield from (f"{path.relative_to(root)}:{one}" for one in lint(page, checks))
    for path in sorted(path for folder in PACKAGE for path in (root / folder).rglob("*.*")):
        name = str(path.relative_to(root))
        if name.startswith(words.not_yet):
            continue
        if path.suffix in TEMPLATES:
            yield from (f"{name}:{one}" for one in words.in_text(Text(1, path.read_text())))
        elif path.suffix == ".py":
            tree = ast.parse(path.read_text())
            yield from (f"{name}:{one}" for one in words.in_names(tree))
            for text in strings_of(tree):
                yield from (f"{name}:{one}" for one in words.in_text(text))
            if path.parent.name == "cli":
                for text in help_of(tree):
                    yield from (f"{name}:{one}" for one in lint(text, checks))


def main() -> int:
    """Check this checkout."""
    checks = json.loads((HERE / "proselint.json").read_text())["checks"]
    found = list(findings(ROOT, Words.read(), checks))
    for one in found:
        print(one)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
