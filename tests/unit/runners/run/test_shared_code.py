"""Compiled code is kept across runs by its contents: what changed is compiled anew."""

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from greenbatch.design.study import Study, make_study
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Cell
from greenbatch.runners.run import shared_code
from greenbatch.runners.run.shared_code import SharedCode

CELL = Cell("alexnet", "openvino-cpu", batch_size=4)


def artifact(sha256: str = "a" * 64) -> Artifact:
    """Of which only the digests are read."""
    weights = SimpleNamespace(sha256="c" * 64)
    manifest = SimpleNamespace(sha256=sha256, data_sha256="", weights=weights)
    return cast("Artifact", SimpleNamespace(manifest=manifest))


def study(**members: object) -> Study:
    return make_study(
        {"models": ["alexnet"], "backends": ["openvino-cpu"], "batch_sizes": [4], **members}
    )


def filled(folder: Path, text: str = "kernel") -> Path:
    folder.mkdir()
    (folder / "a.blob").write_text(text)
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_what_one_run_compiled_another_one_loads(tmp_path: Path) -> None:
    store = empty(tmp_path / "store")
    SharedCode(study(), store).give(CELL, artifact(), filled(tmp_path / "first"))
    later = SharedCode(study(repetitions=9), store)
    into = empty(tmp_path / "second")
    assert later.take(CELL, artifact(), into)
    assert (into / "a.blob").read_text() == "kernel"
    (into / "a.blob").write_text("changed by the run")
    other = empty(tmp_path / "third")
    assert later.take(CELL, artifact(), other)
    assert (other / "a.blob").read_text() == "kernel"


@pytest.mark.parametrize(
    ("cell", "graph", "members"),
    [
        (replace(CELL, batch_size=8), artifact(), {}),
        (replace(CELL, precision="fp16"), artifact(), {}),
        (replace(CELL, settings=(("num_streams", "2"),)), artifact(), {}),
        (CELL, artifact("b" * 64), {}),
        (CELL, artifact(), {"threads": 1}),
    ],
)
def test_anything_else_is_compiled_anew(
    tmp_path: Path, cell: Cell, graph: Artifact, members: dict[str, object]
) -> None:
    store = empty(tmp_path / "store")
    SharedCode(study(threads=2), store).give(CELL, artifact(), filled(tmp_path / "first"))
    later = SharedCode(study(**{"threads": 2, **members}), store)
    assert not later.take(cell, graph, empty(tmp_path / "second"))


@pytest.mark.slow
def test_another_version_or_machine_is_compiled_for_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = empty(tmp_path / "store")
    SharedCode(study(), store).give(CELL, artifact(), filled(tmp_path / "first"))
    into = empty(tmp_path / "second")
    with monkeypatch.context() as patch:
        patch.setattr(shared_code, "versions", lambda: {"openvino": "0.1"})
        assert not SharedCode(study(), store).take(CELL, artifact(), into)
    with monkeypatch.context() as patch:
        patch.setattr("platform.node", lambda: "elsewhere")
        assert not SharedCode(study(), store).take(CELL, artifact(), into)
    assert SharedCode(study(), store).take(CELL, artifact(), into)


def test_what_a_run_has_compiled_itself_is_not_replaced(tmp_path: Path) -> None:
    store = empty(tmp_path / "store")
    code = SharedCode(study(), store)
    code.give(CELL, artifact(), filled(tmp_path / "first"))
    own = filled(tmp_path / "second", "own")
    assert not code.take(CELL, artifact(), own)
    code.give(CELL, artifact(), own)
    into = empty(tmp_path / "third")
    assert code.take(CELL, artifact(), into)
    assert (into / "a.blob").read_text() == "kernel"
    code.forget(CELL, artifact())
    assert not code.take(CELL, artifact(), empty(tmp_path / "fourth"))


def test_nothing_is_kept_where_nothing_was_compiled(tmp_path: Path) -> None:
    store = empty(tmp_path / "store")
    SharedCode(study(), store).give(CELL, artifact(), empty(tmp_path / "first"))
    assert list(store.iterdir()) == []


def test_networks_whose_code_is_not_known_are_compiled_in_each_run(tmp_path: Path) -> None:
    members: dict[str, object] = {"models": ["own"], "sources": {"own": "mypkg.nets:build"}}
    members |= {
        "batch_sizes": [4],
        "inputs": {"own": ["3x8x8"]},
        "backends": ["torch-compile-cpu", "openvino-cpu"],
    }
    code = SharedCode(make_study(members), empty(tmp_path / "store"))
    assert code.entry(Cell("own", "torch-compile-cpu"), artifact()) is None
    assert code.entry(Cell("own", "openvino-cpu"), artifact()) is not None


@pytest.mark.slow
def test_entries_that_nobody_uses_and_drafts_of_killed_runs_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = empty(tmp_path / "store")
    ages_s = {"new": 0.0, "used": 86_400.0, "old": 40 * 86_400.0, ".draft-1-x": 7_200.0}
    for name, age_s in ages_s.items():
        path = filled(store / name, "x" * 60)
        os.utime(path, (time.time() - age_s,) * 2)
    SharedCode(study(), store)
    assert {path.name for path in store.iterdir()} == {"new", "used"}
    monkeypatch.setattr(shared_code, "MOST_BYTES", 100)
    SharedCode(study(), store)
    assert {path.name for path in store.iterdir()} == {"new"}
