"""Figures for print: which there are, by name."""

from pathlib import Path

import pytest

from greenbatch.analysis.report.figures import figures


def test_the_names_of_figures_are_those_that_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(figures, "save_figures", lambda makers, _: written.extend(makers))
    figures.write_figures([], tmp_path)
    assert written == [*figures.FIGURES]


def test_figures_of_an_earlier_report_are_removed_and_others_stay(tmp_path: Path) -> None:
    for name in ("energy.svg", "energy.pdf", "timeline.png", "own.svg", "energy.txt"):
        (tmp_path / name).touch()
    figures.remove_figures(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["energy.txt", "own.svg"]
