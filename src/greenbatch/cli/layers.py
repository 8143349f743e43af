"""``gb layers``: where time and energy of an inference go."""

from pathlib import Path
from typing import Annotated, Any

import typer

from greenbatch.cli.options import Artifacts, AsJson, CpuTdp, Meters, Threads, Weights
from greenbatch.errors import UsageError
from greenbatch.files import write_output


def layers(
    model: Annotated[str, typer.Argument(help="Model to profile, as in 'gb bench'.")],
    provider: Annotated[str, typer.Option(help="Execution provider: cpu.")] = "cpu",
    runtime: Annotated[str, typer.Option(help="Runtime: onnxruntime or torch.")] = "onnxruntime",
    batch_size: Annotated[int, typer.Option(min=1, help="Number of images in a batch.")] = 8,
    precision: Annotated[str, typer.Option(help="Precision: fp32, fp16, bf16 or int8.")] = "fp32",
    check: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Validate the attribution: cut the ONNX graph into N parts and measure "
            "each part. 0 skips this. Default: 4.",
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Depth of the layer names to print, e.g. 1 prints features for features.0.conv.",
        ),
    ] = None,
    repetitions: Annotated[
        int | None, typer.Option(help="Number of repetitions, each in a new process. Default: 3.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Length of windows, warm-up and rests: quick, standard or rigorous. "
            "Default: standard."
        ),
    ] = None,
    meter: Meters = None,
    weights: Weights = None,
    threads: Threads = None,
    cpu_tdp: CpuTdp = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed of the order, the images and the random weights."),
    ] = None,
    artifacts: Artifacts = Path("artifacts"),
    csv: Annotated[
        Path | None, typer.Option(help="Write one CSV row for each operator to this file.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write an HTML page with a chart to this file.")
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(help="Write all measured windows to this file as JSON.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Attribute time and energy to operators and layers."""
    from greenbatch.analysis.findings.layer_attribution import attribute
    from greenbatch.cli.output.layers import layers_as_json, show, write_csv, write_page
    from greenbatch.cli.output.progress import Display
    from greenbatch.workflows.layers import measure_layers

    for path in (csv, html, raw):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"the folder of {path} does not exist; make {path.parent} first")
    given = {
        "repetitions": repetitions,
        "profile": profile,
        "meters": meter,
        "weights": weights,
        "threads": threads,
        "cpu_tdp_w": cpu_tdp,
        "seed": seed,
    }
    members: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    with Display() as display:
        run = measure_layers(
            model,
            runtime=runtime,
            provider=provider,
            precision=precision,
            batch_size=batch_size,
            parts=check,
            artifacts_dir=artifacts,
            listener=display.listener,
            **members,
        )
    found = attribute(run)
    if raw is not None:
        write_output(raw, run.to_json())
    if csv is not None:
        write_csv(found, csv)
    if html is not None:
        write_page(found, html, depth)
    if as_json:
        typer.echo(layers_as_json(found, depth))
    else:
        show(found, depth)
