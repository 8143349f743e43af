"""Chromium as a reader uses it: a page is opened, scrolled, and read."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="chromium or chromedriver is not installed",
    ),
]


def open_page(browser: Any, page: Path, width: int = 1400, *, dark: bool = False) -> None:
    """Open a page and wait until every chart has come into view and is drawn."""
    land(browser, page, width, dark=dark)
    for name in browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map(c => c.id)"
    ):
        show(browser, name)
    browser.execute_script("scrollTo(0, 0)")
    drawn(browser)


def land(browser: Any, page: Path, width: int = 1400, *, dark: bool = False) -> None:
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
    drawn(browser)


def drawn(browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    drawn = "return document.documentElement.dataset.drawn"
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(drawn) == "yes")


def show(browser: Any, name: str) -> None:
    """Scroll a chart into view and wait until it is drawn."""
    browser.execute_async_script(
        "document.getElementById(arguments[0]).scrollIntoView({block: 'center'});"
        "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(arguments[1])))",
        name,
    )
    drawn(browser)


def complaints(browser: Any) -> list[Any]:
    return [e for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]


def requests(browser: Any, page: str) -> set[str]:
    """What the page asked for; the browser's own start page asks for much of its own."""
    entries = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return {
        entry["params"]["request"]["url"]
        for entry in entries
        if entry["method"] == "Network.requestWillBeSent" and entry["params"]["documentURL"] == page
    }


def chart(browser: Any, name: str) -> Any:
    """Its lines' names and heights, and its y axis, as drawn when it is in view."""
    show(browser, name)
    return browser.execute_script(
        "const chart = document.getElementById(arguments[0]);"
        "return {names: chart.data.map(t => t.name), y: chart.data.map(t => t.y),"
        " colours: chart.data.map(t => (t.line || {}).color), axis: chart.layout.yaxis.type}",
        name,
    )
