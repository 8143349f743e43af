"""Sessions for checks: how many threads they take."""

import pytest

from greenbatch.models.onnx_session import open_session
from tests.fakes import onnx_networks


@pytest.mark.parametrize(
    ("text", "threads"),
    [("2", 2), (" 2 ", 2), ("2,1", 2), ("4, 3,2", 4), ("", 0), ("1.0", 0), ("max", 0), ("-1", 0)],
)
def test_threads_are_those_that_openmp_would_take(
    text: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    session = open_session(onnx_networks.segmentation().SerializeToString())
    assert session.get_session_options().intra_op_num_threads == threads
