"""Net energy in the report's charts: where idle power is known, and only there."""

from pathlib import Path

import pytest

from greenbatch.analysis import cell_rows, compile_dataset, write_report
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.analysis.report.build import page_facts
from greenbatch.analysis.report.sections import Section
from greenbatch.records import Cell, Idle
from tests.fakes import runs
from tests.unit.analysis.report.test_build import own

pytestmark = pytest.mark.usefixtures("no_figures")


def _sections_of(run: Path) -> dict[str, Section]:
    page = page_facts(dataset := compile_dataset(run), cell_rows(dataset), read_run(run).journal)
    return {section.name: section for section in page["sections"]}


def test_charts_hold_net_energy_where_idle_power_is_known(tmp_path: Path) -> None:
    records = runs.realistic_records(models=("alexnet",), batch_sizes=(1, 4))
    no_idle = [r for r in records if not (isinstance(r, Idle) and r.backend == "torch-cpu")]
    study = runs.study(("alexnet",), runs.BACKENDS, (1, 4))
    sections = _sections_of(runs.write_run(tmp_path / "some", no_idle, study))
    for name in ("energy", "tradeoff"):
        known, unknown = sections[name].charts[0].facts["curves"]
        gross, net = known["y"][0][0], known["net"][0][0]
        # 10 W of idle power for the time of one image.
        time_s = runs.image_s(Cell("alexnet", "onnxruntime-cpu", batch_size=1))
        assert gross - net == pytest.approx(10 * time_s, rel=0.05)
        assert unknown["net"] == [None, None]
        assert "Not known everywhere of torch-cpu" in sections[name].net
    of_curve = sections["tradeoff"].charts[0].facts["curves"]
    assert [curve["net_standing"][1] for curve in of_curve] == ["front", None]
    none = [r for r in records if not isinstance(r, Idle)]
    sections = _sections_of(runs.write_run(tmp_path / "none", none, study))
    assert {section.net for section in sections.values()} == {""}
    assert sections["energy"].text.startswith("Gross energy")


def test_gross_or_net_is_offered_only_where_net_is_known(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",), batch_sizes=(1, 4))
    assert 'name="energy" value="net"' in own(write_report(run))
    records = [r for r in runs.realistic_records(models=("alexnet",)) if not isinstance(r, Idle)]
    bare = runs.write_run(tmp_path / "bare", records, runs.study(("alexnet",), runs.BACKENDS))
    assert 'name="energy" value="net"' not in own(write_report(bare))
