"""Folders of somebody else: modules in them leave a mark when they are imported."""

import os
import subprocess
import sys
from pathlib import Path

SHADOWING = (
    *("PIL", "filelock", "matplotlib", "netCDF4", "numpy", "onnx", "onnxruntime", "psutil"),
    *("pydantic", "random", "rich", "safetensors", "scipy", "torch", "torchvision", "typer"),
    *("xarray", "yaml"),
)
NETWORK = """
from torch import nn

def build():
    layers = [nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(32, 5)).eval()
"""


def plant(folder: Path, *modules: str, code: str = "") -> Path:
    """Write modules that leave their name in ``folder/PWNED`` when they are imported.

    Args:
        folder: Where.
        modules: Their names.
        code: What else they do.
    """
    for module in modules:
        mark = f"open({str(folder / 'PWNED')!r}, 'a').write('{module} ')\n"
        (folder / f"{module}.py").write_text(mark + code)
    return folder


def imported(folder: Path) -> str:
    """Name the planted modules that were imported."""
    mark = folder / "PWNED"
    return mark.read_text() if mark.exists() else ""


def gb_in(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the installed command, which does not look for modules in the current folder."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def command(*arguments: object) -> list[str]:
    """Return the command line of the installed command."""
    return [sys.executable, "-P", "-m", "greenbatch.cli", *map(str, arguments)]
