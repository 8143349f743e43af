"""A run directory is read as it was when the reading began."""

from pathlib import Path

import pytest

from greenbatch.analysis.dataset import run_files
from greenbatch.records import Journal
from tests.fakes.runs import realistic_run


def test_a_dataset_is_not_up_to_date_with_a_journal_that_grew_while_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = realistic_run(tmp_path / "run", blocks=1)
    before = run_files.digest(run)
    read = run_files._journal

    def read_and_grow(path: Path) -> Journal:
        journal = read(path)
        with path.open("ab") as file:
            file.write(b"another line")
        return journal

    monkeypatch.setattr(run_files, "_journal", read_and_grow)
    assert run_files.read_run(run).digest == before
    assert run_files.digest(run) != before
