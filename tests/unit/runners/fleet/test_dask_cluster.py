"""What a worker of Dask hands to the measuring process."""

import os
from collections.abc import Callable, Mapping

import dask
import distributed
import pytest

from greenbatch.runners.fleet.executors import dask_cluster

OF_THE_NANNY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def test_the_variables_that_a_nanny_sets_do_not_reach_the_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in OF_THE_NANNY:
        monkeypatch.setenv(name, str(dask.config.get("distributed.nanny.pre-spawn-environ")[name]))
    monkeypatch.setenv("MKL_NUM_THREADS", "3")  # of the user: the nanny leaves it
    monkeypatch.setenv("GB_MACHINE", "north")
    given: list[Mapping[str, str]] = []

    def measure_unit(
        line: bytes, deliver: Callable[[bytes], None], environ: Mapping[str, str]
    ) -> bytes:
        given.append(environ)
        deliver(b"message")
        return b"ended"

    class Worker:
        sent: tuple[str, bytes] | None = None

        def log_event(self, topic: str, message: bytes) -> None:
            self.sent = (topic, message)

    worker = Worker()
    monkeypatch.setattr(dask_cluster, "measure_unit", measure_unit)
    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    assert dask_cluster._measure(b"assignment", "topic", None) == b"ended"
    assert worker.sent == ("topic", b"message")
    (environ,) = given
    removed = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    assert environ == {k: v for k, v in os.environ.items() if k not in removed}
    assert environ["MKL_NUM_THREADS"] == "3"
    assert environ["GB_MACHINE"] == "north"
