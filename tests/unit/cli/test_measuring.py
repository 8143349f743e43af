"""What is noted before anything is measured."""

from pathlib import Path

import pytest

from greenbatch.cli.measuring import note_recordings
from greenbatch.design.study import make_study


def test_recordings_that_were_sorted_are_named_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("0\n2\n1\n3\n")
    members = {
        "name": "server",
        "models": ["alexnet"],
        "backends": ["onnxruntime-cpu"],
        "scenarios": ["server"],
        "policies": ["greedy:4"],
        "arrivals": ["poisson", f"replay:{path}"],
        "rates": [10],
    }
    note_recordings(make_study(members))
    assert capsys.readouterr() == (
        "",
        "gb: The instants of trace.txt go back once; they were sorted.\n",
    )
