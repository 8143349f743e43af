"""``gb eval``: accuracy of artifacts, measured."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch import units
from greenbatch.cli.options import by_comma
from greenbatch.cli.output.printing import echo, note
from greenbatch.errors import UnknownNameError
from greenbatch.extras import EXTRAS, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenbatch.runners.evaluation import Accuracy, Progress, Rate

_LINE_EVERY_S = 10.0  # between lines of progress where there is no terminal


def evaluate(
    models: Annotated[
        list[str], typer.Argument(help="Models to evaluate. Each needs an exported artifact.")
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with one subfolder of images for each class, or a CSV file with "
            "the columns file and label."
        ),
    ],
    precision: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Precision: fp32, fp16, bf16 or int8. Repeatable, or with commas. Default: fp32.",
        ),
    ] = None,
    artifacts: Annotated[Path, typer.Option(help="Folder of exported artifacts.")] = Path(
        "artifacts"
    ),
    batch_size: Annotated[int, typer.Option(help="Number of images in a batch.")] = 32,
    limit: Annotated[
        int | None,
        typer.Option(help="Evaluate a random sample of this many images; the seed is fixed."),
    ] = None,
    provider: Annotated[str, typer.Option(help="Execution provider: cpu or cuda.")] = "cpu",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for each artifact.")
    ] = False,
) -> None:
    """Measure the accuracy of artifacts on labelled images."""
    import json
    from dataclasses import asdict

    from greenbatch.models.artifacts import load_artifact
    from greenbatch.models.image_folder import find_labelled
    from greenbatch.records import PRECISIONS
    from greenbatch.runners.evaluation import classes_of, save
    from greenbatch.runners.evaluation import evaluate as measure
    from greenbatch.runners.host.cores import default_threads
    from greenbatch.workflows.own_networks import choose

    require("gb eval", EXTRAS["bench"])
    precisions = list(dict.fromkeys(precision or ["fp32"]))
    for name in precisions:
        if name not in PRECISIONS:
            raise UnknownNameError("precision", name, PRECISIONS)
    found = [  # what is missing is reported before anything is run
        load_artifact(artifacts, model, name)
        for model in choose(models, artifacts).sources
        for name in precisions
    ]
    sets = {classes: find_labelled(data, classes) for classes in {classes_of(a) for a in found}}
    for artifact in found:
        name = artifact.path.stem
        with _progress(name) as on_progress:
            result = measure(
                artifact,
                sets[classes_of(artifact)],
                str(data),
                provider=provider,
                batch_size=batch_size,
                limit=limit,
                threads=default_threads(),
                on_progress=on_progress,
            )
        saved = save(result, artifacts)
        if as_json:
            typer.echo(json.dumps({**asdict(result), "file": str(saved)}))
        else:
            _tell(name, result, saved)


def _tell(name: str, result: "Accuracy", saved: Path) -> None:
    rates = f"top-1 {_percent(result.top1)}"
    if result.top5:
        rates += f", top-5 {_percent(result.top5)}"
    echo(
        f"{name}: {rates} over {units.count(result.images, 'image')} ({result.weights} weights; "
        f"classes: {result.mapping}); {result.images_per_s:.3g} images/s; {saved}"
    )
    if result.broken:
        were = "was" if result.broken == 1 else "were"
        note(f"{units.count(result.broken, 'image')} of {result.data} {were} left out:")
        for reason in result.broken_files.values():
            echo(f"  {reason}", error=True)
        if result.broken > len(result.broken_files):
            echo(f"  and {result.broken - len(result.broken_files)} more", error=True)


def _percent(rate: "Rate") -> str:
    return f"{rate.value:.2%} (95 % interval {rate.low:.2%} to {rate.high:.2%})"


@contextmanager
def _progress(name: str) -> "Iterator[Callable[[Progress], None]]":
    """Show a bar on a terminal, a line now and then elsewhere, both on standard error."""
    import time

    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    from greenbatch.cli.output.console import TextConsole

    console = TextConsole(file=sys.stderr)
    told_s = time.perf_counter()

    if not console.is_terminal:

        def line(progress: "Progress") -> None:
            nonlocal told_s
            if time.perf_counter() - told_s >= _LINE_EVERY_S:
                told_s = time.perf_counter()
                echo(f"{name}: {_stand(progress)}", error=True)

        yield line
        return
    columns = (
        TextColumn("{task.fields[name]}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, name=name)

        def move(progress: "Progress") -> None:
            left = f"about {units.duration(progress.left_s)} left"
            bar.update(task, completed=progress.done, total=progress.total, description=left)

        yield move


def _stand(progress: "Progress") -> str:
    left = units.duration(progress.left_s)
    return f"{progress.done} of {units.count(progress.total, 'image')}, about {left} left"
