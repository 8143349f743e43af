"""The benchmark's run of settings: the grid has a place for each repetition, and no more."""

from pathlib import Path

from benchmarks.large_compile import write_settings_run
from greenbatch.analysis import tidy
from greenbatch.analysis.dataset.labels import require_room
from greenbatch.analysis.dataset.run_files import read_study
from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.design.recorded import RecordedStudy


def test_the_grid_has_a_place_for_each_repetition_of_the_design(tmp_path: Path) -> None:
    write_settings_run(tmp_path, models=2, sizes=2, levels=(4, 3), repetitions=2)
    study = read_study(tmp_path)
    assert isinstance(study, RecordedStudy)
    assert len(study.settings) == 8
    require_room(study)
    dataset = compile_dataset(tmp_path)
    repetitions = 2 * (2**4 + 2**3) * 2 * 2
    assert dataset["status"].size == repetitions
    assert (dataset["status"] == 0).all()
    assert len(tidy(dataset)) == repetitions
