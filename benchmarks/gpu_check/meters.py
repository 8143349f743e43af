"""The fourth step: the meters, see `benchmarks.gpu_metering`."""

import json
from collections.abc import Iterator

from benchmarks.gpu_check import children
from benchmarks.gpu_check.lines import Line, failed, not_run
from benchmarks.gpu_check.steps import Check

_SHORT = ["--windows", "4", "--window", "2", "--idle", "5"]


def lines(check: Check, limit_s: float) -> Iterator[Line]:
    """Measure in a process of its own, and judge each row."""
    rows = check.folder / "meters.jsonl"
    command = ["-m", "benchmarks.gpu_metering", *_SHORT, "--json", str(rows)]
    ended = children.run(command, check.log("meters"), limit_s)
    found = rows.read_text().splitlines() if rows.exists() else []
    for text in found:
        row = json.loads(text)
        what, values = row["what"], {"found": row["value"]}
        on_gpu = bool(row["of_load"])
        if row["fault"]:
            yield failed(what, row["fault"], on_gpu=on_gpu, values=values)
        elif row["missing"]:
            yield not_run(what, row["missing"], on_gpu=on_gpu, values=values)
        else:
            yield Line(what, values=values, on_gpu=on_gpu)
    if ended.code is None or ended.lacks_package:
        yield not_run("the other measurements of the meters", ended.reason)
    elif ended.reason:
        yield failed("the measurement of the meters", ended.reason)
