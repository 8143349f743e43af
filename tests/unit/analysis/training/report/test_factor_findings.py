"""What the report of a factorial study of trainings says."""

import re
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis import write_report
from tests.fakes import training_runs as fakes
from tests.fakes.report_text import facts, words

pytestmark = pytest.mark.slow


def test_a_factorial_names_the_layers_that_explain_the_energy(
    tmp_path: Path, no_figures: None
) -> None:
    page = write_report(fakes.factorial_run(tmp_path)).page
    text = words(page)
    found = re.search(r"most of the energy of a training is conv layers: ([\d.]+) % of", text)
    assert found
    effects = {n: abs(e[1]) for n, e in _spread(fakes.LAYER_EFFECTS_J).items()}
    share = effects["conv_layers"] ** 2 / sum(e**2 for e in effects.values())
    assert float(found[1]) == pytest.approx(100 * share, abs=1.0)
    assert "without blocks: eta squared" in text
    charts = facts(page)["charts"]
    assert charts["effects-0"]["levels"][0]["factor"] == "conv_layers"
    by_level = {
        (one["factor"], one["level"]): one["value"][0]
        for one in charts["effects-correct-0"]["levels"]
    }
    assert by_level["conv_layers", "4"] == pytest.approx(0.90)
    lines = {curve["label"]: curve["y"] for curve in charts["interaction-0-0"]["curves"]}
    assert charts["interaction-0-0"]["levels"] == ["1", "4"]
    gaps = [
        b[0] - a[0] for a, b in zip(lines["linear layers 3"], lines["linear layers 7"], strict=True)
    ]
    assert gaps == pytest.approx([200, 200], rel=0.1)  # the factors of the make add
    assert re.search(
        r"With conv layers 4 instead of 1, a training needs 2\.\d+ \(.*?\) times", text
    )
    assert "and its best accuracy changes by +5.0 (+5.0 … +5.0) percentage points" in text
    assert re.search(r"With relu 1 .*? times the energy, with the same best accuracy\.", text)


def _spread(effects: Any) -> dict[str, tuple[float, float]]:
    return {name: tuple(levels.values()) for name, levels in effects.items()}
