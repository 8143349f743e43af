"""Batching policies: what they read as, and when they start a batch."""

import math

import pytest

from greenbatch.errors import UsageError
from greenbatch.queueing.policies import Decision, PolicyKind, parse_policy


@pytest.mark.parametrize("text", ["fixed:4", "greedy:4", "dynamic:4:5ms"])
def test_a_policy_is_of_one_of_three_kinds(text: str) -> None:
    assert parse_policy(text).kind is PolicyKind(text.partition(":")[0])


def test_fixed_waits_for_a_full_batch_and_flushes_the_last_one() -> None:
    fixed = parse_policy("fixed:4")
    assert fixed.decide(3, 0.0, 1e9, more=True) == Decision(0)
    assert fixed.decide(4, 0.0, 0.0, more=True) == Decision(4)
    assert fixed.decide(9, 0.0, 0.0, more=False) == Decision(4)
    assert fixed.decide(3, 0.0, 0.0, more=False) == Decision(3, flushed=True)
    assert fixed.batch_sizes() == (4,)


def test_greedy_takes_whatever_waits() -> None:
    greedy = parse_policy("greedy:4")
    assert greedy.decide(0, math.inf, 5.0, more=True) == Decision(0)
    assert greedy.decide(1, 5.0, 5.0, more=True) == Decision(1)
    assert greedy.decide(9, 5.0, 5.0, more=True) == Decision(4)
    assert greedy.batch_sizes() == (1, 2, 3, 4)


def test_dynamic_waits_so_long_after_the_first_of_the_batch() -> None:
    dynamic = parse_policy("dynamic:4:5ms")
    assert dynamic.decide(2, 1.0, 1.0, more=True) == Decision(0, 1.005)
    assert dynamic.decide(2, 1.0, 1.005, more=True) == Decision(2)
    assert dynamic.decide(4, 1.0, 1.0, more=True) == Decision(4)
    # the end of the arrivals is not known to it: a server would wait, too
    assert dynamic.decide(2, 1.0, 1.0, more=False) == Decision(0, 1.005)
    assert dynamic.batch_sizes() == (1, 2, 3, 4)
    assert parse_policy("dynamic:4:inf").batch_sizes() == (4,)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("fixed:16", "fixed:16"),
        (" greedy:8 ", "greedy:8"),
        ("dynamic:8:5", "dynamic:8:5ms"),
        ("dynamic:8:0.005s", "dynamic:8:5ms"),
        ("dynamic:8:500us", "dynamic:8:0.5ms"),
        ("dynamic:8:0", "dynamic:8:0ms"),
        ("dynamic:8:inf", "dynamic:8:inf"),
    ],
)
def test_a_policy_has_one_shortest_form(text: str, written: str) -> None:
    assert parse_policy(text).text == written
    assert parse_policy(parse_policy(text).text) == parse_policy(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gredy:4", "did you mean 'greedy:16'"),
        ("fixed", "such as fixed:16"),
        ("fixed:0", "whole number from 1 to 65536"),
        ("fixed:4:5ms", "such as fixed:16"),
        ("greedy:many", "such as greedy:16"),
        ("dynamic:4", "the longest wait"),
        ("dynamic:4:-5ms", "the longest wait"),
        ("dynamic:4:5h", "the longest wait"),
        ("dynamic:4:nan", "the longest wait"),
        ("dynamic:4:ms", "the longest wait"),
    ],
)
def test_a_policy_that_cannot_be_read_is_told_with_an_example(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_policy(text)
