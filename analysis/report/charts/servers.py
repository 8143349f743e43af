"""Charts of servers: energy against response time, and both by batching policy."""

from collections.abc import Sequence

from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.serving import ServingPanel, policy_of
from greenbatch.analysis.report.charts.charts import Chart
from greenbatch.analysis.report.charts.facts import (
    Bounds,
    ServerCurve,
    ServerPoint,
    ServerView,
    ServingFacts,
    bounded,
)
from greenbatch.analysis.statistics.intervals import Interval


def serving_charts(panels: Sequence[ServingPanel], variants: Sequence[str]) -> list[Chart]:
    """Energy per request against response time, a point for each policy: low and left is good.

    Args:
        panels: As `greenbatch.analysis.findings.serving.serving_panels` gives them.
        variants: All of the run, in its order.
    """
    return _charts(panels, variants, "serving", "Energy per request against response time of")


def policy_charts(
    panels: Sequence[ServingPanel], variants: Sequence[str], view: ServerView
) -> list[Chart]:
    """Energy per request, or response time, by batching policy.

    Args:
        panels: As `greenbatch.analysis.findings.serving.serving_panels` gives them.
        variants: All of the run, in its order.
        view: ``serving-energy`` or ``serving-response``.
    """
    what = "Energy per request" if view == "serving-energy" else "Response time"
    return _charts(panels, variants, view, f"{what} by batching policy of")


def _charts(
    panels: Sequence[ServingPanel], variants: Sequence[str], view: ServerView, words: str
) -> list[Chart]:
    charts = []
    several = len({panel.traffic for panel in panels}) > 1
    for number, panel in enumerate(panels):
        drawn: list[ServerCurve] = [
            {
                "variant": variants.index(curve.variant),
                "label": f"{curve.kind}, {curve.label}",
                "policy": curve.kind,
                "estimated": curve.estimated and view != "serving-response",
                "points": [
                    _server(
                        row,
                        panel.pareto_status.get(row.cell),
                        panel.net_pareto_status.get(row.cell),
                    )
                    for row in curve.rows
                ],
            }
            for curve in panel.curves
        ]
        facts: ServingFacts = {
            "kind": view,
            "model": panel.model,
            "policies": panel.policies,
            "curves": drawn,
        }
        label = f"{words} {panel.model}, {panel.words}"
        name = f"{view}-{number}"
        note, group = (panel.unsustained, panel.traffic) if several else (panel.words, "")
        charts.append(Chart(name, panel.model, label, facts, note, group))
    return charts


def _server(row: CellRow, pareto_status: str | None, net_pareto_status: str | None) -> ServerPoint:
    return {
        "policy": policy_of(row),
        "energy": _known(row.energy_per_image_j),
        "net": _known(row.energy_per_image_net_j),
        "p99": _known(row.response_p99_s),
        "mean": _known(row.response_mean_s),
        "pareto_status": pareto_status,
        "net_pareto_status": net_pareto_status,
    }


def _known(value: Interval | None) -> Bounds | None:
    return None if value is None else bounded(value)
