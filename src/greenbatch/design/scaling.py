"""Shortening a study by a factor: its times, requests and repetitions, as far as it makes sense."""

from collections.abc import Mapping

from greenbatch.design.protocol import PROFILES
from greenbatch.design.study import FEWEST_REQUESTS, Study, make_study
from greenbatch.errors import StudyError

_TIMES = ("window_s", "warm_up_min_s", "warm_up_max_s", "idle_s", "rest_min_s", "rest_max_s")
_FEWEST_SCALED = 20


def scaled(study: Study, scale: float) -> Study:
    """Shorten a study: its times, requests and repetitions, each down to what still makes sense.

    Raises:
        StudyError: The scale is not above 0 and at most 1.
    """
    members = study.model_dump(mode="json", by_alias=True) | {
        "protocol": shortened(study.protocol, scale),
        "scale": scale,
        "repetitions": study.repetitions
        if study.budget
        else max(1, round(study.repetitions * scale)),
        "budget": study.budget and study.budget * scale,
        "precision_target": None,  # a shortened run is for a look, and takes no more than that
        "max_repetitions": None,
        "requests": max(_FEWEST_SCALED, round((study.requests or FEWEST_REQUESTS) * scale)),
    }
    return make_study(members, f"{study.name} at scale {scale:g}")


def shortened(protocol: Mapping[str, float], scale: float) -> dict[str, float]:
    """Return the rules of a protocol with shorter times, down to those of the quick profile.

    Raises:
        StudyError: The scale is not above 0 and at most 1.
    """
    if not 0 < scale <= 1:
        raise StudyError(f"the scale is {scale:g}; wanted a number above 0 and at most 1")
    quick = PROFILES["quick"]
    rules = dict(protocol)
    for rule in _TIMES:
        rules[rule] = min(rules[rule], max(rules[rule] * scale, getattr(quick, rule)))
    rules["window_ticks"] = min(rules["window_ticks"], max(quick.window_ticks, 1))
    return rules
