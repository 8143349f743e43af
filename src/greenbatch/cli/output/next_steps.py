"""The command that a result leads to; on standard error, where it disturbs no pipe."""

import json
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.cli.output.printing import echo
from greenbatch.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from greenbatch.analysis.findings.cells import CellRow
    from greenbatch.analysis.recommendation.recommend import Recommendation


def suggest(purpose: str, *words: object) -> None:
    """Print a command with its purpose, whole on one line, so that it can be copied."""
    echo(f"{purpose}: {shlex.join(map(str, words))}", error=True)


def suggest_policy(run: Path, rows: "Iterable[CellRow]") -> bool:
    """Suggest to ask for a policy, where batches were measured back to back; return whether."""
    if not any(row.ok and not row.cell.is_server for row in rows):
        return False
    purpose = "choose a policy for a request rate"
    suggest(purpose, "gb", "recommend", run, "--rate", 20, "--p99", "200ms")
    return True


def suggest_again(run: Path, purpose: str = "repeat this measurement", **changes: str) -> None:
    """Suggest to measure a run's study anew, with members changed; not if there is no study."""
    with suppress(StudyError):
        suggest(purpose, *again(run, changes))


def suggest_serving(run: Path, found: "Iterable[Recommendation]", arrivals: str) -> None:
    """Suggest to measure the first policy that was found, as a server of the run's study."""
    best = next((one for one in found if one.best and not one.best.cell.settings), None)
    if best is None or best.best is None:
        return
    cell = best.best.cell
    changes = {
        "scenarios": "[server]",
        "models": f"[{cell.model}]",
        "backends": f"[{cell.backend}]",
        "precisions": f"[{cell.precision}]",
        "batch_sizes": "[]",
        "rates": "[]" if arrivals.startswith("replay") else f"[{best.rate_hz:g}]",
        "arrivals": json.dumps([arrivals]),
        "policies": json.dumps([best.best.policy.text]),
        "settings": "{}",
        "budget": "null",
        "decide": "null",
        "within": "null",
    }
    suggest_again(run, "measure this policy", **changes)


def again(run: Path, changes: "Mapping[str, str] | None" = None) -> list[str]:
    """Return the command that measures the study of a run anew.

    Args:
        run: Its directory.
        changes: Members of the study that are changed, as YAML.

    Raises:
        StudyError: Its study cannot be read.
    """
    from greenbatch.design.files import load
    from greenbatch.documents import parse_yaml

    file = run / "study.yaml"
    members = load(file).members
    artifacts = members.get("artifacts_dir")
    options = [
        word
        for name, text in (changes or {}).items()
        if parse_yaml(text) != members.get(name)
        for word in ("--set", f"{name}={text}")
    ]
    return [
        *("gb", "study", "run", str(file)),
        *(["--artifacts", str(artifacts)] if artifacts else []),
        *options,
    ]
