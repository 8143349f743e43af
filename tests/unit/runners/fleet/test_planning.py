"""How machines divide a study."""

import pytest

from greenbatch.design.study import make_study
from greenbatch.errors import UsageError
from greenbatch.runners.fleet.planning import Unit, check_divisible, dealt, parse_sharing, units_of
from tests.fakes import runs
from tests.fakes.fleet import facts, study


@pytest.mark.parametrize(
    ("text", "group"),
    [("each", "a"), ("any", "all"), ("example=2", "example"), ("epyc=1,Example=2", "Example")],
)
def test_the_group_of_a_machine_follows_from_the_option(text: str, group: str) -> None:
    assert parse_sharing(text).group(facts("a")) == group


def test_a_machine_of_another_kind_has_no_part() -> None:
    assert parse_sharing("epyc=1").group(facts("a")) is None


@pytest.mark.parametrize("text", ["", "all", "=2", "epyc=", "epyc=0", "epyc=x", "epyc=1,each"])
def test_another_division_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="EPYC 9354=4"):
        parse_sharing(text)


def test_a_study_is_divided_into_its_blocks_or_not_at_all() -> None:
    assert units_of(study(2), whole=False) == [Unit("block-0000", (0,)), Unit("block-0001", (1,))]
    assert units_of(study(2), whole=True) == [Unit("whole-study", None)]
    budget = make_study(runs.study() | {"budget": "10m"})
    assert units_of(budget, whole=False) == [Unit("whole-study", None)]


@pytest.mark.parametrize(
    ("more", "whole", "cause"),
    [
        ({"budget": "10m"}, False, "budget"),
        ({"precision_target": "2%"}, False, "precision_target"),
        ({}, True, "--unit study"),
    ],
)
def test_what_depends_on_all_repetitions_is_not_shared(
    more: dict[str, object], whole: bool, cause: str
) -> None:
    members = {k: v for k, v in runs.study().items() if k != "repetitions"} | more
    with pytest.raises(UsageError, match=cause):
        check_divisible(make_study(members), parse_sharing("any"), whole=whole)
    check_divisible(make_study(members), parse_sharing("each"), whole=whole)


def test_units_are_dealt_in_turn() -> None:
    units = units_of(study(3), whole=False)
    assert dealt(units, ["a", "b"]) == {"a": [units[0], units[2]], "b": [units[1]]}
