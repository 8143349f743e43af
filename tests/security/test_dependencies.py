"""What may be installed has no fault by which a stranger's file does harm."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("package", "mended"),
    [
        ("filelock", (3, 20, 3)),  # CVE-2025-68146, CVE-2026-22701: a link at the lock is followed
        ("onnx", (1, 21)),  # CVE-2026-27489: links of external data are followed
        ("pillow", (13, 0)),  # CVE-2026-112403: a crafted JPEG writes outside of memory
    ],
)
def test_a_version_with_a_known_hole_is_not_accepted(package: str, mended: tuple[int, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    (floor,) = (
        found[1]
        for text in (*project["dependencies"], *(text for extra in extras for text in extra))
        if (found := re.match(rf"{package}>=(.+)", text))
    )
    assert tuple(map(int, floor.split("."))) >= mended
