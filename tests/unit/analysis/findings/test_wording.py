"""An interval that reaches further than 100 % is nowhere shown as a figure."""

from collections.abc import Callable

import pytest

from greenbatch.analysis.dataset.flagged import mostly_disturbed
from greenbatch.analysis.findings import answers, wording
from greenbatch.analysis.findings.comparisons import Ratio
from greenbatch.analysis.recommendation import text as recommendation
from greenbatch.analysis.report.tables import tradeoffs
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.analysis.training.report import footprint_table
from greenbatch.cli.output import comparisons, inference, layers, training

WIDE = Interval(0.01, 1.5, 273.0, 3)
EVEN = Interval(1.2, 1.5, 1.8, 3)
JUST = Interval(0.75, 1.5, 3.0, 3)

FORMATS: list[Callable[[Interval], str]] = [
    lambda value: wording.spread(value, "J"),
    lambda value: wording.bounds(value, "J"),
    wording.margin,
    lambda value: wording.times(Ratio(value)),
    answers._change,
    lambda value: footprint_table._scaled(value, 1.0, "J"),
    lambda value: tradeoffs._bounded(value.centre, value.low or 0.0, value.high or 0.0, 3, "J"),
    recommendation._share,
    comparisons._ratio,
    lambda value: inference._spread(value, "J"),
    lambda value: training._spread(value, "J"),
    layers._spread,
]


@pytest.mark.parametrize("shown", FORMATS)
def test_an_interval_wider_than_its_centre_is_not_known(shown: Callable[[Interval], str]) -> None:
    assert wording.NOT_KNOWN in shown(WIDE)
    assert "273" not in shown(WIDE)
    assert "18" not in shown(WIDE)  # 18100 %
    for value in (EVEN, JUST):
        assert wording.NOT_KNOWN not in shown(value)
        assert "…" in shown(value) or "±" in shown(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0004, "< 0.001"),
        (0.0312, "0.031"),
        (0.0498, "0.0498"),
        (0.04999, "0.0499"),
        (0.05, "0.050"),
        (0.0503, "0.050"),
    ],
)
def test_a_p_below_5_percent_reads_so(value: float, text: str) -> None:
    assert wording.p_text(value) == text


def test_bounds_of_a_share_end_at_0_and_100_percent() -> None:
    assert wording.share(Interval(-0.02, 0.03, 0.08, 3)) == "3.0 % (0.0 … 8.0)"
    assert wording.share(Interval(0.92, 0.97, 1.02, 3)) == "97.0 % (92.0 … 100.0)"
    assert wording.share(Interval(0.5, 0.55, 0.6, 2, "range")) == "55.0 % (range 50.0 … 60.0)"
    assert wording.share(Interval(None, 0.55, None, 1)) == "55.0 %"
    assert wording.share(None) == wording.DASH
    assert wording.degrees(Interval(-0.5, 61.0, 122.5, 3)) == "61.0 °C (-0.5 … 122.5)"


@pytest.mark.parametrize(
    ("low", "high", "known"), [(0.5, 2.0, True), (0.5, 2.01, False), (-0.1, 1.5, False)]
)
def test_an_interval_is_known_up_to_its_centre(low: float, high: float, known: bool) -> None:
    assert Interval(low, 1.0, high, 3).known is known


@pytest.mark.parametrize(("disturbed", "headed"), [(0, False), (2, False), (3, True), (4, True)])
def test_results_are_headed_where_more_than_half_was_disturbed(
    disturbed: int, headed: bool
) -> None:
    assert (f"({disturbed} of 4)" in mostly_disturbed(disturbed, 4)) == headed
    assert bool(mostly_disturbed(disturbed, 4)) == headed
