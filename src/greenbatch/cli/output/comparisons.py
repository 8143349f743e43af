"""A comparison of two runs as a table, Markdown, JUnit XML and JSON."""

import json
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.findings.wording import NOT_KNOWN

if TYPE_CHECKING:
    from greenbatch.analysis.findings.verdicts import CellVerdict, Judgement
    from greenbatch.analysis.statistics.intervals import Interval

_MANY = 50  # repetitions that nobody measures
COLUMNS = ("cell", "verdict", "new / base", "repetitions", "needed", "note")


def headline(judgement: "Judgement") -> str:
    """Say what a gate has to know: ``worse``, ``not worse`` or ``not decided``."""
    if judgement.worse:
        return "worse"
    noisy = [cell for cell in judgement.cells if cell.verdict == "too noisy to tell"]
    if not noisy:
        return "not worse"
    cells = units.part(len(noisy), len(judgement.cells), "cell")
    return f"not decided: {cells} too noisy to tell"


def remedy(judgement: "Judgement") -> str:
    """Say what would decide the cells that are too noisy; empty where nothing is known to."""
    noisy = [cell for cell in judgement.cells if cell.verdict == "too noisy to tell"]
    needed = [cell.needed for cell in noisy if cell.needed is not None]
    if not needed:
        return ""
    if max(needed) > _MANY:
        return (
            f"To decide, each run needs {units.count(max(needed), 'repetition')}; a quieter "
            "machine or longer windows (--profile rigorous) need fewer."
        )
    return f"To decide, measure both runs with --repetitions {max(needed)}."


def summary(judgement: "Judgement", what: str) -> str:
    """Say in one or two sentences what was found."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in judgement.counts().items())
    overall = judgement.overall
    ratio = f" Over all compared cells: {_ratio(overall)}." if overall else ""
    more = f" {found}" if (found := remedy(judgement)) else ""
    return f"{what[0].upper()}{what[1:]}, new over base: {counts}.{ratio}{more}"


def caution(judgement: "Judgement") -> str:
    """Say what the verdicts mean and what they cannot see."""
    return (
        "Each interval is a 95 % interval of one cell. Over all cells, the probability of any "
        "false 'worse' or 'better' is at most 5 % (Holm), and so is that of any false 'equivalent' "
        f"(a change below {_percent(judgement.threshold)}). The gate fails if a cell is worse "
        f"by {_percent(judgement.threshold)} or more. Two runs share no blocks, so a shift of a "
        "whole run (e.g. another ambient temperature) looks like a change."
    )


def markdown_text(judgement: "Judgement", what: str) -> str:
    """Write a comment for a pull request."""
    from greenbatch.analysis.findings.markdown import escape

    lines = [
        f"### greenbatch: {headline(judgement)}",
        "",
        escape(summary(judgement, what)),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|:--|:--|--:|--:|--:|:--|",
        *("| " + " | ".join(map(escape, _entries(c))) + " |" for c in judgement.cells),
        "",
        escape(caution(judgement)),
        "",
    ]
    return "\n".join(lines)


def junit_xml(judgement: "Judgement", what: str) -> str:
    """Write JUnit XML: worse beyond the threshold fails, not compared and too noisy are skipped."""
    from xml.etree import ElementTree as ET

    from greenbatch.analysis.findings.verdicts import Verdict

    unsure = (Verdict.REFUSED, Verdict.TOO_NOISY)
    failed = [c.verdict is Verdict.WORSE and c.beyond for c in judgement.cells]
    suite = ET.Element(
        "testsuite",
        name=f"gb compare: {what}",
        tests=str(len(judgement.cells)),
        failures=str(sum(failed)),
        errors="0",
        skipped=str(sum(c.verdict in unsure for c in judgement.cells)),
    )
    for cell, worse in zip(judgement.cells, failed, strict=True):
        case = ET.SubElement(
            suite, "testcase", classname="greenbatch.compare", name=_xml(cell.name)
        )
        message = _xml("; ".join(filter(None, (_verdict(cell), *_entries(cell)[2:3], cell.reason))))
        if worse:
            ET.SubElement(case, "failure", type="worse", message=message)
        elif cell.verdict in unsure:
            ET.SubElement(case, "skipped", message=message)
        else:
            ET.SubElement(case, "system-out").text = message
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def as_json_text(judgement: "Judgement", metric: str) -> str:
    """Write everything for a script."""
    result = {
        "metric": metric,
        "threshold": judgement.threshold,
        "worse": judgement.worse,
        "decided": judgement.decided,
        "overall": _bounds(judgement.overall),
        "cells": [
            {
                "cell": cell.name,
                "verdict": cell.verdict,
                "beyond_threshold": cell.beyond,
                "ratio": _bounds(cell.ratio),
                "p": cell.p,
                "p_holm": cell.p_holm,
                "p_equivalence": cell.p_equivalence,
                "repetitions": list(cell.repetitions),
                "repetitions_needed": cell.needed,
                "flags": dict(zip(("base", "new"), map(dict, cell.flags), strict=True)),
                "differences": list(cell.differences),
                "reason": cell.reason,
            }
            for cell in judgement.cells
        ],
    }
    return json.dumps(result, indent=2, allow_nan=False)


def print_table(judgement: "Judgement", what: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from greenbatch.cli.output.console import open_console

    console = open_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    noted = any(cell.reason for cell in judgement.cells)
    for name in COLUMNS if noted else COLUMNS[:-1]:
        right = name in ("new / base", "repetitions", "needed")
        table.add_column(name, justify="right" if right else "left")
    styles = {"worse": "red", "better": "green", "too noisy to tell": "yellow"}
    first = headline(judgement)
    console.print(Text(f"{first[0].upper()}{first[1:]}.", style="bold"))
    console.print()
    for cell in judgement.cells:
        entries = [Text(entry) for entry in _entries(cell)]
        entries[1].stylize(styles.get(cell.verdict, ""))
        table.add_row(*(entries if noted else entries[:-1]))
    console.print(table)
    console.print()
    console.print(Text(summary(judgement, what)))
    console.print(Text(caution(judgement), style="dim"))


def _entries(cell: "CellVerdict") -> tuple[str, ...]:
    from greenbatch.analysis.findings.verdicts import MOST, Verdict

    base, new = cell.repetitions
    needed = ""
    if cell.verdict is Verdict.TOO_NOISY:
        unknown = "unknown" if min(base, new) < 2 else f"over {MOST}"
        needed = unknown if cell.needed is None else str(cell.needed)
    return (
        cell.name,
        _verdict(cell),
        _ratio(cell.ratio) if cell.ratio else "–",
        "" if not base else str(base) if base == new else f"{base}, {new}",
        needed,
        cell.reason,
    )


def _verdict(cell: "CellVerdict") -> str:
    small = cell.verdict in ("better", "worse") and not cell.beyond
    return f"{cell.verdict}, below the threshold" if small else str(cell.verdict)


def _ratio(value: "Interval") -> str:
    text = f"{value.centre:.3f}×"
    if value.low is None or value.high is None:
        return text
    if not value.known:
        return f"{text} ({NOT_KNOWN})"
    word = "range " if value.kind == "range" else ""
    return f"{text} ({word}{value.low:.3f} … {value.high:.3f})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _bounds(value: "Interval | None") -> dict[str, object] | None:
    if value is None:
        return None
    method = value.method if value.kind == "t" else value.kind
    return {"low": value.low, "centre": value.centre, "high": value.high, "method": method}


def _xml(text: str) -> str:
    """Leave out control characters, which XML 1.0 cannot hold however they are written."""
    return "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in text)
