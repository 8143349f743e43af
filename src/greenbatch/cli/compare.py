"""``gb compare``: two runs cell by cell, with a verdict a pipeline can act on."""

import json
import math
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenbatch.errors import RunError, UsageError
from greenbatch.files import write_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenbatch.analysis.findings.verdicts import CellVerdict, Judgement, Side
    from greenbatch.analysis.statistics.intervals import Interval
    from greenbatch.design.environment import Environment
    from greenbatch.design.recorded import RecordedStudy


class Metric(StrEnum):
    """What is compared."""

    ENERGY = "energy_per_image"
    LATENCY = "latency"
    THROUGHPUT = "throughput"


_SERIES = {Metric.ENERGY: "energy", Metric.LATENCY: "latency_p50", Metric.THROUGHPUT: "throughput"}
_WORDS = {
    Metric.ENERGY: "energy per image",
    Metric.LATENCY: "median latency",
    Metric.THROUGHPUT: "throughput",
}
_COLUMNS = ("cell", "verdict", "new / base", "repetitions", "needed", "note")


def compare(
    base: Annotated[Path, typer.Argument(help="Folder of the baseline run.")],
    new: Annotated[Path, typer.Argument(help="Folder of the new run.")],
    metric: Annotated[Metric, typer.Option(help="Quantity to compare.")] = Metric.ENERGY,
    threshold: Annotated[
        str, typer.Option(help="Smallest change that counts as worse or better, e.g. 3% or 0.03.")
    ] = "3%",
    allow_difference: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare even if this fact differs, e.g. artifact or threads. Repeatable."
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, e.g. for a pull request.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Compare two runs; exit 1 if a cell is worse.

    A cell is worse if it differs by the threshold or more.
    """
    from greenbatch.analysis.findings.verdicts import judge

    if markdown and as_json:
        raise UsageError("--markdown and --json are both given; choose one")
    share = read_threshold(threshold)
    cells = sides(base, new, metric, frozenset(allow_difference or ()))
    judgement = judge(cells, threshold=share, higher_is_worse=metric is not Metric.THROUGHPUT)
    if all(not cell.repetitions[0] for cell in judgement.cells):
        reasons = dict.fromkeys(cell.reason for cell in judgement.cells)
        if not any(on_base and on_new for on_base, on_new in cells.values()):
            raise RunError(
                f"{base} and {new} have no cell in common, e.g. {_example(cells, 0)} against "
                f"{_example(cells, 1)}; measure both runs with the same networks and settings"
            )
        raise RunError(
            f"no cell of {new} can be compared with {base}: {' / '.join(reasons) or 'no cells'}; "
            "measure both runs with the same settings, or pass --allow-difference NAME"
        )
    if junit is not None:
        write_output(junit, junit_xml(judgement, metric))
    if as_json:
        typer.echo(as_json_text(judgement, metric))
    elif markdown:
        typer.echo(markdown_text(judgement, metric), nl=False)
    else:
        _print(judgement, metric)
    return int(judgement.worse)


def _example(cells: "Mapping[str, tuple[Side | None, Side | None]]", side: int) -> str:
    """Return the first cell that a run has."""
    return next((name for name, both in cells.items() if both[side]), "no cell")


def read_threshold(text: str) -> float:
    """Read ``3%`` or ``0.03``.

    Raises:
        UsageError: It is neither, or not between 0 and 100 %.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        share = math.nan if rest else float(number) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise UsageError(
            f"--threshold {text!r} is not a share between 0 and 1; write e.g. 3% or 0.03"
        )
    return share


def sides(
    base: Path, new: Path, metric: Metric, allowed: frozenset[str] = frozenset()
) -> "dict[str, tuple[Side | None, Side | None]]":
    """Read the cells of two runs, the base's order first.

    Args:
        base, new: Directories of runs.
        metric: Whose values to take.
        allowed: Facts that may differ.

    Raises:
        RunError: A run cannot be read.
        UsageError: A fact to be allowed is unknown.
    """
    old, young = _read(base, metric), _read(new, metric)
    known = {name for side in (*old.values(), *young.values()) for name in side.facts}
    if unknown := sorted(allowed - known):
        raise UsageError(
            f"unknown difference {unknown[0]!r}; choose one of {', '.join(sorted(known))}"
        )

    def kept(side: "Side | None") -> "Side | None":
        if side is None:
            return None
        return replace(side, facts={k: v for k, v in side.facts.items() if k not in allowed})

    names = dict.fromkeys((*old, *young))
    return {name: (kept(old.get(name)), kept(young.get(name))) for name in names}


def _read(run: Path, metric: Metric) -> "dict[str, Side]":
    import warnings

    from greenbatch.analysis import cell_rows, open_run
    from greenbatch.analysis.dataset.run_files import read_run
    from greenbatch.analysis.findings.verdicts import Side
    from greenbatch.design.recorded import RecordedStudy
    from greenbatch.records import FACTORS, Provenance, artifact_key

    with open_run(run) as dataset:
        rows = cell_rows(dataset)
    with warnings.catch_warnings(action="ignore"):  # a torn line was reported when it was compiled
        files = read_run(run)
    assert isinstance(files.study, RecordedStudy)  # else it would not have been opened
    in_force: dict[Any, dict[str, set[str]]] = {}
    for repetition in files.journal.repetitions:
        result = in_force.setdefault(repetition.cell, {})
        for name in FACTORS.keys() & repetition.settings.keys():
            value = repetition.settings[name]
            if value is not None:  # the runtime does not report it
                result.setdefault(name, set()).add(str(value))
    common = _run_facts(files.study, files.environment)
    found = {}
    for row in rows:
        cell = row.cell
        artifact = files.study.artifact(artifact_key(cell.model, cell.precision))
        facts = dict(common)
        if artifact.sha256:
            facts["artifact"] = artifact.sha256[:12]
        for name, values in sorted(in_force.get(cell, {}).items()):
            facts[name] = " or ".join(sorted(values))
        source = row.energy_source if metric is Metric.ENERGY else Provenance.MEASURED
        unusual = "" if cell.io == "host" else f", io {cell.io}"
        unusual += "" if cell.scenario == "offline" else f", {cell.scenario}"
        found[f"{cell}{unusual}"] = Side(row.series[_SERIES[metric]].by_block, source, facts)
    return found


def _run_facts(study: "RecordedStudy", environment: "Environment") -> dict[str, str]:
    """What must be the same in both runs; versions may differ: they are what is compared."""
    machine, gpus = environment.machine, environment.gpus
    window_s = study.protocol.get("window_s")
    domains = sorted(domain.name for _, domain in environment.domains if domain.counts)
    facts = {
        "cpu": machine.cpu,
        "cores": machine.cores,
        "gpus": ", ".join(gpu if isinstance(gpu, str) else str(gpu.name) for gpu in gpus) or "none",
        "energy domains": ", ".join(domains) or "none",
        "threads": study.threads,
        "window": None if window_s is None else f"{window_s:g} s",
        "images": study.images.sha256[:12] if study.images else "synthetic",
        "preprocessing": study.preprocessing if study.images else None,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def summary(judgement: "Judgement", metric: Metric) -> str:
    """Say in one or two sentences what was found."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in judgement.counts().items())
    overall = judgement.overall
    ratio = f" Over all compared cells: {_ratio(overall)}." if overall else ""
    return f"{_WORDS[metric][0].upper()}{_WORDS[metric][1:]}, new over base: {counts}.{ratio}"


def caution(judgement: "Judgement") -> str:
    """Say what the verdicts mean and what they cannot see."""
    return (
        "Each interval is a 95 % interval of one cell. The probability of a false verdict over all "
        f"cells is at most 5 % (Holm). The gate fails if a cell is worse by "
        f"{_percent(judgement.threshold)} or more. Two runs share no blocks, so a shift of a whole "
        "run (e.g. another ambient temperature) looks like a change."
    )


def markdown_text(judgement: "Judgement", metric: Metric) -> str:
    """Write a comment for a pull request."""
    from greenbatch.analysis.findings.markdown import escape

    lines = [
        f"### greenbatch: {'worse' if judgement.worse else 'not worse'}",
        "",
        escape(summary(judgement, metric)),
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "|:--|:--|--:|--:|--:|:--|",
        *("| " + " | ".join(map(escape, _entries(c))) + " |" for c in judgement.cells),
        "",
        escape(caution(judgement)),
        "",
    ]
    return "\n".join(lines)


def junit_xml(judgement: "Judgement", metric: Metric) -> str:
    """Write JUnit XML: worse beyond the threshold fails, not compared and too noisy are skipped."""
    from xml.etree import ElementTree as ET

    from greenbatch.analysis.findings.verdicts import Verdict

    unsure = (Verdict.REFUSED, Verdict.TOO_NOISY)
    failed = [c.verdict is Verdict.WORSE and c.beyond for c in judgement.cells]
    suite = ET.Element(
        "testsuite",
        name=f"gb compare: {_WORDS[metric]}",
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


def as_json_text(judgement: "Judgement", metric: Metric) -> str:
    """Write everything for a script."""
    result = {
        "metric": metric,
        "threshold": judgement.threshold,
        "worse": judgement.worse,
        "overall": _bounds(judgement.overall),
        "cells": [
            {
                "cell": cell.name,
                "verdict": cell.verdict,
                "beyond_threshold": cell.beyond,
                "ratio": _bounds(cell.ratio),
                "p": cell.p,
                "p_holm": cell.p_holm,
                "repetitions": list(cell.repetitions),
                "repetitions_needed": cell.needed,
                "reason": cell.reason,
            }
            for cell in judgement.cells
        ],
    }
    return json.dumps(result, indent=2, allow_nan=False)


def _print(judgement: "Judgement", metric: Metric) -> None:
    from rich.table import Table
    from rich.text import Text

    from greenbatch.cli.output.console import open_console

    console = open_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    noted = any(cell.reason for cell in judgement.cells)
    for name in _COLUMNS if noted else _COLUMNS[:-1]:
        right = name in ("new / base", "repetitions", "needed")
        table.add_column(name, justify="right" if right else "left")
    styles = {"worse": "red", "better": "green", "too noisy to tell": "yellow"}
    for cell in judgement.cells:
        entries = [Text(entry) for entry in _entries(cell)]
        entries[1].stylize(styles.get(cell.verdict, ""))
        table.add_row(*(entries if noted else entries[:-1]))
    console.print(table)
    console.print()
    console.print(Text(summary(judgement, metric)))
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
