"""The sections of the page that hold charts of servers."""

from collections.abc import Sequence

from greenbatch.analysis.findings.batch_effects import BatchEffect, effect_sentences
from greenbatch.analysis.findings.serving import OVERLOADED, ServingPanel
from greenbatch.analysis.report.charts.servers import policy_charts, serving_charts
from greenbatch.analysis.report.page import Section
from greenbatch.analysis.report.sections import net_words

_SHAPES = {"greedy": "circles", "fixed": "squares", "dynamic": "diamonds"}
_ESTIMATES = " Estimates are dashed and hollow."
_PALE = (
    " Where no policy sustains the rate, all points are pale: their response times depend on the "
    "length of the window alone."
)


def serving_sections(
    panels: Sequence[ServingPanel],
    variants: Sequence[str],
    effects: Sequence[BatchEffect] = (),
) -> list[Section]:
    """Energy and response time of servers, by policy and one against the other.

    None where no server has both; by policy only where there are two policies.

    Args:
        panels: The servers by model and traffic.
        variants: All of the run, in its order.
        effects: Tests of the policies.
    """
    if not panels:
        return []
    drawn = [curve for panel in panels for curve in panel.curves]
    estimated = any(curve.estimated for curve in drawn)
    mark = _ESTIMATES if estimated else ""
    late = any(OVERLOADED in panel.pareto_status.values() for panel in panels)
    pale = _PALE if late else ""
    kinds = dict.fromkeys(curve.kind for curve in drawn)
    shapes = ", ".join(f"{kind} ({_SHAPES[kind]})" for kind in kinds)
    net = net_words([row for curve in drawn for row in curve.rows])
    sections = []
    if any(len(panel.policies) > 1 for panel in panels):
        sections = [
            Section(
                "serving-energy",
                "Energy per request by batching policy" + (" (estimated)" if estimated else ""),
                "A policy is named by its largest batch; a line joins the sizes of one kind: "
                f"{shapes}. Lower is better.{pale}{mark}",
                policy_charts(panels, variants, "serving-energy"),
                sentences=effect_sentences(effects, server=True, figure="energy"),
                estimated=estimated,
                net=net,
            ),
            Section(
                "serving-response",
                "Response time by batching policy",
                f"Time of a request from its planned arrival to its result; lower is better.{pale}",
                policy_charts(panels, variants, "serving-response"),
                sentences=effect_sentences(effects, server=True, figure="response_mean"),
                per=(("mean", "mean"), ("p99", "99th percentile")),
            ),
        ]
    front = Section(
        "serving",
        "Pareto front: energy against response time" + (" (energy estimated)" if estimated else ""),
        "Each point is a server under a batching policy; low and left is better. A line joins "
        f"the sizes of one kind of policy: {shapes}. Large points are on the Pareto front of "
        f"energy and 99th percentile.{pale}{mark}",
        serving_charts(panels, variants),
        per=(("p99", "99th percentile"), ("mean", "mean")),
        estimated=estimated,
        net=net,
    )
    return [*sections, front]
