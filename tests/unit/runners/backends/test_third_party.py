"""The example of a backend of one's own, which docs/backends.md shows."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from greenbatch.errors import StudyError
from greenbatch.runners.backends import BACKENDS, third_party
from greenbatch.runners.backends import spec as spec_module

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "backends.md").read_text()


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, owner: str, points: Mapping[str, str]
) -> None:
    """Put a distribution with these backends on the path."""
    info = folder / f"{owner}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {owner}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{third_party.GROUP}]", *lines]) + "\n")
    monkeypatch.syspath_prepend(folder)


def page_example() -> tuple[str, str, str]:
    """Return the code of the example, and the name and value of its entry point."""
    folder = ROOT / "examples" / "reference-backend"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"][third_party.GROUP].items()
    return (folder / "reference_backend.py").read_text(), name, value


def test_the_page_shows_the_example_as_it_is() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (table,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    points = tomllib.loads(table)["project"]["entry-points"][third_party.GROUP]
    example, name, value = page_example()
    assert (code, points) == (example, {name: value})


def test_the_pages_example_has_thirty_lines_of_code_at_most() -> None:
    code, _, _ = page_example()
    assert len([line for line in code.splitlines() if line]) <= 30


def test_a_distribution_adds_a_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, name, value = page_example()
    install(tmp_path, monkeypatch, "reference", {name: value})
    assert third_party.discover() == {
        name: spec_module.BackendSpec("reference-cpu", "reference", "cpu", "cpu", value)
    }


def test_a_runtime_may_have_hyphens_and_a_provider_names_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "mine", {"my-run-time-cuda": "mine:Backend"})
    (spec,) = third_party.discover().values()
    assert (spec.runtime, spec.provider, spec.device) == ("my-run-time", "cuda", "cuda")


def test_the_class_is_not_imported_to_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exploding.py").write_text("raise RuntimeError('imported')\n")
    install(tmp_path, monkeypatch, "exploding", {"exploding-cpu": "exploding:Backend"})
    assert "exploding-cpu" in third_party.discover()


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("mine", "mine:Backend", r"of broken has the name 'mine'; wanted RUNTIME-PROVIDER"),
        ("-cpu", "mine:Backend", "has the name '-cpu'"),
        ("Mine-CPU", "mine:Backend", "has the name 'Mine-CPU'"),
        ("mine-cpu", "mine", r"of broken has the value 'mine'; wanted module:Class"),
    ],
)
def test_a_malformed_entry_is_refused_by_the_name_of_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, wanted: str
) -> None:
    install(tmp_path, monkeypatch, "broken", {name: value})
    with pytest.raises(StudyError, match=wanted):
        third_party.discover()


def test_two_distributions_cannot_bring_the_same_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner in ("first", "second"):
        install(tmp_path / owner, monkeypatch, owner, {"mine-cpu": "mine:Backend"})
    with pytest.raises(StudyError, match=r"'mine-cpu' of (first|second) is one of (first|second)"):
        third_party.discover()


def test_a_distribution_cannot_replace_a_backend_that_is_built_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "bold", {"torch-cpu": "bold:Backend"})
    with pytest.raises(StudyError, match="'torch-cpu' of bold is one of greenbatch too"):
        third_party.discover(BACKENDS)


def test_the_page_lists_every_backend_with_what_it_needs() -> None:
    listed = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.MULTILINE))
    others = {name for name in BACKENDS if name.startswith("onnxruntime-")}
    assert BACKENDS.keys() - others <= listed
    assert listed <= BACKENDS.keys()
