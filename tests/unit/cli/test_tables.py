"""Tables in a terminal."""

import pytest

from greenbatch.analysis.findings.wording import Table
from greenbatch.analysis.statistics.intervals import interval
from greenbatch.cli.output.console import TextConsole
from greenbatch.cli.output.tables import fitting, plus_minus

OF_INTERVALS = "± is the wider side of the 95 % interval over the repetitions, in percent"


def test_a_heading_is_broken_before_an_entry_is_cut() -> None:
    columns = ("", "backend", "energy/request (measured)", "p99, busiest", "busy")
    entries = ("best, batch 1, fastest", "onnxruntime-cpu", "10.2 J", "8.44 ms", "1 %")
    table = Table("choices", "Choices", columns, (entries,), (False, False, True, True, True))
    widest = sum(map(len, entries)) + len("request") + len("busiest") + 3 * 4
    for width in range(widest, widest + 20):
        console = TextConsole(width=width)
        with console.capture() as shown:
            for line in fitting(table, width, ()):
                console.print(line)
        assert all(entry in shown.get() for entry in entries), width


@pytest.mark.parametrize(
    ("counts", "meaning"),
    [
        ([1, 1], None),
        ([3, 5], f"{OF_INTERVALS}."),
        ([1, 2], "± is the wider side of the range of two repetitions, in percent."),
        ([2, 3], f"{OF_INTERVALS}; of two repetitions, that of their range."),
    ],
)
def test_a_table_says_what_its_plus_and_minus_are(counts: list[int], meaning: str | None) -> None:
    figures = [interval([1.0, 1.1, 1.2, 1.1, 1.0][:count]) for count in counts]
    unknown = interval([1.0, 9.0])  # has no ±
    texts = plus_minus([*figures, unknown, None])
    assert [text.plain for text in texts] == ([meaning] if meaning else [])


def test_a_range_is_left_out_whole() -> None:
    table = Table(
        "t", "T", ("trials", "energy"), (("3.5 ± 14 % (range)", "24 J ± 2.1 %"),), (True,) * 2
    )
    laid, footer = fitting(table, 20, ())
    console = TextConsole(width=40)
    with console.capture() as capture:
        console.print(laid)
    assert capture.get().split() == ["trials", "energy", "3.5", "24", "J"]
    assert "intervals" in str(footer)
