"""What an estimate assumes is read back from its words as the numbers that were written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.records.estimate import (
    EstimateFacts,
    estimate_note,
    facts_of_estimate,
    model_of_estimate,
)

POWERS = st.floats(1e-6, 1e5).map(lambda power: float(f"{power:.3g}"))
THREADS = st.floats(0.01, 99_999).map(lambda threads: float(f"{threads:g}"))


@given(facts=st.builds(EstimateFacts, THREADS, POWERS, POWERS), more=st.sampled_from(["", " (a)"]))
def test_numbers_are_read_back(facts: EstimateFacts, more: str) -> None:
    assert facts_of_estimate(model_of_estimate(estimate_note(f"{facts}{more}"))) == (facts,)


@pytest.mark.parametrize(
    ("model", "facts"),
    [
        ("", ()),
        ("1 hardware thread at 0.74 W each, up to 3.5 W", (EstimateFacts(1, 0.74, 3.5),)),
        # as it was written before, for one thread too
        ("1 hardware threads at 0.74 W each, up to 3.5 W", (EstimateFacts(1, 0.74, 3.5),)),
        ("a plug of 2 hardware threads", ("a plug of 2 hardware threads",)),
    ],
)
def test_other_words_stay_words(model: str, facts: tuple[object, ...]) -> None:
    assert facts_of_estimate(model) == facts
