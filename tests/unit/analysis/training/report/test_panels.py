"""Panels on paper hold the figures that they were given."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from greenbatch.analysis.training.report import panels
from greenbatch.analysis.training.report.charts import styles


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def points_of(line: Line2D) -> tuple[list[float], list[float]]:
    """Where its points are, across and up."""
    x, y = np.asarray(line.get_xydata(), dtype=float).T
    return x.tolist(), y.tolist()


def test_bars_have_their_heights_and_estimates_are_hollow(axes: Axes) -> None:
    panels.bars(
        axes,
        {
            "kind": "bars",
            "unit": "J",
            "words": "energy",
            "groups": ["light", "heavy"],
            "series": [
                {
                    "variant": 0,
                    "label": "lab",
                    "estimated": False,
                    "y": [(0.1, 0.09, 0.11, "t"), None],
                },
                {
                    "variant": 1,
                    "label": "cloud",
                    "estimated": True,
                    "y": [(0.2, 0.2, 0.2, "none"), (0.4, 0.3, 0.5, "t")],
                },
            ],
        },
        styles(["lab", "cloud"]),
    )
    lab, cloud = (found.patches for found in axes.containers if isinstance(found, BarContainer))
    assert [bar.get_height() for bar in lab] == [0.1]
    assert [bar.get_height() for bar in cloud] == [0.2, 0.4]
    assert [to_rgba(bar.get_facecolor())[3] for bar in (lab[0], cloud[0])] == [1.0, 0.0]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in (*lab, *cloud)]
    assert middles == pytest.approx([-0.2, 0.2, 1.2])  # the two of a choice around its name
    assert axes.get_ylim() == pytest.approx((0.0, 0.55))


def test_each_repetition_is_a_point_and_a_flagged_one_a_cross(axes: Axes) -> None:
    panels.repetitions(
        axes,
        {
            "kind": "repetitions",
            "unit": "J",
            "words": "energy",
            "rows": [
                {
                    "variant": 0,
                    "label": "light",
                    "estimated": False,
                    "middle": (-0.01, 0.02),
                    "points": [
                        {"number": n, "value": 1 + off, "off": off, "flagged": off > 0.1}
                        for n, off in enumerate((-0.01, 0.0, 0.3), 1)
                    ],
                }
            ],
        },
        styles(["light"]),
    )
    by_marker = {line.get_marker(): points_of(line)[0] for line in axes.lines}
    assert by_marker["o"] == [-0.01, 0.0]
    assert by_marker["x"] == [0.3]
    assert axes.get_xlim() == pytest.approx((-0.345, 0.345))


def test_a_line_of_an_interaction_leaves_out_what_is_missing(axes: Axes) -> None:
    panels.interaction(
        axes,
        {
            "kind": "interaction",
            "factor": "conv layers",
            "levels": ["1", "4"],
            "curves": [
                {"label": "relu 0", "y": [(1.0, 0.9, 1.1, "t"), (3.0, 2.9, 3.1, "t")]},
                {"label": "relu 1", "y": [None, (3.5, 3.5, 3.5, "none")]},
            ],
        },
    )
    drawn = {
        found.get_label(): points_of(found.lines[0])
        for found in axes.containers
        if isinstance(found, ErrorbarContainer)
    }
    assert drawn == {"relu 0": ([0, 1], [1.0, 3.0]), "relu 1": ([1], [3.5])}
