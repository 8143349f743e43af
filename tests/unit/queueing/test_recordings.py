"""Recordings of arrivals as people have them: units, quoted prompts, comments."""

from pathlib import Path

import numpy as np
import pytest

from greenbatch.errors import UsageError
from greenbatch.queueing.recordings import read_instants

TENTHS = np.arange(20) * 0.1
START_S = 1_732_000_000.0  # November 2024


def written(folder: Path, text: str) -> Path:
    """Write a recording."""
    path = folder / "trace.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("unit", "per_s"), [("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)]
)
def test_an_epoch_in_another_unit_is_asked_about_and_taken_with_it(
    tmp_path: Path, unit: str, per_s: int
) -> None:
    instants = [round((START_S + at) * per_s) for at in TENTHS]
    path = written(tmp_path, "at\n" + "\n".join(map(str, instants)))
    with pytest.raises(UsageError) as asked:
        read_instants(path, "at")
    assert f"write replay:trace.csv#at:{unit}" in str(asked.value)
    np.testing.assert_allclose(read_instants(path, f"at:{unit}"), TENTHS, atol=1e-5)
    assert len(read_instants(path, "at:s")) == 20  # the user says so
    lines = written(tmp_path, "\n".join(map(str, instants)))
    np.testing.assert_allclose(read_instants(lines, f":{unit}"), TENTHS, atol=1e-5)


def test_seconds_since_any_origin_are_taken(tmp_path: Path) -> None:
    for origin in (0.0, START_S, -5.0):
        path = written(tmp_path, "\n".join(str(origin + at) for at in TENTHS))
        np.testing.assert_allclose(read_instants(path), TENTHS, atol=1e-5)


def test_a_column_whose_name_ends_like_a_unit_is_meant_itself(tmp_path: Path) -> None:
    path = written(tmp_path, "time:ms,n\n0,1\n5,1\n9,1\n")
    assert read_instants(path, "time:ms") == (0.0, 5.0, 9.0)


def test_quoted_cells_may_hold_line_breaks_and_be_long(tmp_path: Path) -> None:
    prompt = 'Dear all,\nplease ""draw"" this: ' + "x" * 200_000
    rows = "".join(f'"{prompt}",{at:.1f}\n' for at in TENTHS)
    path = written(tmp_path, f"prompt,at\n# a comment\n\n{rows}")
    np.testing.assert_allclose(read_instants(path, "at"), TENTHS, atol=1e-9)
    broken = written(tmp_path, 'prompt,at\n"two\nlines",0\n"two\nlines",soon\n')
    with pytest.raises(UsageError, match="line 5: 'soon' is no instant"):
        read_instants(broken, "at")
