"""The plan of a study: its cells in their order, and the least time that they take."""

import re

import pytest

from greenbatch.cli.output.plan import opening_line, plan_lines
from greenbatch.design.study import Study, make_study


def design(isolation: str) -> Study:
    return make_study(
        {
            "models": ["alexnet", "vit_b_16"],
            "backends": ["onnxruntime-cpu", "torch-cpu"],
            "batch_sizes": [1, 2, 4, 8],
            "repetitions": 1,
            "isolation": isolation,
        }
    )


def least_s(line: str) -> float:
    found = re.search(r"16 repetitions of 16 cells, at least (?:(\d+) min )?(\d+) s", line)
    assert found, line
    return 60 * int(found[1] or 0) + int(found[2])


def test_in_sessions_the_plan_is_the_order_of_sessions_and_takes_less_time() -> None:
    *order, last = plan_lines(design("session"))
    networks = [re.sub(r" at batch \d+", "", line) for line in order]
    assert all(len(set(networks[first : first + 4])) == 1 for first in range(0, 16, 4))
    *_, isolated = plan_lines(design("fork"))
    # A warm-up of at least 2 s, or of at least 0.5 s.
    assert least_s(isolated) - least_s(last) == pytest.approx(16 * 1.5, abs=1)
    assert least_s(opening_line(design("session"))) == least_s(last)
