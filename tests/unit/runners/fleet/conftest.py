"""What tests of fleets share."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk alone: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
