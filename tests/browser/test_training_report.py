"""The page of a training run in a real browser, without network."""

import csv
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis import write_report
from greenbatch.analysis.dataset.store import store
from greenbatch.analysis.training import merge_training
from greenbatch.records import EnergySource
from tests.browser.screen import BROWSER, complaints
from tests.fakes import training_runs
from tests.fakes.report_text import without_figures

pytestmark = BROWSER

HOSTILE = "<img src=x onerror=alert(1)><b>$x^{</b>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    def made(name: str) -> Path:
        return tmp_path_factory.mktemp(name)

    runs = {
        "trainings": training_runs.delrey_run(made("trainings"), blocks=3),
        "factors": training_runs.factorial_run(made("factors"), source=EnergySource.ESTIMATED),
        "search": training_runs.search_run(made("search"), failures=True),
        "missing": training_runs.search_run(made("missing"), source=EnergySource.MISSING),
        "hostile": training_runs.plain_run(
            made("hostile"), modes=("a", HOSTILE), blocks=2, study_members={"name": HOSTILE}
        ),
    }
    hosts = [
        training_runs.delrey_run(made(host), blocks=3, host=host, power=power)
        for host, power in (("bench", 1.0), ("cloud", 2.0))
    ]
    runs["machines"] = store(merge_training(hosts), made("merged") / "both.nc")
    with pytest.MonkeyPatch.context() as patch:
        without_figures(patch)
        return {name: write_report(run).page for name, run in runs.items()}


def _open(browser: Any, page: Path, width: int = 1400, *, dark: bool = False) -> None:
    """Open a page and draw every chart, as on the way down to its end."""
    from selenium.webdriver.support.ui import WebDriverWait

    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    size = {"width": width, "height": 9000, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(
        lambda b: b.execute_script(
            "return document.documentElement.dataset.drawn === 'yes'"
            " && [...document.querySelectorAll('.chart')].every(c => c.data)"
        )
    )


@pytest.mark.parametrize(
    ("name", "charts", "width", "dark"),
    [
        ("trainings", 6, 1400, False),
        ("trainings", 6, 390, True),
        ("factors", 11, 1400, True),
        ("factors", 11, 390, False),
        ("search", 2, 1400, False),
        ("search", 2, 390, True),
        ("missing", 1, 390, False),
    ],
)
def test_every_chart_is_drawn_and_nothing_scrolls_sideways(
    browser: Any, pages: dict[str, Path], name: str, charts: int, width: int, dark: bool
) -> None:
    _open(browser, pages[name], width, dark=dark)
    assert complaints(browser) == []
    traces = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map("
        "c => c.querySelectorAll('svg.main-svg .scatterlayer .trace').length)"
    )
    assert len(traces) == charts
    assert all(count >= 2 for count in traces)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    words = browser.execute_script("return document.body.innerText")
    assert "NaN" not in words
    assert "undefined" not in words


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
def test_machines_stand_side_by_side_as_bars(
    browser: Any, pages: dict[str, Path], width: int, dark: bool
) -> None:
    _open(browser, pages["machines"], width, dark=dark)
    assert complaints(browser) == []
    bars = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map("
        "c => c.querySelectorAll('.barlayer .point').length)"
    )
    assert bars == [10, 10]  # five networks on two machines: energy, accuracy
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_line_is_taken_out_of_all_charts_and_put_back(
    browser: Any, pages: dict[str, Path]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    def names() -> list[str]:
        found: list[str] = browser.execute_script(
            "return document.getElementById('search-0').data.map(t => t.name).filter(Boolean)"
        )
        return found

    _open(browser, pages["search"])
    assert names() == ["grid", "random", "gp"]
    box = browser.find_element(By.CSS_SELECTOR, "input[data-variant='1']")
    box.send_keys(Keys.SPACE)
    WebDriverWait(browser, 10).until(lambda _: names() == ["grid", "gp"])
    box.send_keys(Keys.SPACE)
    WebDriverWait(browser, 10).until(lambda _: names() == ["grid", "random", "gp"])


def test_lines_follow_the_colour_scheme(browser: Any, pages: dict[str, Path]) -> None:
    seen = []
    for dark in (False, True):
        _open(browser, pages["trainings"], dark=dark)
        seen.append(
            browser.execute_script(
                "return document.getElementById('learning-epochs-0').data"
                ".filter(t => t.name).map(t => t.line.color)"
            )
        )
    assert len(seen[0]) == 5
    assert not set(seen[0]) & set(seen[1])


def test_energy_axes_go_linear(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    _open(browser, pages["trainings"])
    scale = "return document.getElementById('front-0').layout.xaxis.type"
    assert browser.execute_script(scale) == "log"
    chosen = browser.find_element(By.CSS_SELECTOR, "input[name=scale][value=log]")
    chosen.send_keys(Keys.ARROW_RIGHT)
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(scale) == "linear")


def test_a_hostile_name_is_text_where_plotly_writes_it(
    browser: Any, pages: dict[str, Path]
) -> None:
    _open(browser, pages["hostile"])
    assert complaints(browser) == []
    assert browser.execute_script("return document.querySelectorAll('main img').length") == 0
    browser.execute_script("Plotly.Fx.hover('front-0', [{curveNumber: 2, pointNumber: 0}])")
    label = browser.execute_script("return document.querySelector('#front-0').textContent")
    assert "<img src=x" in label


@pytest.mark.parametrize("name", ["trainings", "factors", "search"])
def test_the_data_of_a_figure_have_a_row_for_each_point(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    """That they are saved as a file is tested with the reports of inference."""
    browser.get(pages[name].as_uri())
    texts = browser.execute_script(
        "return Object.entries(page.charts).map(([name, facts]) => [name, figureCsv(facts)])"
    )
    assert texts
    for chart, text in texts:
        head, *rows = csv.reader(text.splitlines())
        assert rows, chart
        assert len(set(head)) == len(head), chart
        assert {len(row) for row in rows} == {len(head)}, chart
        assert any(name.endswith(("_J", "_s", "_share", "share")) for name in head), (chart, head)
