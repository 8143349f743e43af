"""Refuse a checkout without symbolic links in one sentence; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

for name in ("models", "exporter", "runners", "analysis"):
    link = Path(__file__).parent / "src" / "greenbatch" / name
    if not link.is_dir():
        raise SystemExit(
            f"{link} is not a folder but should be a link to ../../{name}: this checkout was made "
            "without symbolic links; enable them (on Windows: Developer Mode, then "
            "'git config core.symlinks true') and check out again"
        )

setup()
