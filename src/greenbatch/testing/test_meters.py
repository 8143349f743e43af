"""The checks of `meter_checks`, on every meter that was named."""

import pytest

from greenbatch.testing.meter_checks import CHECKS, Check
from greenbatch.testing.meter_observation import Observation


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_meter(seen: Observation, check: Check) -> None:
    """Every meter does what the recorder and the report rely on."""
    check(seen)
