"""Which machines a fleet accepts."""

from typing import Any

import msgspec

from greenbatch.runners.fleet.admission import Admission
from greenbatch.runners.fleet.planning import parse_sharing
from greenbatch.runners.fleet.rules import Rules
from tests.fakes.fleet import facts


def admission(**rules: Any) -> Admission:
    return Admission(Rules(sharing=parse_sharing("each"), **rules))


def test_the_first_versions_that_differ_are_named_and_the_rest_counted() -> None:
    found = admission()
    assert not found.refusal(facts("a"))
    assert not found.refusal(facts("b"))
    others = {f"package-{number}": "2" for number in range(5)}
    reason = found.refusal(facts("c", **others))
    assert "package-0 is 2, and not installed on the first machine" in reason
    assert reason.count("on the first machine") == 3
    assert "and 2 more; install the same versions" in reason


def test_machines_are_compared_with_the_first_of_their_own_kind() -> None:
    found = admission(group_versions=True)
    slow = msgspec.structs.replace(facts("b", cpu="Another CPU"), governor="powersave")
    assert not found.suspicion(facts("a"))
    assert not found.suspicion(slow)
    reason = found.suspicion(msgspec.structs.replace(slow, name="c", governor="performance"))
    assert reason == (
        "it differs from b, of the same kind: governor is performance, expected powersave"
    )
