"""Refuse a checkout whose links lead nowhere in one sentence; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
ROOMS = ("models", "exporter", "runners", "analysis")

for name in ROOMS:
    link = ROOT / "src" / "greenbatch" / name
    if not link.is_dir():
        raise SystemExit(
            f"{link} is not a folder but should be a link to ../../{name}: this checkout was made "
            "without symbolic links; enable them (on Windows: Developer Mode, then "
            "'git config core.symlinks true') and check out again"
        )

for room in ROOMS:
    for link in (ROOT / room).rglob("*"):
        if link.is_symlink() and not link.exists():
            raise SystemExit(
                f"{link} should lead to a file of the package, but {link.readlink()} is not there: "
                "the checkout is not complete; copy the missing file, or clone again"
            )

setup()
