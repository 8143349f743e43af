"""The report in a real browser, without network: drawn whole, no error, nothing asked for."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis import write_report
from greenbatch.records import EnergySource
from tests.fakes import runs
from tests.fakes.unlike_run import unlike_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="chromium or chromedriver is not installed",
    ),
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[EnergySource, Path]:
    return {
        source: write_report(runs.realistic_run(tmp_path_factory.mktemp(source), source))
        for source in (EnergySource.ESTIMATED, EnergySource.MISSING)
    }


def _requests(browser: Any, page: str) -> list[str]:
    """What the page asked for; the browser's own start page asks for much of its own."""
    entries = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        entry["params"]["request"]["url"]
        for entry in entries
        if entry["method"] == "Network.requestWillBeSent" and entry["params"]["documentURL"] == page
    ]


@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize(
    ("source", "charts"), [(EnergySource.ESTIMATED, 15), (EnergySource.MISSING, 5)]
)
def test_every_chart_is_drawn_and_nothing_is_asked_for(
    browser: Any, pages: dict[EnergySource, Path], source: EnergySource, charts: int, width: int
) -> None:
    page = pages[source].as_uri()
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.get(page)

    assert [e for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] == []
    traces = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map("
        "c => c.querySelectorAll('svg.main-svg .scatterlayer .trace').length)"
    )
    assert len(traces) == charts
    assert all(count >= len(runs.BACKENDS) for count in traces)
    # The page itself is the proof that requests are seen at all.
    assert {url for url in _requests(browser, page) if not url.startswith("data:")} == {page}
    # The page itself never scrolls sideways: wide tables scroll inside their frames.
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_page_with_everything_neither_scrolls_sideways_nor_complains(
    browser: Any, tmp_path: Path
) -> None:
    page = write_report(unlike_run(tmp_path / "run")).as_uri()
    for width in (1280, 390):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        browser.get(page)
        assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    # The mark is a sign, not the colour alone, and the colour is there.
    sign, colour, plain = browser.execute_script(
        "const row = [...document.querySelectorAll('#table-fairness tr')]"
        ".find(row => row.cells[0].textContent === 'spinning');"
        "return [row.cells[2].textContent, getComputedStyle(row.cells[2]).color,"
        " getComputedStyle(row.cells[1]).color]"
    )
    assert sign.startswith("≠")
    assert colour != plain
