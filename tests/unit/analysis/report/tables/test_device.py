"""The device in the window: utilisation, memory and temperature of each cell."""

from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.analysis import cell_rows, open_run
from greenbatch.analysis.report.findings import find
from greenbatch.analysis.report.table_sections import table_sections
from greenbatch.analysis.report.tables.device import device_table
from greenbatch.records import Cell, Conditions
from tests.fakes import runs


def _busy(share: float, gpu_c: float = 60.0) -> Conditions:
    return Conditions(
        utilization={"gpu-0": share},
        memory_utilization={"gpu-0": share / 2},
        memory_device_bytes={"gpu-0": int(4e9 * share)},
        temperature_mean_c={"gpu-0": gpu_c, "package": 45.0},
    )


def _run(path: Path, shares: dict[int, tuple[float, ...]]) -> Path:
    records = [
        replace(
            runs.repetition(
                Cell("alexnet", "torch-cpu", batch_size=size),
                block,
                energy=[runs.figure(20.0), runs.figure(90.0, "gpu-0")],
            ),
            conditions=_busy(share, 60.0 + block),
        )
        for size, members in shares.items()
        for block, share in enumerate(members)
    ]
    study = runs.study(["alexnet"], ["torch-cpu"], list(shares), 3)
    return runs.write_run(path, records, study, runs.environment())


@pytest.mark.slow
def test_each_cell_has_the_share_of_the_window_in_which_its_device_had_work(
    tmp_path: Path,
) -> None:
    run = _run(tmp_path, {1: (0.20, 0.25, 0.30), 64: (0.9, 0.9, 0.9)})
    table = device_table(cell_rows(open_run(run)))
    assert table.columns == (
        *("model", "backend", "batch", "busy", "memory busy"),
        *("most memory in use", "mean temperature"),
    )
    one, many = table.rows
    # Student's t of three: 4.303 x 0.05 / sqrt(3)
    assert one[2:] == ("1", "25.0 % (12.6 … 37.4)", "12.5 % (6.3 … 18.7)", "1.2 GB", one[6])
    assert one[6].startswith("61.0 °C (58.5 … 63.5")
    assert many[2:6] == ("64", "90.0 % (90.0 … 90.0)", "45.0 % (45.0 … 45.0)", "3.6 GB")
    shown = table_sections(find(open_run(run), None), None)
    assert table in [section.table for section in shown]


def test_without_a_utilisation_there_is_no_table(tmp_path: Path) -> None:
    records = [runs.repetition(Cell("alexnet", "torch-cpu"), energy=[runs.figure(20.0)])]
    study = runs.study(["alexnet"], ["torch-cpu"], [1], 1)
    run = runs.write_run(tmp_path, records, study, runs.environment())
    assert device_table(cell_rows(open_run(run))).rows == ()
