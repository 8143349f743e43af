"""The check of language: what it finds, and what it leaves."""

import ast
from pathlib import Path

import pytest

from tools import prose

WORDS = prose.Words(
    phrases={r"\btold\b": "reported", r", as (?=\d)": "e.g."},
    names={"told": "reported"},
    kept=("told apart",),
    not_yet=("runners/",),
)
RULES = {"weasel_words": True}


def found_in(tmp_path: Path, name: str, text: str) -> list[str]:
    """Return what is found where a checkout has one file."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(prose.findings(tmp_path, WORDS, RULES))


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("README.md", "# Words\n\nIt is\ntold here.\n", 4),
        ("docs/page.md", "```sh\ntold\n```\n`told`\nGive a wait, as 5ms.\n", 5),
        ("docs/page.md", "# A heading\n\nIt is very good.\n", 3),
        ("exporter/module.py", '"""Told."""\n\nTEXT = f"was {1} told"\n', 3),
        ("exporter/module.py", "def told() -> None: ...\n", 1),
        ("exporter/module.py", "\n\nclass A:\n    _told: int\n", 4),
        ("models/page.html.j2", "<p>\ntold\n", 2),
        ("src/greenbatch/cli/command.py", 'option(\n    help="A very good option."\n)\n', 2),
    ],
)
def test_a_word_of_the_list_and_a_rule_of_proselint_are_found_with_the_line(
    tmp_path: Path, name: str, text: str, line: int
) -> None:
    (finding,) = found_in(tmp_path, name, text)
    assert finding.startswith(f"{name}:{line}: ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CHANGELOG.md", "It was told.\n"),
        ("docs/page.md", "The two are told apart by `told`.\n\n```sh\nvery told\n```\n"),
        ("runners/module.py", 'TEXT = "told"\n'),
        ("exporter/module.py", '"""What is told."""\n\nprint(told)\n'),
    ],
)
def test_code_what_is_kept_and_rooms_that_come_later_are_left(
    tmp_path: Path, name: str, text: str
) -> None:
    assert found_in(tmp_path, name, text) == []


def test_a_value_in_a_text_does_not_hide_its_words() -> None:
    tree = ast.parse('x = f"{name} was told of {other}"')
    assert [text.text for text in prose.strings_of(tree)] == ["X was told of X"]
