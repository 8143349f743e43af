"""``gb recommend``: the backend, batching policy and wait for a traffic."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch.cli.compare import NOT_DECIDED
from greenbatch.cli.options import by_comma
from greenbatch.cli.output.next_steps import suggest_serving
from greenbatch.cli.output.printing import note
from greenbatch.errors import FileError, RunError, UnknownNameError, UsageError
from greenbatch.files import require_plain

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.recommendation.choices import Choice
    from greenbatch.analysis.recommendation.recommend import Recommendation
    from greenbatch.analysis.recommendation.recorded import Recorded
    from greenbatch.analysis.recommendation.service_curves import ServiceCurve
    from greenbatch.analysis.statistics.intervals import Interval


_GOING = ("mean batch", "busy", "mean")  # columns that a narrow terminal lacks


def recommend(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or a dataset file (dataset.nc).")],
    rate: Annotated[
        float | None,
        typer.Option(
            help="Request rate in requests/s. Default with replay:FILE: the rate of the recording."
        ),
    ] = None,
    p99: Annotated[
        str | None, typer.Option(help="Maximum 99th percentile of the response time, e.g. 50ms.")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Maximum mean response time, e.g. 20ms.")] = None,
    arrivals: Annotated[
        str,
        typer.Option(
            help="Arrival process: poisson, constant, uniform:..., bursty:... or replay:FILE."
        ),
    ] = "poisson",
    model: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Model to consider. Repeatable, or with commas. Default: all.",
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Backend to consider. Repeatable, or with commas. Default: all.",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Precision to consider. Repeatable, or with commas. Default: all.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the simulation.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Recommend a backend and a batching policy for a request rate.

    Exit 0: each model is shown to meet the limits. Exit 1: a model does not meet them. Exit 5: it
    is not shown either way for a model.
    """
    from greenbatch.analysis.recommendation.limits import Limits
    from greenbatch.analysis.recommendation.recommend import recommend as answer_for
    from greenbatch.analysis.recommendation.service_curves import read_service_curves
    from greenbatch.queueing.arrivals import parse_arrivals

    arriving = parse_arrivals(arrivals)
    if rate is not None and not 0 < rate < math.inf:
        raise UsageError(f"--rate {rate:g} is not above 0; give a rate in requests/s above 0")
    if rate is None and not arrivals.strip().startswith("replay"):
        raise UsageError("no rate was given; pass --rate in requests/s, e.g. --rate 200")
    limits = Limits(_limit("--p99", p99), _limit("--mean", mean))
    dataset, traces = _opened(run)
    with dataset:
        for name, wanted in (("model", model), ("backend", backend), ("precision", precision)):
            known = [str(label) for label in dataset[name].values]
            for one in wanted or ():
                if one not in known:
                    raise UnknownNameError(f"{name} in {run}", one, known)
        curves = read_service_curves(dataset, traces, model or ())
    curves = [
        curve
        for curve in curves
        if (not backend or curve.cell.backend in backend)
        and (not precision or curve.cell.precision in precision)
    ]
    if not curves:
        raise RunError(
            f"{run} has no offline cell of these models and backends that was measured; measure "
            "them with 'gb bench', or name others"
        )
    by_model = {name: [c for c in curves if c.cell.model == name] for name in _models(curves)}
    found = [answer_for(some, arriving, rate, limits, seed) for some in by_model.values()]
    if as_json:
        typer.echo(as_json_text(found, arrivals, seed))
    else:
        _print(found, arrivals)
    code = exit_code(one.verdict for one in found)
    if code == NOT_DECIDED:
        doubted = ", ".join(one.model for one in found if one.verdict == "not shown")
        note(f"not shown either way for {doubted}; give a margin to the limits, or measure more")
    if not as_json and run.is_dir():
        suggest_serving(run, found, arrivals)
    return code


def exit_code(verdicts: Iterable[str]) -> int:
    """Return 0 if all limits are met, 1 if some are not, `NOT_DECIDED` if that is not shown."""
    known = set(verdicts)
    return 1 if "not met" in known else NOT_DECIDED if "not shown" in known else 0


def _models(curves: Sequence["ServiceCurve"]) -> list[str]:
    return list(dict.fromkeys(curve.cell.model for curve in curves))


def _limit(option: str, text: str | None) -> float | None:
    from greenbatch.queueing.durations import seconds

    if text is None:
        return None
    try:
        value_s = seconds(text, bare="")
    except ValueError:
        value_s = math.nan
    if not 0 < value_s < math.inf:
        raise UsageError(f"{option} {text!r} is not a duration above 0; write e.g. 50ms or 0.2s")
    return value_s


def _opened(path: Path) -> "tuple[xr.Dataset, Path | None]":
    """Open a run, or a dataset file; and find the traces beside it, if they are of the same run."""
    from greenbatch.analysis.dataset.store import open_run

    folder = path if path.is_dir() else path.parent
    traces = folder / "traces"
    dataset = open_run(path)
    if not traces.is_dir():
        return dataset, None
    if traces.is_symlink():  # beside a dataset file; in a run, none gets here
        raise FileError(f"{traces} is a symbolic link; replace it by the folder, or remove it")
    require_plain(traces)
    return dataset, traces if folder == path or _is_of(dataset, folder) else None


def _is_of(dataset: "xr.Dataset", run: Path) -> bool:
    """Whether a dataset file was compiled from the run in a folder, as it is now."""
    from greenbatch.analysis.dataset.run_files import digest

    try:
        return bool(dataset.attrs.get("run_digest") == digest(run))
    except (RunError, FileError):  # there is no run
        return False


def as_json_text(found: "Sequence[Recommendation]", arrivals: str, seed: int) -> str:
    """Write everything for a script; quantities in SI units."""
    from greenbatch.analysis.recommendation.text import answer

    result = {
        "arrivals": arrivals,
        "seed": seed,
        "met": all(one.met for one in found),
        "exit_code": exit_code(one.verdict for one in found),
        "models": [
            {
                "model": one.model,
                "rate_hz": one.rate_hz,
                "p99_limit_s": one.limits.p99_s,
                "mean_limit_s": one.limits.mean_s,
                "needed_hz": one.needed_hz,
                "recording": _recording(one.recorded),
                "verdict": one.verdict,
                "met": one.met,
                "criterion": one.criterion,
                "answer": answer(one),
                "best": _choice(one.best),
                "least": _choice(one.least),
                "least_over_best": _bounds(one.least_over_best),
                "runner_up": _choice(one.runner_up),
                "runner_up_over_best": _bounds(one.margin),
                "tie": None if one.margin is None else not one.clear,
                "elsewhere": [_choice(choice) for choice in one.elsewhere],
                "batch_1": _choice(one.batch_one),
                "fastest": _choice(one.fastest),
                "energy_over_batch_1": _bounds(one.against_one.interval),
                "energy_over_fastest": _bounds(one.against_fastest.interval),
                "pareto": [_choice(choice) for choice in one.pareto],
                "largest_rate_hz": _bounds(one.most_hz),
                "idle_energy_counted": one.idle_counted,
                "notes": list(one.notes),
            }
            for one in found
        ],
    }
    return json.dumps(result, indent=2, allow_nan=False)


def _recording(recorded: "Recorded | None") -> dict[str, object] | None:
    if recorded is None:
        return None
    parts = {"judged": recorded.judged, "busiest": recorded.busiest}
    return {
        "requests": recorded.total,
        "duration_s": recorded.lasts_s,
        **{
            name: {
                "requests": part.requests,
                "start_s": part.start_s,
                "duration_s": part.length_s,
                "rate_hz": part.rate_hz,
            }
            for name, part in parts.items()
        },
    }


def _choice(choice: "Choice | None") -> dict[str, object] | None:
    if choice is None:
        return None
    return {
        "backend": choice.cell.backend,
        "settings": dict(choice.cell.settings),
        "precision": choice.cell.precision,
        "io": choice.cell.io,
        "policy": choice.policy.text,
        "batch_limit": choice.policy.largest,
        "wait_s": None if math.isinf(choice.policy.wait_s) else choice.policy.wait_s,
        "p99_s": _bounds(choice.p99_s),
        "mean_s": _bounds(choice.mean_s),
        "busiest_p99_s": _bounds(choice.busiest_p99_s),
        "busiest_mean_s": _bounds(choice.busiest_mean_s),
        "energy_per_request_j": _bounds(choice.energy_j),
        "idle_energy_per_request_j": _bounds(choice.idle_j),
        "energy_source": choice.energy_source,
        "mean_batch": choice.batch,
        "busy": choice.busy,
        "interpolated": choice.interpolated,
        "largest_rate_hz": _bounds(choice.holds_hz),
        "met": choice.met,
        "sure": choice.sure,
    }


def _bounds(value: "Interval | None") -> dict[str, object] | None:
    if value is None:
        return None
    return {
        "low": value.low,
        "centre": value.centre,
        "high": value.high,
        "kind": value.kind,
        "repetitions": value.n,
    }


def _print(found: "Sequence[Recommendation]", arrivals: str) -> None:
    from rich.text import Text

    from greenbatch.analysis.recommendation.text import answer, choices_table, question
    from greenbatch.cli.output.console import open_console
    from greenbatch.cli.output.tables import fitting

    console = open_console()
    for place, one in enumerate(found):
        if place:
            console.print()
        console.print(Text(question(one, arrivals), style="bold"))
        first, *rest = answer(one)
        console.print(Text(first, style="green" if one.verdict == "met" else "yellow"))
        for sentence in rest:
            console.print(Text(sentence))
        if one.choices:
            console.print()
            for line in fitting(choices_table(one), console.width, _GOING):
                console.print(line)
        for sentence in one.notes:
            console.print(Text(sentence, style="dim"))
