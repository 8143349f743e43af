"""The fewest nodes are kept that bring a network within its bound."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.exporter.precisions.sensitivity import Loss, Node, choices

NODES = [Node(f"n{at}", at % 5 == 0) for at in range(100)]


def adding(losses: dict[str, float], runs: list[frozenset[str]] | None = None) -> Loss:
    """Make a network whose loss is the sum of what its lowered nodes lose."""

    def loss(kept: frozenset[str]) -> float:
        if runs is not None:
            runs.append(kept)
        return sum(losses.get(node.name, 0.0) for node in NODES if node.name not in kept)

    return loss


@given(
    st.dictionaries(
        st.sampled_from([n.name for n in NODES]), st.just(math.inf), min_size=1, max_size=5
    )
)
def test_nodes_that_overflow_are_found_and_no_others(losses: dict[str, float]) -> None:
    assert next(choices(NODES, adding(losses))) == set(losses)


def test_as_many_are_kept_as_are_needed_and_no_more() -> None:
    losses = {"n3": 0.9, "n17": 0.5, "n18": 0.4, "n80": 0.2}  # 2.0 in all
    assert next(choices(NODES, adding(losses))) == {"n3", "n17"}


def test_larger_choices_follow_where_the_artifact_needs_more() -> None:
    losses = {"n3": 3.0, "n17": 0.5, "n18": 0.4}
    made = list(itertools.islice(choices(NODES, adding(losses)), 3))
    assert made[0] == {"n3"}
    assert made[1] == {"n3", "n17"}
    assert made[1] < made[2]


def test_a_network_that_loses_everywhere_is_not_kept_as_a_whole() -> None:
    everywhere = {node.name: 1.0 for node in NODES}
    assert list(choices(NODES, adding(everywhere))) == []


def test_the_search_is_bounded() -> None:
    runs: list[frozenset[str]] = []
    nodes = [Node(f"n{at}", False) for at in range(5000)]

    def loss(kept: frozenset[str]) -> float:
        runs.append(kept)
        return (len(nodes) - len(kept)) / 1000

    next(choices(nodes, loss), None)
    assert len(runs) < 200


@pytest.mark.parametrize("multiplies", [True, False])
def test_most_of_what_multiplies_is_not_kept(multiplies: bool) -> None:
    nodes = [Node(f"n{at}", multiplies and at < 4) for at in range(100)]
    losses = {f"n{at}": 2.0 for at in range(3)}

    def loss(kept: frozenset[str]) -> float:
        return sum(lost for name, lost in losses.items() if name not in kept)

    assert (list(choices(nodes, loss)) == []) == multiplies
