"""Tables in a terminal."""

from greenbatch.analysis.findings.wording import Table
from greenbatch.cli.output.console import TextConsole
from greenbatch.cli.output.tables import fitting


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
