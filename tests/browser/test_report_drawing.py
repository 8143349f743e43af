"""The report in a real browser, without network: drawn on a screen, on paper, without scripts."""

import base64
from typing import Any

import pytest

from tests.browser.reports import Pages
from tests.browser.screen import BROWSER, chart, complaints, drawn, land, open_page, requests, show

pytestmark = BROWSER


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
    browser: Any, pages: Pages, name: str, charts: int, width: int, dark: bool
) -> None:
    open_page(browser, pages[name], width, dark=dark)

    assert complaints(browser) == []
    traces = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map("
        "c => c.querySelectorAll('svg.main-svg .scatterlayer .trace').length)"
    )
    assert len(traces) == charts
    assert all(count >= 2 for count in traces)
    # The page itself is the proof that requests are seen at all.
    page = pages[name].as_uri()
    assert {u for u in requests(browser, page) if not u.startswith("data:")} == {page}
    # The page itself never scrolls sideways: wide tables scroll inside their frames.
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_ground_and_the_lines_follow_the_colour_scheme(browser: Any, pages: Pages) -> None:
    seen = []
    for dark in (False, True):
        open_page(browser, pages["estimated"], dark=dark)
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        seen.append((ground, tuple(chart(browser, "energy-0")["colours"])))
    assert seen[0][0] == "rgb(255, 255, 255)"
    assert seen[1][0] == "rgb(20, 24, 28)"
    assert not set(seen[0][1]) & set(seen[1][1])


def test_on_paper_a_dark_page_is_light_and_its_notes_are_open(browser: Any, pages: Pages) -> None:
    open_page(browser, pages["estimated"], dark=True)
    dark = chart(browser, "energy-0")["colours"]
    printed = browser.execute_script(
        "scrollTo(0, 0); dispatchEvent(new Event('beforeprint'));"
        "const colours = document.getElementById('energy-0').data.map(t => t.line.color);"
        "return [colours, [...document.querySelectorAll('details')].every(d => d.open)]"
    )
    assert printed[1]
    assert not set(printed[0]) & set(dark)
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    drawn(browser)
    assert chart(browser, "energy-0")["colours"] == dark
    sheet = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(sheet).startswith(b"%PDF")
    assert complaints(browser) == []


def test_only_what_is_in_view_is_drawn_and_the_rest_as_it_comes(browser: Any, pages: Pages) -> None:
    land(browser, pages["estimated"])
    drawn = "return [...document.querySelectorAll('.chart .main-svg')].length"
    name = "timeline-front"
    assert not browser.execute_script(f"return !!document.querySelector('#{name} .main-svg')")
    before = browser.execute_script(drawn)
    show(browser, name)
    assert browser.execute_script(f"return !!document.querySelector('#{name} .main-svg')")
    assert browser.execute_script(drawn) > before


def test_what_never_came_into_view_is_printed_and_follows_the_controls(
    browser: Any, pages: Pages
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    land(browser, pages["estimated"])
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
    drawn(browser)


def test_without_scripts_the_page_has_its_words_and_tables_and_links_to_the_figures(
    browser: Any, pages: Pages
) -> None:
    from selenium.webdriver.common.by import By

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["estimated with figures"].as_uri())
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
    assert all((pages["estimated with figures"].parent / name).is_file() for name in files)


def test_what_differs_is_marked_by_a_sign_and_a_colour(browser: Any, pages: Pages) -> None:
    open_page(browser, pages["unlike"])
    sign, colour, plain = browser.execute_script(
        "const row = [...document.querySelectorAll('#table-fairness tr')]"
        ".find(row => row.cells[0].textContent === 'spinning');"
        "return [row.cells[2].textContent, getComputedStyle(row.cells[2]).color,"
        " getComputedStyle(row.cells[1]).color]"
    )
    assert sign.startswith("≠")
    assert colour != plain


def test_the_terms_are_in_the_page(browser: Any, pages: Pages) -> None:
    land(browser, pages["missing"])
    shown = "return document.getElementById('glossary').checkVisibility()"
    assert not browser.execute_script(shown)
    browser.execute_script("document.querySelector('a[href=\"#glossary\"]').click()")
    assert browser.execute_script(shown)
    terms = browser.execute_script(
        "return [...document.querySelectorAll('#glossary dt')].map(t => t.textContent)"
    )
    assert {"cell", "block", "window", "Pareto front"} <= set(terms)
