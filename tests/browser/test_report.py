"""The report in a real browser, without network: drawn whole, every control working, no error."""

import base64
import csv
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis import write_report
from greenbatch.records import EnergySource, Idle
from tests.fakes import runs
from tests.fakes.served_run import served_run
from tests.fakes.traced_run import traced_run
from tests.fakes.unlike_run import unlike_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="chromium or chromedriver is not installed",
    ),
]

HOSTILE = "<script>alert(1)</script> & <b>$x^{</b>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    def made(name: str) -> Path:
        return tmp_path_factory.mktemp(name)

    models = ("alexnet", "densenet121")
    hostile = runs.hostile_run(made("hostile"), HOSTILE, fails=False)
    study = runs.study(models, runs.BACKENDS, (1, 4, 16))
    some_idle = [
        record
        for record in runs.realistic_records(models=models)
        if not (isinstance(record, Idle) and record.backend == "torch-cpu")
    ]
    of = {
        "partly net": runs.write_run(made("partly-net"), some_idle, study),
        "estimated": traced_run(made("estimated"), EnergySource.ESTIMATED, models=models),
        "missing": runs.realistic_run(made("missing"), EnergySource.MISSING, models=models),
        "unlike": unlike_run(made("unlike")),
        "servers": served_run(made("servers"), EnergySource.ESTIMATED, models=models),
        "hostile": hostile,
    }
    drawn = {"estimated": write_report(of.pop("estimated")).page}
    with pytest.MonkeyPatch.context() as patch:  # figures on paper take most of the time
        patch.setattr("greenbatch.analysis.report.build.write_figures", lambda *_: [])
        return drawn | {name: write_report(run).page for name, run in of.items()}


def _open(browser: Any, page: Path, width: int = 1400, *, dark: bool = False) -> None:
    """Open a page and wait until every chart has come into view and is drawn."""
    _land(browser, page, width, dark=dark)
    for name in browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map(c => c.id)"
    ):
        _show(browser, name)
    browser.execute_script("scrollTo(0, 0)")
    _drawn(browser)


def _land(browser: Any, page: Path, width: int = 1400, *, dark: bool = False) -> None:
    """Open a page and wait until what is in view is drawn."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    _drawn(browser)


def _drawn(browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    drawn = "return document.documentElement.dataset.drawn"
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(drawn) == "yes")


def _show(browser: Any, name: str) -> None:
    """Scroll a chart into view and wait until it is drawn."""
    browser.execute_async_script(
        "document.getElementById(arguments[0]).scrollIntoView({block: 'center'});"
        "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(arguments[1])))",
        name,
    )
    _drawn(browser)


def _complaints(browser: Any) -> list[Any]:
    return [e for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]


def _requests(browser: Any, page: str) -> set[str]:
    """What the page asked for; the browser's own start page asks for much of its own."""
    entries = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return {
        entry["params"]["request"]["url"]
        for entry in entries
        if entry["method"] == "Network.requestWillBeSent" and entry["params"]["documentURL"] == page
    }


def _chart(browser: Any, name: str) -> Any:
    """Its lines' names and heights, and its y axis, as drawn when it is in view."""
    _show(browser, name)
    return browser.execute_script(
        "const chart = document.getElementById(arguments[0]);"
        "return {names: chart.data.map(t => t.name), y: chart.data.map(t => t.y),"
        " colours: chart.data.map(t => (t.line || {}).color), axis: chart.layout.yaxis.type}",
        name,
    )


def _models(browser: Any) -> Any:
    """Of which models charts are shown."""
    return browser.execute_script(
        "return [...document.querySelectorAll('figure[data-model]')]"
        ".filter(f => f.offsetParent).map(f => f.dataset.model)"
    )


@pytest.mark.parametrize(
    ("name", "charts", "width", "dark"),
    [
        ("estimated", 11, 1400, False),
        ("estimated", 11, 390, True),
        ("missing", 2, 1400, False),
        ("missing", 2, 390, True),
        ("servers", 15, 1400, True),
        ("servers", 15, 390, False),
        ("unlike", 3, 1400, True),
        ("unlike", 3, 390, False),
    ],
)
def test_every_chart_is_drawn_and_nothing_is_asked_for(
    browser: Any, pages: dict[str, Path], name: str, charts: int, width: int, dark: bool
) -> None:
    _open(browser, pages[name], width, dark=dark)

    assert _complaints(browser) == []
    traces = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map("
        "c => c.querySelectorAll('svg.main-svg .scatterlayer .trace').length)"
    )
    assert len(traces) == charts
    assert all(count >= 2 for count in traces)
    # The page itself is the proof that requests are seen at all.
    page = pages[name].as_uri()
    assert {u for u in _requests(browser, page) if not u.startswith("data:")} == {page}
    # The page itself never scrolls sideways: wide tables scroll inside their frames.
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_server_is_read_by_its_mean_or_its_tail_and_by_model(
    browser: Any, pages: dict[str, Path]
) -> None:
    from selenium.webdriver.common.by import By

    _open(browser, pages["servers"])
    reach = (
        "return document.getElementById('serving-0').data.slice(0, -1).map(t => Math.max(...t.x))"
    )
    assert _chart(browser, "serving-0")["names"][0] == "greedy, onnxruntime-cpu (estimated)"
    tail_s = browser.execute_script(reach)
    browser.find_element(By.CSS_SELECTOR, "input[name=per-serving][value=mean]").click()
    _drawn(browser)
    mean_s = browser.execute_script(reach)
    assert all(mean < tail for mean, tail in zip(mean_s, tail_s, strict=True))

    browser.find_element(By.ID, "choose-model").send_keys("densenet121")
    _drawn(browser)
    assert _models(browser) == ["densenet121"] * 6  # by policy twice and the front, at two rates


def test_servers_stand_by_policy_with_their_mean_or_their_tail_and_net(
    browser: Any, pages: dict[str, Path]
) -> None:
    from selenium.webdriver.common.by import By

    _open(browser, pages["servers"])
    drawn = "return document.getElementById(arguments[0]).data.map(t => [...t.y])"
    places = browser.execute_script(
        "return document.getElementById('serving-energy-0').layout.xaxis.ticktext"
    )
    assert places == [
        "fixed<br>4",
        "fixed<br>16",
        "greedy<br>1",
        "greedy<br>16",
        "dynamic<br>16:20ms",
    ]
    for chart, control in (
        ("serving-response-0", "input[name=per-serving-response][value=p99]"),
        ("serving-energy-0", "input[name=energy][value=net]"),
    ):
        before = browser.execute_script(drawn, chart)
        browser.find_element(By.CSS_SELECTOR, control).click()
        _show(browser, chart)
        after = browser.execute_script(drawn, chart)
        assert [len(line) for line in after] == [len(line) for line in before]
        pairs = [
            (one, other)
            for line, others in zip(before, after, strict=True)
            for one, other in zip(line, others, strict=True)
        ]
        rises = chart == "serving-response-0"  # the tail is above the mean, net below gross
        assert all((other > one) == rises for one, other in pairs), chart


def test_the_ground_and_the_lines_follow_the_colour_scheme(
    browser: Any, pages: dict[str, Path]
) -> None:
    seen = []
    for dark in (False, True):
        _open(browser, pages["estimated"], dark=dark)
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        seen.append((ground, tuple(_chart(browser, "energy-0")["colours"])))
    assert seen[0][0] == "rgb(255, 255, 255)"
    assert seen[1][0] == "rgb(20, 24, 28)"
    assert not set(seen[0][1]) & set(seen[1][1])


def test_a_model_is_chosen_by_the_keyboard_alone(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _open(browser, pages["estimated"])
    reached = []
    for _ in range(24):  # the figures of two models have a button each
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        reached.append(
            active.get_attribute("id") or active.get_attribute("name") or active.tag_name
        )
    radios = {"energy", "scale", "per-energy", "per-latency", "per-tradeoff"}
    assert {"choose-model"} | radios <= set(reached)
    assert "choose-cell" in reached

    browser.find_element(By.ID, "choose-model").send_keys("densenet121")
    _drawn(browser)
    assert _models(browser) == ["densenet121"] * 3
    _show(browser, "power-0")
    said = browser.find_element(By.ID, "power-summary").text
    assert said.startswith("densenet121 on onnxruntime-cpu at batch 1")


def test_a_backend_is_taken_out_and_put_back_by_the_space_bar(
    browser: Any, pages: dict[str, Path]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _open(browser, pages["estimated"])
    before = _chart(browser, "energy-0")["names"]
    assert before == ["onnxruntime-cpu (estimated)", "torch-cpu (estimated)"]
    box = browser.find_element(By.CSS_SELECTOR, "input[data-variant='0']")
    for names in (before[1:], before):
        box.send_keys(Keys.SPACE)
        _drawn(browser)
        assert _chart(browser, "energy-0")["names"] == names
        assert _chart(browser, "tradeoff-1")["names"] == names
    for place in (0, 1):
        browser.find_element(By.CSS_SELECTOR, f"input[data-variant='{place}']").send_keys(
            Keys.SPACE
        )
    _show(browser, "latency-0")
    assert "No backend is chosen." in browser.find_element(By.ID, "latency-0").text


def test_axes_go_linear_and_back(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _open(browser, pages["estimated"])
    charts = ("energy-0", "latency-1", "tradeoff-0", "timeline-energy")
    logarithmic = browser.find_element(By.CSS_SELECTOR, "input[name=scale][value=log]")
    logarithmic.send_keys(Keys.ARROW_RIGHT)
    _drawn(browser)
    assert {_chart(browser, name)["axis"] for name in charts} == {"linear"}
    linear = browser.find_element(By.CSS_SELECTOR, "input[name=scale][value=linear]")
    linear.send_keys(Keys.ARROW_LEFT)
    _drawn(browser)
    assert {_chart(browser, name)["axis"] for name in charts} == {"log"}


@pytest.mark.parametrize(
    ("control", "value", "chart", "power"),
    [
        ("per-energy", "batch", "energy-0", 1),
        ("per-tradeoff", "batch", "tradeoff-0", 1),
        ("per-latency", "image", "latency-0", -1),
    ],
)
def test_figures_are_shown_for_an_image_or_for_a_batch(
    browser: Any, pages: dict[str, Path], control: str, value: str, chart: str, power: int
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _open(browser, pages["estimated"])
    before = _chart(browser, chart)["y"][0]
    chosen = browser.find_element(By.CSS_SELECTOR, f"input[name={control}]:checked")
    chosen.send_keys(Keys.ARROW_RIGHT)
    _drawn(browser)
    assert browser.find_element(By.CSS_SELECTOR, f"input[value={value}]").is_enabled()
    after = _chart(browser, chart)["y"][0]
    ratios = [b / a for a, b in zip(before, after, strict=True)]
    assert ratios == pytest.approx([size**power for size in (1, 4, 16)])


def test_the_power_of_another_cell_is_shown_with_its_window(
    browser: Any, pages: dict[str, Path]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    _open(browser, pages["estimated"])
    select = Select(browser.find_element(By.ID, "choose-cell"))
    assert len(select.options) == 2 * 2 * 3
    select.select_by_visible_text("densenet121 on torch-cpu at batch 4")
    _drawn(browser)
    said = browser.find_element(By.ID, "power-summary").text
    assert said == "densenet121 on torch-cpu at batch 4: package-0, estimated."
    names = _chart(browser, "power-0")["names"]
    assert names == [f"package-0, repetition {n}" for n in (1, 2, 3)]
    windows = browser.execute_script(
        "return document.getElementById('power-0').layout.shapes"
        ".filter(s => s.type === 'rect').map(s => [s.x0, s.x1])"
    )
    assert all(start == 0 and 1.9 < end < 2.6 for start, end in windows)


def test_on_paper_a_dark_page_is_light_and_its_notes_are_open(
    browser: Any, pages: dict[str, Path]
) -> None:
    _open(browser, pages["estimated"], dark=True)
    dark = _chart(browser, "energy-0")["colours"]
    printed = browser.execute_script(
        "scrollTo(0, 0); dispatchEvent(new Event('beforeprint'));"
        "const colours = document.getElementById('energy-0').data.map(t => t.line.color);"
        "return [colours, [...document.querySelectorAll('details')].every(d => d.open)]"
    )
    assert printed[1]
    assert not set(printed[0]) & set(dark)
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    _drawn(browser)
    assert _chart(browser, "energy-0")["colours"] == dark
    sheet = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(sheet).startswith(b"%PDF")
    assert _complaints(browser) == []


def test_only_what_is_in_view_is_drawn_and_the_rest_as_it_comes(
    browser: Any, pages: dict[str, Path]
) -> None:
    _land(browser, pages["estimated"])
    drawn = "return [...document.querySelectorAll('.chart .main-svg')].length"
    name = "timeline-front"
    assert not browser.execute_script(f"return !!document.querySelector('#{name} .main-svg')")
    before = browser.execute_script(drawn)
    _show(browser, name)
    assert browser.execute_script(f"return !!document.querySelector('#{name} .main-svg')")
    assert browser.execute_script(drawn) > before


def test_what_never_came_into_view_is_printed_and_follows_the_controls(
    browser: Any, pages: dict[str, Path]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _land(browser, pages["estimated"])
    browser.find_element(By.CSS_SELECTOR, "input[name=scale][value=log]").send_keys(
        Keys.ARROW_RIGHT
    )
    printed = browser.execute_script(
        "dispatchEvent(new Event('beforeprint'));"
        "return [...document.querySelectorAll('.chart')].map("
        "c => [c.querySelectorAll('.main-svg .trace').length, c.layout.yaxis.type])"
    )
    assert len(printed) == 11
    assert all(count >= 1 and kind == "linear" for count, kind in printed)
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    _drawn(browser)


def test_net_energy_is_shown_where_idle_power_is_known(
    browser: Any, pages: dict[str, Path]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _open(browser, pages["estimated"])
    charts = ("energy-0", "tradeoff-0", "accuracy-0")
    gross = {name: _chart(browser, name)["y"] for name in charts}
    power = _chart(browser, "latency-0")["y"]
    button = browser.find_element(By.CSS_SELECTOR, "input[name=energy][value=gross]")
    button.send_keys(Keys.ARROW_RIGHT)
    for name in charts:
        net = _chart(browser, name)["y"]
        lower = [
            a < b
            for ours, theirs in zip(net, gross[name], strict=True)
            for a, b in zip(ours, theirs, strict=True)
        ]
        assert lower
        assert all(lower)
    assert _chart(browser, "latency-0")["y"] == power
    words = browser.find_element(By.CSS_SELECTOR, "#energy [data-energy=net]")
    assert words.is_displayed()
    assert words.text.startswith("Net: less idle power")
    browser.find_element(By.ID, "choose-model").send_keys("densenet121")  # it stays chosen
    _drawn(browser)
    assert browser.find_element(By.CSS_SELECTOR, "input[name=energy][value=net]").is_selected()
    browser.find_element(By.CSS_SELECTOR, "input[name=energy][value=net]").send_keys(
        Keys.ARROW_LEFT
    )
    browser.find_element(By.ID, "choose-model").send_keys("all 2")
    assert _chart(browser, "energy-0")["y"] == gross["energy-0"]
    assert _complaints(browser) == []


def test_where_net_energy_is_not_known_the_chart_says_so(
    browser: Any, pages: dict[str, Path]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _open(browser, pages["partly net"])
    button = browser.find_element(By.CSS_SELECTOR, "input[name=energy][value=gross]")
    button.send_keys(Keys.ARROW_RIGHT)
    assert _chart(browser, "energy-0")["names"] == ["onnxruntime-cpu"]
    browser.find_element(By.CSS_SELECTOR, "input[data-variant='0']").send_keys(Keys.SPACE)
    _show(browser, "energy-0")
    assert "Net energy is not known here." in browser.find_element(By.ID, "energy-0").text


def test_without_scripts_the_page_has_its_words_and_tables_and_links_to_the_figures(
    browser: Any, pages: dict[str, Path]
) -> None:
    from selenium.webdriver.common.by import By

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["estimated"].as_uri())
        body = browser.find_element(By.TAG_NAME, "body").text
        assert "Least energy per image" in body
        assert "All cells" in body
        links = browser.find_elements(By.CSS_SELECTOR, "section a[href^=figures]")
        files = [link.get_dom_attribute("href") for link in links if link.is_displayed()]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert files == [
        f"figures/{name}.svg" for name in ("energy", "latency", "tradeoff", "accuracy", "timeline")
    ]
    assert all((pages["estimated"].parent / name).is_file() for name in files)


def test_a_hostile_name_is_text_wherever_it_stands(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.by import By

    _open(browser, pages["hostile"])
    assert _complaints(browser) == []
    assert browser.find_element(By.TAG_NAME, "h1").text == HOSTILE
    assert HOSTILE in browser.find_element(By.TAG_NAME, "main").text
    assert (
        browser.execute_script("return document.querySelectorAll('main script, h1 *').length") == 0
    )
    assert (
        browser.execute_script("return document.querySelectorAll('figcaption b, td b').length") == 0
    )


def test_a_hostile_setting_is_text_where_plotly_writes_it(
    browser: Any, pages: dict[str, Path]
) -> None:
    _open(browser, pages["hostile"])
    browser.execute_script(
        "document.getElementById('energy-0').scrollIntoView();"
        "Plotly.Fx.hover('energy-0', [{curveNumber: 1, pointNumber: 0}])"
    )
    label = browser.execute_script(
        "return document.querySelector('#energy-0 .hoverlayer').textContent"
    )
    assert "batch 1" in label
    assert "<b>$x^{" in label


def test_what_differs_is_marked_by_a_sign_and_a_colour(
    browser: Any, pages: dict[str, Path]
) -> None:
    _open(browser, pages["unlike"])
    sign, colour, plain = browser.execute_script(
        "const row = [...document.querySelectorAll('#table-fairness tr')]"
        ".find(row => row.cells[0].textContent === 'spinning');"
        "return [row.cells[2].textContent, getComputedStyle(row.cells[2]).color,"
        " getComputedStyle(row.cells[1]).color]"
    )
    assert sign.startswith("≠")
    assert colour != plain


def test_a_script_that_gets_into_the_page_does_not_run(
    browser: Any, pages: dict[str, Path]
) -> None:
    _land(browser, pages["estimated"])
    browser.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'window.owned = 1';"
        "document.body.append(script);"
        "const image = document.createElement('img');"
        "image.setAttribute('onerror', 'window.owned = 2');"
        "image.src = 'data:,';"
        "document.body.append(image);"
        "const base = document.createElement('base');"
        "base.href = 'http://base.example/';"
        "document.head.append(base);"
    )
    assert (
        browser.execute_async_script("setTimeout(arguments[0], 200, window.owned ?? null)") is None
    )
    assert browser.execute_script("return document.baseURI").startswith("file:")
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert sum("Content Security Policy" in message for message in said) >= 3


@pytest.mark.parametrize("kind", ["estimated", "servers", "hostile"])
def test_the_data_of_a_figure_are_saved_as_csv(
    browser: Any, pages: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    _land(browser, pages[kind])
    options = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", options)
    charts = browser.execute_script("return page.charts")
    buttons = browser.execute_script(
        "return [...document.querySelectorAll('button[data-figure]')].map(b => b.dataset.figure)"
    )
    assert sorted(buttons) == sorted(charts)
    by_kind = {facts["kind"]: name for name, facts in reversed(charts.items())}
    for name in by_kind.values():  # the browser takes ten files of a page at once
        facts = charts[name]
        button = browser.execute_script(
            "return document.querySelector(`button[data-figure='${arguments[0]}']`)", name
        )
        browser.execute_script("arguments[0].click()", button)
        rows = _saved(tmp_path, name)
        points = sum(
            len(curve.get("sizes") or curve.get("points") or ())
            for curve in facts.get("curves", ())
        )
        assert len(rows) == (points or len(facts.get("points", ())) or len(rows))
        if facts["kind"] == "energy":
            first = facts["curves"][0]
            ends = ("", "_low", "_high", "_interval")
            values = [rows[0][f"energy_per_image_J{end}"] for end in ends]
            assert values == [str(part) for part in first["y"][0]]
            assert rows[0]["batch_size"] == str(first["sizes"][0])
        assert all(None not in row and None not in row.values() for row in rows)
    assert not _complaints(browser)


def _saved(folder: Path, name: str) -> list[dict[str, str]]:
    """Wait for the file of a figure; return its rows."""
    for _ in range(400):
        # The browser first makes an empty file of that name, and writes to another one.
        found = [path for path in folder.glob(f"{name}*.csv") if path.stat().st_size]
        if found and not [*folder.glob("*.crdownload")]:
            with found[0].open(newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file))
        time.sleep(0.05)
    raise AssertionError(f"the data of {name} were not saved")


def test_the_terms_are_in_the_page(browser: Any, pages: dict[str, Path]) -> None:
    _land(browser, pages["missing"])
    shown = "return document.getElementById('glossary').checkVisibility()"
    assert not browser.execute_script(shown)
    browser.execute_script("document.querySelector('a[href=\"#glossary\"]').click()")
    assert browser.execute_script(shown)
    terms = browser.execute_script(
        "return [...document.querySelectorAll('#glossary dt')].map(t => t.textContent)"
    )
    assert {"cell", "block", "window", "Pareto front"} <= set(terms)
