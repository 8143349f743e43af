"""A recommendation in plain sentences, and its choices as a table."""

import math

from greenbatch import units
from greenbatch.analysis.findings.wording import NOT_KNOWN, Table, plain, spread
from greenbatch.analysis.recommendation.basis import length
from greenbatch.analysis.recommendation.choices import Choice, differs
from greenbatch.analysis.recommendation.limits import RESPONSE_ERROR, Limits
from greenbatch.analysis.recommendation.recommend import Recommendation
from greenbatch.analysis.statistics.intervals import Interval, bounds
from greenbatch.queueing.policies import Policy

BUSIEST = "p99, busiest"
_MOST_ROWS = 10


def question(found: Recommendation, arrivals: str) -> str:
    """Write the request: ``alexnet, 200 requests/s (poisson), p99 at most 50 ms``."""
    limits = limits_text(found.limits)
    return f"{found.model}, {plain(found.rate_hz)} requests/s ({arrivals}){limits and ', '}{limits}"


def limits_text(limits: Limits) -> str:
    """Write the limits; empty where there are none."""
    parts = (("p99", limits.p99_s), ("mean", limits.mean_s))
    return ", ".join(f"{name} at most {units.si(s, 's')}" for name, s in parts if s is not None)


def answer(found: Recommendation) -> list[str]:
    """Answer in sentences, the choice first."""
    best = found.best
    if best is None:
        return [_too_much(found)]
    sentences = [_summary(found, best), _predicted(found, best)]
    if found.verdict == "not shown":
        sentences.append(_doubt(found, best))
    if found.met:
        sentences += [*_tie(found, best), *_savings(found, best), *_next(found, best)]
        sentences += _interpolated(best)
    if found.met and not found.limits.any and len(found.pareto) > 1:
        sentences.append("No limit on the response time was given: the Pareto choices are below.")
    if found.most_hz.centre < 1.25 * found.needed_hz:
        sentences.append(
            f"The traffic is near the largest rate that can be sustained: {_most(found)}."
        )
    return sentences


def choices_table(found: Recommendation) -> Table:
    """The answer and what stands beside it, with their roles."""
    shown: dict[int, tuple[Choice, list[str]]] = {}
    for choice, role in (
        (found.best, "best" if found.met else "nearest"),
        (found.least if found.met else None, "least"),
        (found.runner_up, "next"),
        *((c, f"{'best' if c.met else 'nearest'} elsewhere") for c in found.elsewhere),
        (found.batch_one, "batch 1"),
        (found.fastest, "fastest"),
        *((choice, "Pareto") for choice in found.pareto if not found.limits.any),
    ):
        if choice is not None and not (role == "least" and choice is found.best):
            shown.setdefault(id(choice), (choice, []))[1].append(role)
    source = {choice.energy_source for choice, _ in shown.values()} - {"missing"}
    per = "energy/request" if found.idle_counted else "energy/request, batches alone"
    one = len(source) < 2
    heading = f"{per} ({', '.join(source)})" if one and source else per

    rows = [
        {
            "": ", ".join(roles),
            "backend": where(choice),
            "policy": choice.policy.text,
            heading: spread(choice.energy_j, "J")
            + ("" if one or not choice.energy_j else f" ({choice.energy_source})"),
            "p99": spread(choice.p99_s, "s"),
            **({BUSIEST: spread(choice.busiest_p99_s, "s")} if found.recorded else {}),
            "mean": spread(choice.mean_s, "s"),
            "mean batch": plain(choice.batch),
            "busy": f"{100 * choice.busy:.0f} %",
        }
        for choice, roles in list(shown.values())[:_MOST_ROWS]
    ]
    columns = tuple(rows[0]) if rows else ()
    numeric = tuple(place > 2 for place in range(len(columns)))
    return Table("choices", "Choices", columns, tuple(tuple(r.values()) for r in rows), numeric)


def where(choice: Choice) -> str:
    """Name the backend of a choice, with what is unusual."""
    cell = choice.cell
    precision = "" if cell.precision == "fp32" else f" in {cell.precision}"
    io = "" if cell.io == "host" else f", io {cell.io}"
    return f"{cell.variant}{precision}{io}"


def in_words(policy: Policy) -> str:
    """Say what a policy does."""
    if policy.largest == 1:
        return "one request at a time"
    if math.isinf(policy.wait_s):
        return f"batches of {policy.largest}, waiting until they are full"
    if not policy.wait_s:
        return f"batches of whatever waits, at most {policy.largest}, without waiting for more"
    return (
        f"a batch as soon as {units.count(policy.largest, 'request')} wait or the oldest has "
        f"waited {units.si(policy.wait_s, 's')}"
    )


def _summary(found: Recommendation, best: Choice) -> str:
    serves = f"{where(best)} with {best.policy.text}: {in_words(best.policy)}"
    limits = limits_text(found.limits)
    if found.verdict == "not shown":
        what = f"{limits} can be met" if limits else "the rate can be sustained"
        return f"Not shown whether {what}. {'Best' if found.met else 'Nearest'}: {serves}."
    if not found.met:
        hard = _in_busiest(found, best)
        return f"Nothing meets {limits}{hard}. Nearest comes {serves}."
    within = " within that" if limits else ""
    if found.least is not best:
        equal = "energy" if found.criterion == "energy" else "p99"
        return f"Simplest of the choices with the least {equal}{within}: {serves}."
    if found.criterion == "energy" and best.energy_j is not None:
        return f"Least energy{within}: {serves}."
    return f"Fastest: {serves}."


def _in_busiest(found: Recommendation, best: Choice) -> str:
    """Name the busiest stretch where it is there alone that the limits are not kept."""
    if found.recorded is None or found.limits.strain(best.p99_s.centre, best.mean_s.centre) > 1:
        return ""
    return f" in the busiest {length(found.recorded.busiest)}"


def _predicted(found: Recommendation, best: Choice) -> str:
    energy = "energy unknown"
    if best.energy_j is not None:
        alone = "" if found.idle_counted else ", batches alone"
        energy = f"{spread(best.energy_j, 'J')} per request ({best.energy_source}{alone})"
        if best.idle_j is not None:
            energy += f", of which {units.si(best.idle_j.centre, 'J')} is the idle machine"
    busiest = ""
    if found.recorded and best.busiest_p99_s:
        stretch = length(found.recorded.busiest)
        busiest = f" ({spread(best.busiest_p99_s, 's')} in the busiest {stretch})"
    return (
        f"Predicted: p99 {spread(best.p99_s, 's')}{busiest}, mean {spread(best.mean_s, 's')}, "
        f"{energy}; busy {100 * best.busy:.0f} % of the time, {plain(best.batch)} requests in a "
        "mean batch."
    )


def _doubt(found: Recommendation, best: Choice) -> str:
    """Say why neither a yes nor a no is shown."""
    if best.p99_s.kind != "t":
        return "There are too few repetitions to show it; measure three or more."
    if found.recorded and found.limits.p99_s and not found.recorded.has_p99:
        count = len(found.recorded.instants_s)
        return (
            f"The recording has {units.count(count, 'request')}, too few for a 99th percentile: "
            "give 100 or more."
        )
    near_most = bounds(best.holds_hz)[0] < found.needed_hz * (1 + RESPONSE_ERROR)
    if best.met and near_most:
        cause = "the rate is near the largest that is sustained"
    else:
        cause = "the limit is near the predicted response time"
    return (
        f"It is not shown because {cause}, within its interval and the error of the prediction "
        f"({100 * RESPONSE_ERROR:.0f} % or more)."
    )


def _tie(found: Recommendation, best: Choice) -> list[str]:
    """Say what the choice of the least predicted cost might save."""
    least = found.least
    if least is None or least is best or found.least_over_best is None:
        return []
    what = "energy" if found.criterion == "energy" else "p99"
    share = f"{_share(found.least_over_best)} {what}, no significant difference"
    p99 = f"its p99 is {units.si(least.hardest_p99_s, 's')}"
    return [f"{where(least)} with {least.policy.text} might have {share}; {p99}."]


def _savings(found: Recommendation, best: Choice) -> list[str]:
    parts = []
    fastest = found.fastest or best
    quickly = (
        f"the fastest ({where(fastest)}, {fastest.policy.text}, p99 "
        f"{units.si(fastest.p99_s.centre, 's')})"
    )
    others = (
        (found.batch_one, found.against_one, "serving one at a time there"),
        (found.fastest, found.against_fastest, quickly),
    )
    for other, against, name in others:
        if other is None or other is best:
            continue
        if against.interval is not None:
            equal = "" if differs(against.interval, "energy") else ", no significant difference"
            parts.append(f"{_share(against.interval)} than {name}{equal}")
        elif against.reason:
            parts.append(f"not compared with {name}: {against.reason}")
    sentences = [f"Energy: {'; '.join(parts)}."] if parts else []
    if found.fastest is best:
        sentences.append("Nothing here is faster.")
    if best.policy.largest > 1 and found.batch_one is None:
        sentences.append(
            "Serving one at a time there does not sustain the rate, or was not measured."
        )
    return sentences


def _share(over: Interval) -> str:
    """Write a ratio as ``23 % less (20 … 25)``, or ``5 % less (12 % less … 3 % more)``."""
    text = _less(over.centre)
    if over.low is None or over.high is None:
        return text
    if not over.known:
        return f"{text} ({NOT_KNOWN})"
    word = "" if over.kind == "t" else "range "
    if (over.low <= 1) == (over.high <= 1):
        ends = " … ".join(
            _percent(abs(1 - end)) for end in sorted((over.low, over.high), key=_size)
        )
    else:
        ends = f"{_less(over.low)} … {_less(over.high)}"
    return f"{text} ({word}{ends})"


def _less(ratio: float) -> str:
    return f"{_percent(abs(1 - ratio))} % {'less' if ratio <= 1 else 'more'}"


def _size(ratio: float) -> float:
    return abs(1 - ratio)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if abs(share) < 0.0995 else f"{100 * share:.0f}"


def _next(found: Recommendation, best: Choice) -> list[str]:
    second = found.runner_up
    if second is not None and second is found.least:
        return []
    if second is None:
        return ["No other kind of choice is left to compare with."]
    name = f"{where(second)} with {second.policy.text}"
    what = "energy" if found.criterion == "energy" else "p99"
    if found.margin is None:
        return [f"Next is {name}."]
    share = _share(found.margin)
    if found.margin.kind != "t":
        sure = "too few repetitions to be sure"
    else:
        sure = "a significant difference" if found.clear else "no significant difference"
    return [f"Next is {name}. Its {what}: {share}, {sure}."]


def _interpolated(best: Choice) -> list[str]:
    if best.interpolated < 0.005:
        return []
    share = f"{100 * best.interpolated:.0f} % of its requests are in batches of sizes"
    return [f"{share} that were not measured; their time and energy are interpolated."]


def _too_much(found: Recommendation) -> str:
    wanted = f"{plain(found.needed_hz)} requests/s"
    if found.recorded and found.needed_hz > found.rate_hz:
        wanted = f"the {wanted} of the busiest {length(found.recorded.busiest)}"
    if found.verdict == "not shown":
        return (
            f"Not shown whether a policy sustains {wanted}: the queue grows in at least one "
            f"repetition, and {_most(found)}."
        )
    return f"No policy sustains {wanted}: {_most(found)}."


def _most(found: Recommendation) -> str:
    cell, size = found.most
    return (
        f"the most is {spread(found.most_hz, '')} requests/s, with full batches of {size} on "
        f"{cell.variant}"
    )
