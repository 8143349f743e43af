"""The code blocks of the documentation, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "examples/README.md",
    ROOT / "docs/examples/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_ENDS = {"|", "&&", ";", "&"}
_REDIRECTIONS = {">", ">>", "<"}


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        page: Its file.
        line: The line of its first fence.
        language: What the fence names; empty: nothing.
        code: What stands in it.
        reason: Why it is not run, from the comment above it.
    """

    page: Path
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        yield Block(page, line, match["language"], match["code"], match["reason"])


def commands_in(code: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell block, without redirections and prompts."""
    joined = re.sub(r"\\\n\s*", " ", code)
    prompts = any(line.startswith("$ ") for line in joined.splitlines())
    for line in joined.splitlines():
        if prompts and not line.startswith("$ "):
            continue  # what the command prints
        words: list[str] = []
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for word in lexer:
            if word in _REDIRECTIONS:
                next(lexer, None)  # the file
            elif word in _ENDS:
                yield words
                words = []
            else:
                words.append(word)
        yield words
