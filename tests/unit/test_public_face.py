"""What users import and type: pinned, and there at once."""

import subprocess
import sys

import pytest

import greenbatch
from greenbatch.cli.commands import COMMANDS

HELP = "from greenbatch.cli import main\ntry: main({})\nexcept SystemExit: pass"
HEAVY = (
    "pydantic rich torch torchvision onnx onnxruntime xarray pandas scipy matplotlib numpy pynvml"
)
MODULES = "-- modules:"
COMMAND_LINES = [[], *([name] for name in COMMANDS), ["study", "run"]]


def imported_by(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after ``code``."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('{MODULES}', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ran.stdout.partition(MODULES)[2].split())


def test_the_public_names_are_these() -> None:
    assert greenbatch.__all__ == [
        "GreenbatchError",
        "Measurement",
        "Meter",
        "Run",
        "__version__",
        "bench",
        "open",
        "report",
        "resume",
    ]
    for name in greenbatch.__all__:
        assert getattr(greenbatch, name)
    with pytest.raises(AttributeError, match="no attribute 'bnech'"):
        greenbatch.bnech  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import greenbatch",
        "import greenbatch.cli",
        *(HELP.format([*line, "--help"]) for line in COMMAND_LINES),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_used(code: str) -> None:
    assert imported_by(code).isdisjoint(HEAVY.split())


def test_the_list_of_commands_is_printed_without_typer() -> None:
    assert "typer" not in imported_by(HELP.format(["--help"]))


@pytest.mark.slow
def test_nothing_but_records_and_rules_is_imported_with_the_rooms() -> None:
    rooms = (
        "import greenbatch.analysis, greenbatch.exporter, greenbatch.design.presets"
        ", greenbatch.runners.known"
    )
    assert imported_by(rooms).isdisjoint(set(HEAVY.split()) - {"pydantic"})


def test_help_imports_no_command_and_few_modules() -> None:
    modules = imported_by(HELP.format("['--help']"))
    assert not modules & {f"greenbatch.cli.{name}" for name in COMMANDS}
    assert len(modules - imported_by("import typer")) < 20


def test_help_lists_every_command_with_the_first_line_of_its_own_help() -> None:
    for name, entry in COMMANDS.items():
        first, _, _ = entry.load(name).help.partition("\n\n")
        assert " ".join(first.split()) == entry.help
