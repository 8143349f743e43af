"""Servers in the report: who is on the front, what is drawn, what is not set side by side."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.analysis import open_run, write_report
from greenbatch.analysis.dataset.energy_basis import Basis
from greenbatch.analysis.findings.cells import CellRow, Series, cell_rows
from greenbatch.analysis.findings.serving import policy_of, serving_panels
from greenbatch.analysis.findings.serving_answers import serving_answers
from greenbatch.analysis.report.charts.servers import policy_charts, serving_charts
from greenbatch.analysis.report.findings import find
from greenbatch.analysis.report.inference_page import inference_page
from greenbatch.analysis.report.tables.serving import serving_answer_table, serving_table
from greenbatch.cli.output.inference import show_run
from greenbatch.records import EnergySource, Provenance
from tests.fakes import runs
from tests.fakes.served_run import BUSY_W, POLICIES, served_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served_run(tmp_path_factory.mktemp("servers") / "run")


@pytest.fixture(scope="module")
def rows(run: Path) -> list[CellRow]:
    return cell_rows(open_run(run))


def test_a_panel_for_each_traffic_and_a_curve_for_each_kind_of_policy(rows: list[CellRow]) -> None:
    panels = serving_panels(rows)
    assert [panel.traffic for panel in panels] == ["40 requests/s", "200 requests/s"]
    held, some = (
        {curve.kind: [policy_of(row) for row in curve.rows] for curve in panel.curves}
        for panel in panels
    )
    assert held == {
        "greedy": ["greedy:1", "greedy:16"],
        "fixed": ["fixed:4", "fixed:16"],
        "dynamic": ["dynamic:16:20ms"],
    }
    assert some == held | {"greedy": ["greedy:16"]}
    assert panels[0].words == "40 requests/s"
    assert panels[1].words == "200 requests/s, not sustained by greedy:1"


def test_the_front_is_of_those_that_hold_the_rate(rows: list[CellRow]) -> None:
    for panel in serving_panels(rows):
        points = {
            row.cell: (row.energy_per_image_j.centre, row.response_p99_s.centre)
            for curve in panel.curves
            for row in curve.rows
            if row.energy_per_image_j and row.response_p99_s
        }
        assert set(panel.pareto_status) == set(points)
        for cell, mine in points.items():
            better = [p for p in points.values() if p[0] < mine[0] and p[1] < mine[1]]
            assert (panel.pareto_status[cell] == "front") == (not better), cell


def test_the_power_while_a_batch_runs_is_that_of_the_machine(rows: list[CellRow]) -> None:
    for row in rows:
        assert row.power_busy_w
        assert row.power_busy_w.centre == pytest.approx(BUSY_W, rel=1e-6)
        assert row.power_w
        assert runs.IDLE_W < row.power_w.centre <= BUSY_W * (1 + 1e-9)


def test_shares_of_a_server_are_whole_percent(rows: list[CellRow]) -> None:
    table = serving_table(rows)
    shown = [entries[table.columns.index("busy")] for entries in table.rows]
    busy = [row.busy.centre for row in rows if row.busy]
    assert sorted(shown) == sorted(f"{round(100 * share)} %" for share in busy)
    assert len(shown) > 1


def test_energy_and_response_are_drawn_over_the_policies_by_kind_and_size(
    rows: list[CellRow],
) -> None:
    panels = serving_panels(rows)
    assert panels[0].policies == ["fixed:4", "fixed:16", "greedy:1", "greedy:16", "dynamic:16:20ms"]
    found = policy_charts(panels, ["onnxruntime-cpu"], "serving-response")
    assert [chart.group for chart in found] == ["40 requests/s", "200 requests/s"]
    first, second = (chart.facts for chart in found)
    assert first["kind"] == second["kind"] == "serving-response"
    assert first["policies"] == panels[0].policies
    assert "greedy:1" not in second["policies"]  # it does not sustain the rate


@pytest.mark.slow
def test_a_response_time_is_no_estimate_where_the_energy_is(tmp_path: Path) -> None:
    run = served_run(tmp_path / "run", EnergySource.ESTIMATED, rates_hz=(40.0,))
    panels = serving_panels(cell_rows(open_run(run)))
    energy = policy_charts(panels, ["onnxruntime-cpu"], "serving-energy")[0].facts
    response = policy_charts(panels, ["onnxruntime-cpu"], "serving-response")[0].facts
    assert energy["kind"] == "serving-energy"
    assert response["kind"] == "serving-response"
    assert {curve["estimated"] for curve in energy["curves"]} == {True}
    assert {curve["estimated"] for curve in response["curves"]} == {False}


def energies_of(rows: list[CellRow], energies_j: dict[str, tuple[float, ...]]) -> list[CellRow]:
    """The rows of one rate with these energies by policy and block, and with one p99."""
    changed = []
    for row in rows:
        if row.cell.served.rate == "40" and (values := energies_j.get(policy_of(row))):
            series = Series(dict(enumerate(values)))
            own = {
                "energy": series,
                "response_p99": Series({k: 0.1 + v for k, v in enumerate(values)}),
            }
            energy = series.interval()
            changed.append(replace(row, energy_per_image_j=energy, series={**row.series, **own}))
    return changed


def answered(rows: list[CellRow]) -> str:
    (answer,) = serving_answers(rows)
    return answer.sentence


def test_policies_that_do_not_differ_significantly_are_named_beside_the_least(
    rows: list[CellRow],
) -> None:
    tied = energies_of(
        rows,
        {
            "greedy:16": (0.413, 0.421, 0.429),
            "dynamic:16:20ms": (0.408, 0.430, 0.416),
            "fixed:16": (0.406, 0.437, 0.421),
        },
    )
    sentence = answered(tied)
    assert "no significant difference from" in sentence
    assert all(policy_of(row) in sentence for row in tied)
    (panel,) = serving_panels(tied)
    assert set(panel.pareto_status.values()) == {"front", "unsure"}
    clear = energies_of(
        rows, {"greedy:16": (0.413, 0.421, 0.429), "fixed:16": (0.513, 0.521, 0.529)}
    )
    sentence = answered(clear)
    assert "with greedy:16 on onnxruntime-cpu, 421 mJ" in sentence
    (panel,) = serving_panels(clear)
    assert sorted(panel.pareto_status.values()) == ["dominated", "front"]


def test_where_nobody_holds_the_rate_all_are_shown_and_marked(rows: list[CellRow]) -> None:
    late = [replace(row, flags={"overloaded": 3}) for row in rows]
    for panel in serving_panels(late):
        assert len(panel.pareto_status) == len(POLICIES)
        assert set(panel.pareto_status.values()) == {"overloaded"}
        assert panel.left_out == ()


@pytest.mark.slow
def test_many_answers_are_a_table_with_the_figures_of_the_sentences(
    tmp_path: Path, no_figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = served_run(tmp_path / "run", rates_hz=(10.0, 20.0, 40.0, 200.0))
    rows = cell_rows(open_run(run))
    found = serving_answers(rows)
    table = serving_answer_table(found)
    assert [row[:2] for row in table.rows] == [("alexnet", f"{r}") for r in (10, 20, 40, 200)]
    for answer, row in zip(found, table.rows, strict=True):
        assert answer.best
        for text in (*row[2:7], answer.ties):
            assert text in answer.sentence, text
        assert row[-1] == (answer.ties or "none")
    write_report(run)
    page, markdown = ((run / "report" / name).read_text() for name in ("index.html", "report.md"))
    assert f'<p class="summary">{table.title}</p>' in page
    assert page.count("no significant difference from</th>") == 1
    assert f"{table.title}:\n\n{table.markdown()}" in markdown
    show_run(find(open_run(run), None), run / "report/index.html")
    printed = capsys.readouterr().out
    assert table.title in printed
    for text in (page, markdown, " ".join(printed.split())):
        assert not any(answer.sentence in text for answer in found)


def test_a_rate_that_no_policy_sustains_has_a_line_that_says_so(rows: list[CellRow]) -> None:
    late = [
        replace(row, flags={"overloaded": 3}) if row.cell.served.rate == "200" else row
        for row in rows
    ]
    found = serving_answers(late)
    assert found[1].sentence.endswith("no policy sustained the rate.")
    (_, line) = serving_answer_table(found).rows
    assert line[2] == "none sustained it"
    assert set(line[3:]) == {"–"}


def test_policies_that_were_not_measured_are_not_said_to_have_failed(rows: list[CellRow]) -> None:
    traffic = [row for row in rows if row.cell.served.rate == "200"]
    assert len(traffic) > 1
    late = replace(traffic[0], flags={"overloaded": 3})
    none, one = (
        serving_answers([first, *(replace(row, statuses={"not_run": 3}) for row in traffic[1:])])
        for first in (late, replace(traffic[0], flags={}))
    )
    rest = f"{len(traffic) - 1} of the design not measured."
    assert none[0].sentence.endswith(f"no policy sustained the rate; {rest}")
    assert one[0].sentence.endswith(rest)
    policies = [serving_answer_table(found).rows[0][2] for found in (none, one)]
    assert policies == ["none of 1 measured", f"{traffic[0].cell.served.policy}, of 1 measured"]


def test_how_an_energy_was_obtained_is_in_its_column_or_beside_it(rows: list[CellRow]) -> None:
    kind = Provenance.ESTIMATED
    mixed = [
        replace(row, energy_source=kind, basis=Basis.of(kind))
        if row.cell.served.rate == "40"
        else row
        for row in rows
    ]
    for table in (serving_table(mixed), serving_answer_table(serving_answers(mixed))):
        energy, rate = (table.columns.index(name) for name in ("energy/request", "requests/s"))
        shown = {row[rate]: row[energy].rpartition("(")[2] for row in table.rows}
        assert shown["40"] == "estimated)"
        assert "estimated" not in shown["200"]
    estimated = [replace(row, energy_source=kind, basis=Basis.of(kind)) for row in rows]
    assert "energy/request (estimated)" in serving_table(estimated).columns


def test_energies_of_two_sources_are_not_set_against_each_other(rows: list[CellRow]) -> None:
    kind = Provenance.ESTIMATED
    mixed = [
        replace(row, energy_source=kind, basis=Basis.of(kind))
        if policy_of(row) == "fixed:4"
        else row
        for row in rows
    ]
    for panel in serving_panels(mixed):
        assert panel.pareto_status == {}
        assert {curve.estimated for curve in panel.curves} == {False, True}


def test_a_server_without_energy_has_no_point(rows: list[CellRow]) -> None:
    some = [
        replace(row, energy_per_image_j=None) if policy_of(row).startswith("fixed") else row
        for row in rows
    ]
    kinds = {curve.kind for panel in serving_panels(some) for curve in panel.curves}
    assert kinds == {"greedy", "dynamic"}
    assert serving_panels([replace(row, energy_per_image_j=None) for row in rows]) == []


def test_charts_have_what_the_page_lets_choose(rows: list[CellRow]) -> None:
    first, second = serving_charts(serving_panels(rows), ["onnxruntime-cpu"])
    assert (first.title, first.note) == ("alexnet", "")  # the rate is the heading's
    assert second.note == "not sustained by greedy:1"
    drawn = json.loads(json.dumps(first.facts))
    for point in (point for curve in drawn["curves"] for point in curve["points"]):
        assert point["mean"][0] < point["p99"][0]
        assert point["net"][0] < point["energy"][0]


@pytest.mark.slow
def test_page_markdown_and_paper_have_the_figure(run: Path) -> None:
    report = write_report(run).page
    page = report.read_text(encoding="utf-8")
    assert page.index("Pareto front: energy against response time") < page.index("serving-0")
    assert "<span>not sustained by greedy:1</span>" in page
    assert 'name="per-serving" value="mean"' in page
    assert "Energy per image by batch size" not in page
    drawn = (report.parent / "figures" / "serving.svg").read_text(encoding="utf-8")
    assert "alexnet, 40 requests/s" in drawn
    assert "dynamic:16:20ms" in drawn
    assert "figures/serving.svg" in (report.parent / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_without_energy_there_is_no_figure_and_no_control(tmp_path: Path) -> None:
    run = served_run(tmp_path / "run", EnergySource.MISSING, rates_hz=(40.0,))
    dataset = open_run(run)
    page_of = inference_page(dataset, find(dataset, None))
    assert page_of.figures.variants == []  # no control for backends, should there be a power chart
    report = write_report(run).page
    page = report.read_text(encoding="utf-8")
    assert "per-serving" not in page
    assert 'id="controls"' not in page
    assert not (report.parent / "figures" / "serving.svg").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_a_run_of_the_closed_loop_has_no_such_section(tmp_path: Path) -> None:
    page = write_report(runs.realistic_run(tmp_path / "run", models=("alexnet",))).page
    assert "against response time" not in page.read_text(encoding="utf-8")
