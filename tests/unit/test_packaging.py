"""The wheel holds the real files of the four linked folders and works outside the checkout."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_bundled_plotly_is_the_one_that_is_named() -> None:
    assets = ROOT / "analysis/report/assets"
    found = hashlib.sha256((assets / "plotly-basic.min.js").read_bytes()).hexdigest()
    assert found in (assets / "README.md").read_text(encoding="utf-8")


def test_an_image_is_built_with_all_files_of_the_package() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    rooms = ("models", "exporter", "runners", "analysis")
    links = [link for room in rooms for link in (ROOT / room).rglob("*") if link.is_symlink()]
    assert links
    for link in links:
        target = link.resolve().relative_to(ROOT)
        left_out = False
        for rule in rules:
            if target.is_relative_to(rule.removeprefix("!")):
                left_out = not rule.startswith("!")
        assert not left_out, f"{link} leads to {target}, which .dockerignore leaves out"


def test_a_checkout_with_a_link_to_nowhere_is_not_built(tmp_path: Path) -> None:
    shutil.copy(ROOT / "setup.py", tmp_path)
    for room in ("models", "exporter", "runners", "analysis"):
        (tmp_path / "src/greenbatch" / room).mkdir(parents=True)
        (tmp_path / room).mkdir()
    (tmp_path / "analysis/glossary.md").symlink_to("../docs/glossary.md")
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "glossary.md should lead to a file of the package" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_wheel_built_from_the_sdist_works_outside_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert not any((site / name).exists() for name in ("models", "runners", "analysis"))
    for file in (
        "models/registry.py",
        "exporter/export.py",
        "runners/metering/sources/nvml.py",
        "analysis/report/assets/plotly-basic.min.js",
        "analysis/report/templates/report.html.j2",
        "design/presets/delrey.yaml",
        "py.typed",
    ):
        assert (site / "greenbatch" / file).is_file()
    code = (
        "import greenbatch.models.registry as r, greenbatch.cli as c; print(r.__file__);"
        "c.main(['models', '--json'])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
    ).stdout
    assert printed.startswith(str(site))
    assert "shufflenet_v2_x0_5" in printed


def test_an_archive_without_its_repository_has_a_version(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    printed = subprocess.run(
        [sys.executable, "-m", "setuptools_scm"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    assert printed == "0.1.0.dev0\n"


def test_versions_are_pinned_by_name_and_number_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    for pin in pins:
        name, _, version = pin.partition("==")
        assert name, pin
        assert version, pin
        assert "/" not in pin
