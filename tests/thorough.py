"""How many of the slowest cases are tested: enough by day, all where ``GB_THOROUGH`` is set."""

import os

import pytest

THOROUGH = bool(os.environ.get("GB_THOROUGH"))
# Of a case that is like another one, but for its size.
needs_thorough = pytest.mark.skipif(not THOROUGH, reason="large: runs if GB_THOROUGH is set")


def examples(few: int, many: int) -> int:
    """Return how many examples a property is tried on."""
    return many if THOROUGH else few
