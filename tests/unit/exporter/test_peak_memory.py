"""The memory that a stretch of work takes."""

import time

from greenbatch.exporter.peak_memory import PeakMemory


def test_what_is_let_go_before_the_end_counts() -> None:
    with PeakMemory() as memory:
        block = b"1" * 200_000_000
        time.sleep(0.1)
        del block
    assert 150e6 < memory.peak_bytes - memory.before_bytes < 400e6
    known = memory.peak_bytes
    block = b"1" * 300_000_000
    time.sleep(0.02)
    assert memory.peak_bytes == known
    del block
