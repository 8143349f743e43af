"""What users import and type: pinned, and there at once."""

import subprocess
import sys

import pytest

import greenbatch

HEAVY = "torch torchvision onnx onnxruntime xarray pandas scipy matplotlib numpy pynvml"


def imported_by(code: str) -> set[str]:
    """Return the heavy packages that a fresh interpreter has loaded after ``code``."""
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(HEAVY.split()) & set(told.stdout.split())


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
        "from greenbatch.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "import greenbatch.analysis, greenbatch.exporter, greenbatch.design.presets",
        "import greenbatch.runners.known",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_used(code: str) -> None:
    assert imported_by(code) == set()
