"""``gb compare``: two runs cell by cell, with a verdict a pipeline can act on."""

import math
import shlex
from collections.abc import Collection, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenbatch.cli.options import AllowDifference, names_in
from greenbatch.cli.output.next_steps import suggest, suggest_again
from greenbatch.cli.output.printing import note
from greenbatch.errors import RunError, UsageError
from greenbatch.files import write_output

if TYPE_CHECKING:
    from greenbatch.analysis.findings.cells import CellRow
    from greenbatch.analysis.findings.verdicts import Judgement, Side
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
NOT_DECIDED = 5
"""Exit code of a comparison that is too noisy, where that is to fail."""
_SHOWN = 3
_MORE = 10  # repetitions; a run has 3 by default


def compare(
    base: Annotated[Path, typer.Argument(help="Folder of the baseline run.")],
    new: Annotated[Path, typer.Argument(help="Folder of the new run.")],
    metric: Annotated[Metric, typer.Option(help="Quantity to compare.")] = Metric.ENERGY,
    threshold: Annotated[
        str, typer.Option(help="Smallest change that counts as worse or better, e.g. 3% or 0.03.")
    ] = "3%",
    allow_difference: AllowDifference = None,
    exclude_flag: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out repetitions with these flags, e.g. disturbed,throttled; all for any. "
            "Repeatable."
        ),
    ] = None,
    fail_on_noise: Annotated[
        bool,
        typer.Option("--fail-on-noise", help="Exit 5 if a cell is too noisy to tell."),
    ] = False,
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
    from greenbatch.cli.output import comparisons

    if markdown and as_json:
        raise UsageError("--markdown and --json are both given; choose one")
    share = read_threshold(threshold)
    allowed = frozenset(names_in(allow_difference))
    without = names_in(exclude_flag)
    cells = sides(base, new, metric, allowed, without)
    judgement = judge(cells, threshold=share, higher_is_worse=metric is not Metric.THROUGHPUT)
    if all(not cell.repetitions[0] for cell in judgement.cells):
        raise _nothing_compared(base, new, cells, judgement, allowed, without)
    what = _WORDS[metric]
    if junit is not None:
        write_output(junit, comparisons.junit_xml(judgement, what))
    if as_json:
        typer.echo(comparisons.as_json_text(judgement, metric))
    elif markdown:
        typer.echo(comparisons.markdown_text(judgement, what), nl=False)
    else:
        comparisons.print_table(judgement, what)
        if judgement.decided:
            suggest("see every cell of the new run", "gb", "report", new)
        else:
            purpose = "too noisy: measure both runs with more repetitions, e.g."
            suggest_again(new, purpose, repetitions=str(_MORE))
    if fail_on_noise and not judgement.decided:
        return NOT_DECIDED
    return int(judgement.worse)


def _nothing_compared(
    base: Path,
    new: Path,
    cells: "Mapping[str, tuple[Side | None, Side | None]]",
    judgement: "Judgement",
    allowed: Collection[str],
    without: Collection[str],
) -> RunError:
    """Say why no cell could be compared, and the command that does it all the same."""
    if not any(on_base and on_new for on_base, on_new in cells.values()):
        return RunError(
            f"{base} and {new} have no cell in common, e.g. {_example(cells, 0)} against "
            f"{_example(cells, 1)}; measure both runs with the same networks and settings"
        )
    reasons = [*dict.fromkeys(cell.reason for cell in judgement.cells)]
    shown = " / ".join(reasons[:_SHOWN]) + (" / ..." if len(reasons) > _SHOWN else "")
    names = dict.fromkeys(name for cell in judgement.cells for name in cell.differences)
    cure = "measure both runs with the same settings"
    if without:
        cure = f"keep repetitions that --exclude-flag {','.join(without)} leaves out, or {cure}"
    if "threads" in names:
        cure += ", or both numbers of threads in one run (gb bench --threads 1,2)"
    if names:
        listed = ",".join([*sorted(allowed), *names])
        command = ["gb", "compare", str(base), str(new), "--allow-difference", listed]
        cure += f", or compare them as they are: {shlex.join(command)}"
    return RunError(f"no cell of {new} can be compared with {base}: {shown or 'no cells'}; {cure}")


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
    base: Path,
    new: Path,
    metric: Metric,
    allowed: Collection[str] = (),
    without: Collection[str] = (),
) -> "dict[str, tuple[Side | None, Side | None]]":
    """Read the cells of two runs, the base's order first.

    Args:
        base, new: Directories of runs.
        metric: Whose values to take.
        allowed: Facts that may differ.
        without: Flags of repetitions that are left out.

    Raises:
        RunError: A run cannot be read, or both are one.
        UsageError: A fact to be allowed, or a flag, is unknown.
    """
    from greenbatch.analysis.findings.verdicts import ESTIMATE

    (old, digest), (young, other) = (_read(run, metric, without) for run in (base, new))
    if digest == other:
        raise RunError(
            f"{base} and {new} are the same run; compare a run before a change with one after it"
        )
    every = (*old.values(), *young.values())
    known = {name for side in every for name in side.facts}
    if any(side.basis.models for side in every):
        known.add(ESTIMATE)
    if unknown := sorted(set(allowed) - known):
        raise UsageError(
            f"unknown difference {unknown[0]!r}; choose one of {', '.join(sorted(known))}"
        )

    def kept(side: "Side | None") -> "Side | None":
        if side is None:
            return None
        basis = side.basis.without_models() if ESTIMATE in allowed else side.basis
        facts = {name: text for name, text in side.facts.items() if name not in allowed}
        return replace(side, basis=basis, facts=facts)

    names = dict.fromkeys((*old, *young))
    return {name: (kept(old.get(name)), kept(young.get(name))) for name in names}


def _read(run: Path, metric: Metric, without: Collection[str]) -> "tuple[dict[str, Side], str]":
    """Read the cells of a run, and its digest."""
    import warnings

    from greenbatch.analysis import cell_rows, open_run
    from greenbatch.analysis.dataset.energy_basis import Basis
    from greenbatch.analysis.dataset.flagged import without_flagged
    from greenbatch.analysis.dataset.run_files import read_run
    from greenbatch.analysis.findings.verdicts import Side
    from greenbatch.design.recorded import RecordedStudy
    from greenbatch.records import FACTORS, Provenance, artifact_key

    with open_run(run) as dataset:
        rows = cell_rows(without_flagged(dataset, without) if without else dataset)
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
    if files.study.budget:
        note(
            f"{run} had a budget: cells that it left have few repetitions or none, and their "
            "verdicts are less sure; the table of all cells in its report says which"
        )
    common = _run_facts(files.study, files.environment)
    found = {}
    for row in rows:
        cell = row.cell
        artifact = files.study.artifact(artifact_key(cell.model, cell.precision))
        facts = common | _fallback(row)
        if artifact.sha256:
            facts["artifact"] = artifact.sha256[:12]
        for name, values in sorted(in_force.get(cell, {}).items()):
            facts[name] = " or ".join(sorted(values))
        basis = row.basis if metric is Metric.ENERGY else Basis.of(Provenance.MEASURED)
        unusual = "" if cell.io == "host" else f", io {cell.io}"
        unusual += "" if cell.scenario == "offline" else f", {cell.scenario}"
        by_block = row.series[_SERIES[metric]].by_block
        found[f"{cell}{unusual}"] = Side(by_block, basis, row.flags, facts)
    return found, files.digest


def _fallback(row: "CellRow") -> dict[str, str]:
    """Whether nodes of the network ran on the CPU, which were to run on another device."""
    count = row.flags.get("fallback", 0)
    if not row.ok:
        return {}
    return {"fallback": "no" if not count else "yes" if count == row.ok else "in part"}


def _run_facts(study: "RecordedStudy", environment: "Environment") -> dict[str, str]:
    """What must be the same in both runs; versions may differ: they are what is compared."""
    machine, gpus, members = environment.machine, environment.gpus, environment.machine_members
    window_s = study.protocol.get("window_s")
    domains = sorted(domain.name for _, domain in environment.domains if domain.counts)
    limits_w = [gpu.power_limit_w for gpu in gpus if not isinstance(gpu, str)]
    facts = {
        "cpu": machine.cpu,
        "cores": machine.cores,
        "gpus": ", ".join(gpu if isinstance(gpu, str) else str(gpu.name) for gpu in gpus) or "none",
        "energy domains": ", ".join(domains) or "none",
        "threads": study.threads,
        "window": None if window_s is None else f"{window_s:g} s",
        "images": study.images.sha256[:12] if study.images else "synthetic",
        "preprocessing": study.preprocessing if study.images else None,
        "power_limit": ", ".join(f"{w:g} W" for w in limits_w if w) or None,
        **{name: members.get(name) for name in ("cores_granted", "smt", "governor", "boost")},
    }
    return {name: str(value) for name, value in facts.items() if value is not None}
