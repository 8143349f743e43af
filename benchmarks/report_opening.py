"""How long a report of 500 cells takes to open, in a browser that has just been started.

From the request for the page until its text can be read, and until what is in view is drawn, at
the top of the page and at its charts (`#energy-0`). Each round opens every page at both places in
turns, each in a Chromium with an empty profile. Pages to compare may be named; else one of 25
networks on four backends at five batch sizes, with power traces, is made.

    python benchmarks/report_opening.py [PAGE ...] [--rounds 5]
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from greenbatch import units
from greenbatch.analysis import write_report
from greenbatch.models import names
from greenbatch.records import EnergySource
from tests.fakes.traced_run import traced_run

BACKENDS = ("onnxruntime-cpu", "torch-cpu", "torch-compile-cpu", "openvino-cpu")
BATCH_SIZES = (1, 2, 4, 8, 16)
PLACES = {"top": "", "charts": "#energy-0"}
WAIT_S = 60


def main() -> None:
    """Open pages and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pages = options.pages or [write_page(Path(folder) / "run")]
        seen: dict[tuple[Path, str], list[tuple[float, float]]] = {}
        for _ in range(options.rounds):
            for page in pages:
                for place in PLACES:
                    seen.setdefault((page, place), []).append(opened(page.resolve(), place))
        print("| page | size | opened at | text | drawn | slowest |\n|---|--:|---|--:|--:|--:|")
        for (page, place), times in seen.items():
            text_s, drawn_s = (median(column) for column in zip(*times, strict=True))
            size = units.si(page.stat().st_size, "B")
            slowest_s = max(drawn for _, drawn in times)
            entries = (
                str(page),
                size,
                place,
                *(f"{s:.2f} s" for s in (text_s, drawn_s, slowest_s)),
            )
            print("| " + " | ".join(entries) + " |")


def write_page(run: Path) -> Path:
    """Write the report of 500 cells with figures that fit their factors, drawn from a seed."""
    return write_report(
        traced_run(
            run,
            EnergySource.ESTIMATED,
            models=names()[:25],
            backends=BACKENDS,
            batch_sizes=BATCH_SIZES,
        )
    ).page


def opened(page: Path, place: str) -> tuple[float, float]:
    """Return when the page's text was painted and when what is in view was drawn, in s."""
    with tempfile.TemporaryDirectory() as profile:
        chosen = webdriver.ChromeOptions()
        chosen.binary_location = shutil.which("chromium") or ""
        for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900"):
            chosen.add_argument(argument)
        chosen.add_argument(f"--user-data-dir={profile}")
        browser = webdriver.Chrome(options=chosen, service=Service(shutil.which("chromedriver")))
        try:
            # Noted by the page itself: asking would take its thread's time.
            browser.execute_cdp_cmd(
                "Page.addScriptToEvaluateOnNewDocument",
                {
                    "source": "new MutationObserver(() => {"
                    "if (document.documentElement?.dataset.drawn === 'yes')"
                    " requestAnimationFrame(() => setTimeout(() => {"
                    " window.drawnAt ??= performance.now(); })); })"
                    ".observe(document, {subtree: true, attributes: true,"
                    " attributeFilter: ['data-drawn']});"
                },
            )
            browser.get(page.as_uri() + PLACES[place])
            WebDriverWait(browser, WAIT_S).until(
                lambda b: b.execute_script("return window.drawnAt")
            )
            text_ms, drawn_ms = browser.execute_script(
                "return [performance.getEntriesByName('first-contentful-paint')[0].startTime,"
                " window.drawnAt]"
            )
            return text_ms / 1000, drawn_ms / 1000
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
