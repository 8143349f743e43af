"""Names that are HTML or scripts, in the report in a real browser: they are text."""

from typing import Any

from tests.browser.reports import HOSTILE, Pages
from tests.browser.screen import BROWSER, complaints, land, open_page

pytestmark = BROWSER


def test_a_hostile_name_is_text_wherever_it_stands(browser: Any, pages: Pages) -> None:
    from selenium.webdriver.common.by import By

    open_page(browser, pages["hostile"])
    assert complaints(browser) == []
    assert browser.find_element(By.TAG_NAME, "h1").text == HOSTILE
    assert HOSTILE in browser.find_element(By.TAG_NAME, "main").text
    assert (
        browser.execute_script("return document.querySelectorAll('main script, h1 *').length") == 0
    )
    assert (
        browser.execute_script("return document.querySelectorAll('figcaption b, td b').length") == 0
    )


def test_a_hostile_setting_is_text_where_plotly_writes_it(browser: Any, pages: Pages) -> None:
    open_page(browser, pages["hostile"])
    browser.execute_script(
        "document.getElementById('energy-0').scrollIntoView();"
        "Plotly.Fx.hover('energy-0', [{curveNumber: 1, pointNumber: 0}])"
    )
    label = browser.execute_script(
        "return document.querySelector('#energy-0 .hoverlayer').textContent"
    )
    assert "batch 1" in label
    assert "<b>$x^{" in label


def test_a_script_that_gets_into_the_page_does_not_run(browser: Any, pages: Pages) -> None:
    land(browser, pages["estimated"])
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
