"""The controls of the report in a real browser: what each one changes, and what it leaves."""

from typing import Any

import pytest

from tests.browser.reports import Pages
from tests.browser.screen import BROWSER, chart, complaints, drawn, open_page, show

pytestmark = BROWSER


def _models(browser: Any) -> Any:
    """Of which models charts are shown."""
    return browser.execute_script(
        "return [...document.querySelectorAll('figure[data-model]')]"
        ".filter(f => f.offsetParent).map(f => f.dataset.model)"
    )


def test_a_server_is_read_by_its_mean_or_its_tail_and_by_model(browser: Any, pages: Pages) -> None:
    from selenium.webdriver.common.by import By

    open_page(browser, pages["servers"])
    reach = (
        "return document.getElementById('serving-0').data.slice(0, -1).map(t => Math.max(...t.x))"
    )
    assert chart(browser, "serving-0")["names"][0] == "greedy, onnxruntime-cpu (estimated)"
    tail_s = browser.execute_script(reach)
    browser.find_element(By.CSS_SELECTOR, "input[name=per-serving][value=mean]").click()
    drawn(browser)
    mean_s = browser.execute_script(reach)
    assert all(mean < tail for mean, tail in zip(mean_s, tail_s, strict=True))

    browser.find_element(By.ID, "choose-model").send_keys("densenet121")
    drawn(browser)
    assert _models(browser) == ["densenet121"] * 6  # by policy twice and the front, at two rates


def test_servers_stand_by_policy_with_their_mean_or_their_tail_and_net(
    browser: Any, pages: Pages
) -> None:
    from selenium.webdriver.common.by import By

    open_page(browser, pages["servers"])
    heights = "return document.getElementById(arguments[0]).data.map(t => [...t.y])"
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
    for name, control in (
        ("serving-response-0", "input[name=per-serving-response][value=p99]"),
        ("serving-energy-0", "input[name=energy][value=net]"),
    ):
        before = browser.execute_script(heights, name)
        browser.find_element(By.CSS_SELECTOR, control).click()
        show(browser, name)
        after = browser.execute_script(heights, name)
        assert [len(line) for line in after] == [len(line) for line in before]
        pairs = [
            (one, other)
            for line, others in zip(before, after, strict=True)
            for one, other in zip(line, others, strict=True)
        ]
        rises = name == "serving-response-0"  # the tail is above the mean, net below gross
        assert all((other > one) == rises for one, other in pairs), name


def test_a_model_is_chosen_by_the_keyboard_alone(browser: Any, pages: Pages) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, pages["estimated"])
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
    drawn(browser)
    assert _models(browser) == ["densenet121"] * 3
    show(browser, "power-0")
    said = browser.find_element(By.ID, "power-summary").text
    assert said.startswith("densenet121 on onnxruntime-cpu at batch 1")


def test_a_backend_is_taken_out_and_put_back_by_the_space_bar(browser: Any, pages: Pages) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, pages["estimated"])
    before = chart(browser, "energy-0")["names"]
    assert before == ["onnxruntime-cpu (estimated)", "torch-cpu (estimated)"]
    box = browser.find_element(By.CSS_SELECTOR, "input[data-variant='0']")
    for names in (before[1:], before):
        box.send_keys(Keys.SPACE)
        drawn(browser)
        assert chart(browser, "energy-0")["names"] == names
        assert chart(browser, "tradeoff-1")["names"] == names
    for place in (0, 1):
        browser.find_element(By.CSS_SELECTOR, f"input[data-variant='{place}']").send_keys(
            Keys.SPACE
        )
    show(browser, "latency-0")
    assert "No backend is chosen." in browser.find_element(By.ID, "latency-0").text


def test_axes_go_linear_and_back(browser: Any, pages: Pages) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, pages["estimated"])
    charts = ("energy-0", "latency-1", "tradeoff-0", "timeline-energy")
    logarithmic = browser.find_element(By.CSS_SELECTOR, "input[name=scale][value=log]")
    logarithmic.send_keys(Keys.ARROW_RIGHT)
    drawn(browser)
    assert {chart(browser, name)["axis"] for name in charts} == {"linear"}
    linear = browser.find_element(By.CSS_SELECTOR, "input[name=scale][value=linear]")
    linear.send_keys(Keys.ARROW_LEFT)
    drawn(browser)
    assert {chart(browser, name)["axis"] for name in charts} == {"log"}


@pytest.mark.parametrize(
    ("control", "value", "name", "power"),
    [
        ("per-energy", "batch", "energy-0", 1),
        ("per-tradeoff", "batch", "tradeoff-0", 1),
        ("per-latency", "image", "latency-0", -1),
    ],
)
def test_figures_are_shown_for_an_image_or_for_a_batch(
    browser: Any, pages: Pages, control: str, value: str, name: str, power: int
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, pages["estimated"])
    before = chart(browser, name)["y"][0]
    chosen = browser.find_element(By.CSS_SELECTOR, f"input[name={control}]:checked")
    chosen.send_keys(Keys.ARROW_RIGHT)
    drawn(browser)
    assert browser.find_element(By.CSS_SELECTOR, f"input[value={value}]").is_enabled()
    after = chart(browser, name)["y"][0]
    ratios = [b / a for a, b in zip(before, after, strict=True)]
    assert ratios == pytest.approx([size**power for size in (1, 4, 16)])


def test_the_power_of_another_cell_is_shown_with_its_window(browser: Any, pages: Pages) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    open_page(browser, pages["estimated"])
    select = Select(browser.find_element(By.ID, "choose-cell"))
    assert len(select.options) == 2 * 2 * 3
    select.select_by_visible_text("densenet121 on torch-cpu at batch 4")
    drawn(browser)
    said = browser.find_element(By.ID, "power-summary").text
    assert said == "densenet121 on torch-cpu at batch 4: package-0, estimated."
    names = chart(browser, "power-0")["names"]
    assert names == [f"package-0, repetition {n}" for n in (1, 2, 3)]
    windows = browser.execute_script(
        "return document.getElementById('power-0').layout.shapes"
        ".filter(s => s.type === 'rect').map(s => [s.x0, s.x1])"
    )
    assert all(start == 0 and 1.9 < end < 2.6 for start, end in windows)


def test_net_energy_is_shown_where_idle_power_is_known(browser: Any, pages: Pages) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, pages["estimated"])
    charts = ("energy-0", "tradeoff-0", "accuracy-0")
    gross = {name: chart(browser, name)["y"] for name in charts}
    power = chart(browser, "latency-0")["y"]
    button = browser.find_element(By.CSS_SELECTOR, "input[name=energy][value=gross]")
    button.send_keys(Keys.ARROW_RIGHT)
    for name in charts:
        net = chart(browser, name)["y"]
        lower = [
            a < b
            for ours, theirs in zip(net, gross[name], strict=True)
            for a, b in zip(ours, theirs, strict=True)
        ]
        assert lower
        assert all(lower)
    assert chart(browser, "latency-0")["y"] == power
    words = browser.find_element(By.CSS_SELECTOR, "#energy [data-energy=net]")
    assert words.is_displayed()
    assert words.text.startswith("Net: less idle power")
    browser.find_element(By.ID, "choose-model").send_keys("densenet121")  # it stays chosen
    drawn(browser)
    assert browser.find_element(By.CSS_SELECTOR, "input[name=energy][value=net]").is_selected()
    browser.find_element(By.CSS_SELECTOR, "input[name=energy][value=net]").send_keys(
        Keys.ARROW_LEFT
    )
    browser.find_element(By.ID, "choose-model").send_keys("all 2")
    assert chart(browser, "energy-0")["y"] == gross["energy-0"]
    assert complaints(browser) == []


def test_where_net_energy_is_not_known_the_chart_says_so(browser: Any, pages: Pages) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, pages["partly net"])
    button = browser.find_element(By.CSS_SELECTOR, "input[name=energy][value=gross]")
    button.send_keys(Keys.ARROW_RIGHT)
    assert chart(browser, "energy-0")["names"] == ["onnxruntime-cpu"]
    browser.find_element(By.CSS_SELECTOR, "input[data-variant='0']").send_keys(Keys.SPACE)
    show(browser, "energy-0")
    assert "Net energy is not known here." in browser.find_element(By.ID, "energy-0").text
