"""Net energy in the report's charts: where idle power is known, and only there."""

import json
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis import compile_dataset, write_report
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.analysis.report.findings import find
from greenbatch.analysis.report.inference_page import inference_page
from greenbatch.analysis.report.page import Section
from greenbatch.records import Cell, Idle
from tests.fakes import runs
from tests.fakes.report_text import own

pytestmark = pytest.mark.usefixtures("no_figures")


def _sections_of(run: Path) -> dict[str, Section]:
    page = inference_page(dataset := compile_dataset(run), find(dataset, read_run(run).journal))
    return {section.name: section for section in page.figures.sections}


def _curves_of(section: Section) -> Any:
    """The curves of the first chart, as the page's script reads them."""
    return json.loads(json.dumps(section.charts[0].facts))["curves"]


@pytest.mark.slow
def test_charts_hold_net_energy_where_idle_power_is_known(tmp_path: Path) -> None:
    records = runs.realistic_records(models=("alexnet",), batch_sizes=(1, 4))
    no_idle = [r for r in records if not (isinstance(r, Idle) and r.backend == "torch-cpu")]
    study = runs.study(("alexnet",), runs.BACKENDS, (1, 4))
    sections = _sections_of(runs.write_run(tmp_path / "some", no_idle, study))
    for name in ("energy", "tradeoff"):
        known, unknown = _curves_of(sections[name])
        gross, net = known["y"][0][0], known["net"][0][0]
        # 10 W of idle power for the time of one image.
        time_s = runs.image_s(Cell("alexnet", "onnxruntime-cpu", batch_size=1))
        assert gross - net == pytest.approx(10 * time_s, rel=0.05)
        assert unknown["net"] == [None, None]
        assert "Not known everywhere of torch-cpu" in sections[name].net
    of_curve = _curves_of(sections["tradeoff"])
    assert [curve["net_pareto_status"][1] for curve in of_curve] == ["front", None]
    none = [r for r in records if not isinstance(r, Idle)]
    sections = _sections_of(runs.write_run(tmp_path / "none", none, study))
    assert {section.net for section in sections.values()} == {""}
    assert sections["energy"].text.startswith("Gross energy")


@pytest.mark.slow
def test_gross_or_net_is_offered_only_where_net_is_known(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",), batch_sizes=(1, 4))
    assert 'name="energy" value="net"' in own(write_report(run).page)
    records = [r for r in runs.realistic_records(models=("alexnet",)) if not isinstance(r, Idle)]
    bare = runs.write_run(tmp_path / "bare", records, runs.study(("alexnet",), runs.BACKENDS))
    assert 'name="energy" value="net"' not in own(write_report(bare).page)
