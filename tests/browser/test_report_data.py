"""The data of the figures of the report, saved from a real browser as CSV."""

import csv
import time
from pathlib import Path
from typing import Any

import pytest

from tests.browser.reports import Pages
from tests.browser.screen import BROWSER, complaints, land

pytestmark = BROWSER


@pytest.mark.parametrize("kind", ["estimated", "servers", "hostile"])
def test_the_data_of_a_figure_are_saved_as_csv(
    browser: Any, pages: Pages, tmp_path: Path, kind: str
) -> None:
    land(browser, pages[kind])
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
    assert not complaints(browser)


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
