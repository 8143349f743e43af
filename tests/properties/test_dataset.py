"""Properties of the dataset that hold for any journal."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenbatch.analysis.dataset.compilation import from_files
from greenbatch.analysis.dataset.run_files import RunFiles
from greenbatch.analysis.findings.cells import cell_rows
from greenbatch.analysis.statistics.intervals import interval, ratio
from greenbatch.design.environment import Environment
from greenbatch.design.recorded import recorded_study
from greenbatch.design.study import Study
from greenbatch.records import Idle, Journal, Record, Repetition, decode, encode
from tests.fakes import runs

_FACTORS = ("models", "backends", "precisions", "io", "scenarios", "batch_sizes")
RECORDS = runs.realistic_records(models=("alexnet", "vit_b_16"), batch_sizes=(1, 4), blocks=2)
ENVIRONMENT = Environment.read(runs.environment())
POSITIVE = st.floats(1e-6, 1e6)


def _files(records: list[Record]) -> RunFiles:
    repetitions = tuple(r for r in records if isinstance(r, Repetition))
    idles = tuple(r for r in records if isinstance(r, Idle))
    study = recorded_study(runs.study(("alexnet", "vit_b_16"), runs.BACKENDS, (1, 4), 2))
    return RunFiles(Path("run"), study, ENVIRONMENT, Journal(repetitions, idles, 0), "")


@settings(max_examples=10)
@given(st.permutations(RECORDS))
def test_the_order_of_the_journal_does_not_matter(records: list[Record]) -> None:
    assert from_files(_files(records)).identical(from_files(_files(RECORDS)))


TEXTS = st.lists(st.sampled_from(["0", "1", "default", "fast"]), min_size=1, unique=True)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(runs.BACKENDS), st.sampled_from(["spin", "spin.wait", "device"])),
        TEXTS,
    )
)
def test_the_rows_of_a_dataset_are_the_cells_of_its_study(
    values_of: dict[tuple[str, str], list[str]],
) -> None:
    texts = {f"{backend}.{name}": values for (backend, name), values in values_of.items()}
    members = runs.study(("alexnet",), runs.BACKENDS, (1, 4), 1, settings=texts)
    # The names are no runtime's own, so the study is made without asking for them.
    cells = Study.model_construct(**{k: members[k] for k in _FACTORS}, settings=texts).cells()
    records = tuple(runs.repetition(cell) for cell in cells[::2])
    files = RunFiles(Path("run"), recorded_study(members), ENVIRONMENT, Journal(records, (), 0), "")
    rows = cell_rows(from_files(files))
    assert sorted(row.cell for row in rows) == sorted(cells)
    assert {row.cell for row in rows if row.ok} == set(cells[::2])


@given(st.sampled_from(RECORDS))
def test_a_record_survives_its_line(record: Record) -> None:
    assert decode(encode(record)) == record


@given(st.lists(POSITIVE, min_size=1, max_size=9))
def test_an_interval_holds_its_centre_and_the_centre_lies_among_the_values(
    values: list[float],
) -> None:
    found = interval(values)
    assert found is not None
    slack = 1e-9
    assert min(values) * (1 - slack) <= found.centre <= max(values) * (1 + slack)
    if found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.centre * (1 + slack)
        assert found.centre * (1 - slack) <= found.high


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=6))
def test_a_ratio_turned_around_is_its_inverse(pairs: list[tuple[float, float]]) -> None:
    over = {block: a for block, (a, _) in enumerate(pairs)}
    under = {block: b for block, (_, b) in enumerate(pairs)}
    there, back = ratio(over, under), ratio(under, over)
    assert there is not None
    assert back is not None
    assert there.centre * back.centre == pytest.approx(1)
