"""``gb bench``: measure energy and latency, and report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from greenbatch.cli.measuring import measure, require_consent, resume_run
from greenbatch.cli.output.printing import echo
from greenbatch.cli.shared_options import (
    Artifacts,
    AsJson,
    CpuTdp,
    Meters,
    Out,
    Resume,
    ShareMachine,
    Threads,
    Trust,
    Weights,
)
from greenbatch.errors import UsageError


def bench(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models; the five study models by default.")
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            help="cpu, cuda, tensorrt, openvino, ...; repeatable. Default: cuda where it can be "
            "used, else cpu."
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="onnxruntime, torch, torch-compile, openvino, ... (see 'gb doctor'); repeatable. "
            "Default: onnxruntime and torch."
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, fp16, bf16 or int8; repeatable. Default: fp32."),
    ] = None,
    batch_sizes: Annotated[
        str | None, typer.Option(help="1,8,32 or 1..128 (powers of two). Default: 1..128.")
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="offline: batches back to back. server: single requests arrive and are batched; "
            "needs --rate. Repeatable. Default: offline."
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Of a server: requests per second, as 50,100.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a server: fixed:N, greedy:N or dynamic:N:WAIT, as dynamic:16:5ms; repeatable. "
            "Default: greedy:16."
        ),
    ] = None,
    arrivals: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a server: poisson, uniform, constant, bursty:RATIO:LENGTH or replay:FILE; "
            "repeatable. Default: poisson."
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(help="Of a server: how many arrive in its window. Default: 200 or more."),
    ] = None,
    repetitions: Annotated[
        int | None,
        typer.Option(help="Repetitions. Default: 3; 5 at the least with --precision-target."),
    ] = None,
    precision_target: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="As 2%: repeat each cell until the 95 % interval of its energy per image (of time "
            "per image, where no energy is known) is within ± this.",
        ),
    ] = None,
    max_repetitions: Annotated[
        int | None, typer.Option(help="The most repetitions for that. Default: 30.")
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help="Of the cells in a block: shuffled, or latin-square, in which each takes each "
            "place equally often. Default: shuffled."
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="quick, standard or rigorous: how long a window is. Default: standard."),
    ] = None,
    io: Annotated[
        str | None,
        typer.Option(help="host or device: where inputs start and outputs end. Default: host."),
    ] = None,
    meter: Meters = None,
    weights: Weights = None,
    threads: Threads = None,
    cpu_tdp: CpuTdp = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="BACKEND.NAME=V1,V2",
            help="Set something on a backend; several values are measured side by side. As "
            "onnxruntime-cpu.allow_spinning=0,1. Repeatable.",
        ),
    ] = None,
    provider_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER.NAME=V1,V2",
            help="The same for an option of ONNX Runtime's provider, as "
            "cuda.cudnn_conv_algo_search=HEURISTIC. Repeatable.",
        ),
    ] = None,
    probe_max_batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="First find the largest batch that fits into memory, trying up to N images.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of order, images and random weights.")] = None,
    allow_fallback: Annotated[
        bool, typer.Option("--allow-fallback", help="Measure what runs elsewhere, and record it.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of JPEG or PNG images to measure with. Default: synthetic ones."),
    ] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            help="When --images are decoded and transformed: before anything is timed, or in the "
            "window, before each batch (pipeline). Default: before."
        ),
    ] = None,
    artifacts: Artifacts = Path("artifacts"),
    out: Out = None,
    study: Annotated[Path | None, typer.Option(help="Measure the study in this file.")] = None,
    resume: Resume = None,
    trust: Trust = False,
    share_machine: ShareMachine = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print cells, order and the least time; measure nothing."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure energy and latency across runtimes and batch sizes, and write a report."""
    from greenbatch.cli.options import batch_sizes as parse_batch_sizes
    from greenbatch.cli.options import rates as parse_rates
    from greenbatch.cli.options import settings as parse_settings
    from greenbatch.design.files import read_study
    from greenbatch.runners.known import ThisMachine
    from greenbatch.workflows import inference

    given = {
        "scenarios": scenario,
        "rates": parse_rates(rate) if rate is not None else None,
        "policies": policy,
        "arrivals": arrivals,
        "requests": requests,
        "repetitions": repetitions,
        "precision_target": precision_target,
        "max_repetitions": max_repetitions,
        "order": order,
        "profile": profile,
        "precisions": precision,
        "io": [io] if io else None,
        "meters": meter,
        "weights": weights,
        "threads": threads,
        "cpu_tdp_w": cpu_tdp,
        "seed": seed,
        "settings": parse_settings(setting or [], provider_option or []) or None,
        "probe_max_batch": probe_max_batch,
        "allow_fallback": allow_fallback or None,
        "images": images,
        "preprocessing": preprocessing,
        "batch_sizes": parse_batch_sizes(batch_sizes) if batch_sizes is not None else None,
        "runtimes": runtime,
        "providers": provider,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if (resume or study) and (options or models):
        raise UsageError(
            f"{'--resume' if resume else '--study'} takes the design from its file; leave out "
            f"{', '.join([*options, *(['the models'] if models else [])])}"
        )
    if resume and dry_run:
        raise UsageError("--dry-run shows a new run; leave it out, or name a --study")
    if resume and (out or study):
        raise UsageError("--resume goes on in the run's own folder; leave out --out and --study")
    if resume:
        resume_run(resume, as_json, trust=trust, share_machine=share_machine)
        return
    if study:
        design, path = read_study(study, ThisMachine()).fresh(), out or inference.fresh_path()
    else:
        design, path = inference.plan(models or [], out=out, artifacts_dir=artifacts, **options)
    if dry_run:
        from greenbatch.cli.output.plan import outline

        echo(*outline(design))
        return
    if study and not trust:
        require_consent(design, study)
    # What a new run executes now is trusted: the user allowed it, or wrote it on the command line.
    measure(design, path, as_json, trust=True, share_machine=share_machine)
