"""The report of a dataset file alone, without the run that it is of."""

import json
import re
from pathlib import Path

import pytest

from greenbatch.analysis import open_run, write_report
from greenbatch.analysis.dataset.dataset_form import NEEDED
from greenbatch.analysis.dataset.store import store
from greenbatch.analysis.runs import merge
from greenbatch.cli.application import app
from greenbatch.errors import RunError
from tests.fakes.merged_runs import on, run_of
from tests.fakes.report_text import own
from tests.fakes.traced_run import traced_run

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.mark.slow
def test_a_dataset_alone_has_a_report_that_says_what_is_missing(tmp_path: Path) -> None:
    run = traced_run(tmp_path / "run", models=("alexnet",))
    of_run = own(write_report(run).page)
    mailed = tmp_path / "mailed" / "theirs.nc"
    mailed.parent.mkdir()
    (run / "dataset.nc").rename(mailed)
    page = write_report(mailed).page
    assert page == mailed.parent / "theirs-report" / "index.html"
    text = own(page)
    lead = re.compile(r'<p class="summary">(.*?)</p>')
    assert lead.findall(text) == lead.findall(of_run)
    assert "This report is of a dataset file alone." in text
    assert "Power traces are in the folder of the run" in text
    assert (
        "The effective settings of each backend, and where its graph ran, are in the folder" in text
    )
    assert "Not recorded" not in text
    assert "<code>../theirs.nc</code>" in text
    assert "beside this report’s folder" not in text
    assert "dataset file alone" not in of_run


@pytest.mark.slow
def test_a_merged_dataset_has_a_report_of_all_its_repetitions(tmp_path: Path) -> None:
    merged = store(merge([run_of(tmp_path / "a"), run_of(tmp_path / "b", 1.1)]), tmp_path / "m.nc")
    text = own(write_report(merged).page)
    assert "32 of 32 repetitions measured" in text
    assert "<title>fake + fake · greenbatch</title>" in text


@pytest.mark.slow
def test_machines_side_by_side_have_a_report_each_and_a_page_that_leads_to_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [run_of(tmp_path / "a"), run_of(tmp_path / "b", environment=on("<b>../x</b>"))]
    merged = store(merge(parts), tmp_path / "m.nc")
    app(["report", str(merged)], standalone_mode=False)
    page = tmp_path / "m-report" / "index.html"
    assert f"report: {page}\n" in capsys.readouterr().out
    text = page.read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;../x&lt;/b&gt;" in text
    links = re.findall('href="([^"]*index.html)"', text)
    assert len(links) == 2
    for link in links:
        target = (page.parent / link).resolve()
        assert target.parent.parent == page.parent
        assert "16 of 16 repetitions measured" in own(target)
    app(["report", str(merged), "--json"], standalone_mode=False)
    result = json.loads(capsys.readouterr().out)
    assert (result["report"], list(result["answers"])) == (str(page), ["bench", "<b>../x</b>"])


@pytest.mark.slow
def test_a_dataset_of_few_variables_is_reported_and_asked(tmp_path: Path) -> None:
    whole = open_run(run_of(tmp_path / "run"))
    few = whole[[name for name in NEEDED if name in whole.data_vars]]
    assert len(few.data_vars) < 0.2 * len(whole.data_vars)
    path = store(few, tmp_path / "few.nc")
    assert "repetitions measured" in own(write_report(path).page)
    dataset = open_run(path)
    a, b = whole["backend"].values.tolist()[:2]
    assert (
        dataset.gb.best_batch(model="alexnet").batch_size
        == whole.gb.best_batch(model="alexnet").batch_size
    )
    found, wanted = (one.gb.relative_to(backend=a).sel(backend=b) for one in (dataset, whole))
    name = "energy_per_image_ratio"
    assert found[name].values.tolist() == wanted[name].values.tolist()


def test_a_dataset_of_too_few_variables_is_named_as_that(tmp_path: Path) -> None:
    whole = open_run(run_of(tmp_path / "run"))
    path = store(whole[["memory_peak"]], tmp_path / "few.nc")
    with pytest.raises(RunError, match=r"it lacks status and \d+ more variables; give a dataset"):
        open_run(path)
