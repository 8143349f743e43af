"""``gb bench``: measure energy and latency, and report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from greenbatch.cli.measuring import Sharing, measure, require_consent, resume_run
from greenbatch.cli.options import (
    Artifacts,
    AsJson,
    CpuTdp,
    Meters,
    OnBusy,
    Out,
    Resume,
    ShareMachine,
    ThreadsOfCells,
    Trust,
    WaitMachine,
    WaitQuiet,
    Weights,
    by_comma,
    parse_batch_sizes,
    parse_rates,
    parse_settings,
    parse_threads,
    parse_wait,
)
from greenbatch.cli.output.printing import echo, note
from greenbatch.errors import UsageError

_DESIGN = {
    "scenarios",
    "rates",
    "policies",
    "arrivals",
    "requests",
    "repetitions",
    "precision_target",
    "max_repetitions",
    "order",
    "profile",
    "settings",
    "probe_max_batch",
    "batch_sizes",
    "preprocessing",
}
"""Options that set the design: with one of them, and without a budget, all of it is measured."""


def bench(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models to measure. Default: the five study models.")
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Execution provider: cpu, cuda, tensorrt, openvino, ... Repeatable, or with "
            "commas. Default: cuda if it is usable, else cpu.",
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Runtime: onnxruntime, torch, torch-compile, openvino, ... (see 'gb "
            "doctor'). Repeatable, or with commas. Default: onnxruntime and torch.",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Precision: fp32, fp16, bf16 or int8. Repeatable, or with commas. Default: fp32.",
        ),
    ] = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            help="Batch sizes in images, e.g. 1,8,32 or 1..128 (powers of two). Default: 1..128."
        ),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Load pattern. offline: batches run back to back. server: single requests "
            "arrive and are batched; requires --rate. Repeatable, or with commas. Default: "
            "offline.",
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(help="Request rates of the server scenario in requests/s, e.g. 50,100."),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Batching policy of the server scenario: fixed:N, greedy:N or "
            "dynamic:N:WAIT, e.g. dynamic:16:5ms. Repeatable, or with commas. Default: greedy:16.",
        ),
    ] = None,
    arrivals: Annotated[
        list[str] | None,
        typer.Option(
            help="Arrival process of the server scenario: poisson, uniform, constant, "
            "bursty:RATIO:LENGTH or replay:FILE. Repeatable. Default: poisson."
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(
            help="Number of requests in a window of the server scenario. Default: 200 or more."
        ),
    ] = None,
    repetitions: Annotated[
        int | None,
        typer.Option(
            help="Number of repetitions of each cell. Default: 3; at least 5 with "
            "--precision-target."
        ),
    ] = None,
    precision_target: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Repeat each cell until the 95 % interval of its energy per image is "
            "within ± this share of the mean, e.g. 2%. Time per image is used if the "
            "energy is missing.",
        ),
    ] = None,
    max_repetitions: Annotated[
        int | None,
        typer.Option(help="Maximum number of repetitions with --precision-target. Default: 30."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Measure the cells that decide, for at most this time, e.g. 10m. Exports and the "
            "report are not counted. Default: 15m if no option sets the design.",
        ),
    ] = None,
    decide: Annotated[
        str | None,
        typer.Option(
            help="What the budget is spent on: best (the best cell of each model), front (of "
            "energy and latency), knee (of each curve), crossover or ratio (of two backends). "
            "Default: best."
        ),
    ] = None,
    within: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="A difference that does not matter to the decision, e.g. 5%. Default: 3%.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option("--full", help="Measure every cell in every repetition, without a budget."),
    ] = False,
    order: Annotated[
        str | None,
        typer.Option(
            help="Order of the cells in a block: shuffled or latin-square (each cell takes "
            "each position equally often). Default: shuffled."
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Length of windows, warm-up and rests: quick, standard or rigorous. "
            "Default: standard."
        ),
    ] = None,
    io: Annotated[
        str | None,
        typer.Option(help="Memory that holds inputs and outputs: host or device. Default: host."),
    ] = None,
    meter: Meters = None,
    weights: Weights = None,
    threads: ThreadsOfCells = None,
    cpu_tdp: CpuTdp = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="BACKEND.NAME=V1,V2",
            help="Set an option of a backend, e.g. onnxruntime-cpu.allow_spinning=0,1. Each "
            "value is measured. Repeatable.",
        ),
    ] = None,
    provider_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER.NAME=V1,V2",
            help="Set an option of an ONNX Runtime provider, e.g. "
            "cuda.cudnn_conv_algo_search=HEURISTIC. Each value is measured. Repeatable.",
        ),
    ] = None,
    isolation: Annotated[
        str | None,
        typer.Option(
            help="How to start the process of each repetition: fork (from a process that has "
            "imported the runtime, where that is safe), spawn (a fresh interpreter) or session "
            "(fork, and one process for all batch sizes of a network in a block, where the runtime "
            "can: shorter, and memory is known of fewer cells). Default: fork."
        ),
    ] = None,
    compile_cache: Annotated[
        bool,
        typer.Option(
            "--compile-cache",
            help="Keep what the backends compile across runs, and load what an earlier run "
            "compiled from the same artifact with the same versions on this machine. The start-up "
            "cost is then that of loading it.",
        ),
    ] = False,
    wait_quiet: WaitQuiet = None,
    on_busy: OnBusy = None,
    probe_max_batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Find the largest batch that fits into memory before the measurement; try "
            "up to N images.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed of the order, the images and the random weights."),
    ] = None,
    allow_fallback: Annotated[
        bool,
        typer.Option(
            "--allow-fallback",
            help="Measure a model even if some operators run on another device; record them.",
        ),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of JPEG or PNG images to use as inputs, or generated:3 for three "
            "that are made for the run. Default: synthetic images."
        ),
    ] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            help="When to decode and transform --images: before (ahead of the timed window) "
            "or pipeline (in the window, ahead of each batch). Default: before."
        ),
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option(
            help="Input of your own network as CxHxW, e.g. 3x224x224, or as "
            "[NAME=]SHAPE[:TYPE[:VALUE]]. Repeatable for further inputs."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of your own network.")] = None,
    artifacts: Artifacts = Path("artifacts"),
    out: Out = None,
    study: Annotated[Path | None, typer.Option(help="Measure the study in this YAML file.")] = None,
    resume: Resume = None,
    trust: Trust = False,
    share_machine: ShareMachine = False,
    wait_machine: WaitMachine = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the cells, their order and the minimum duration; measure nothing.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure energy and latency and write a report."""
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
        "budget": budget,
        "decide": decide,
        "within": within,
        "order": order,
        "profile": profile,
        "precisions": precision,
        "io": [io] if io else None,
        "meters": meter,
        "weights": weights,
        "threads": parse_threads(threads) if threads is not None else None,
        "cpu_tdp_w": cpu_tdp,
        "seed": seed,
        "settings": parse_settings(setting or [], provider_option or []) or None,
        "isolation": isolation,
        "compile_cache": compile_cache or None,
        "wait_quiet": wait_quiet,
        "on_busy": on_busy,
        "probe_max_batch": probe_max_batch,
        "allow_fallback": allow_fallback or None,
        "images": images,
        "preprocessing": preprocessing,
        "batch_sizes": parse_batch_sizes(batch_sizes) if batch_sizes is not None else None,
        "runtimes": runtime,
        "providers": provider,
        "input": input,
        "network": name,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if full and (of_it := [f"--{n}" for n in ("budget", "decide", "within") if n in options]):
        raise UsageError(f"--full measures the whole design; remove it, or {', '.join(of_it)}")
    if (resume or study) and (options or models):
        raise UsageError(
            f"{'--resume' if resume else '--study'} takes the design from its file; remove "
            f"{', '.join([*options, *(['the models'] if models else [])])}"
        )
    if resume and dry_run:
        raise UsageError("--dry-run shows a new run; remove it, or replace --resume by --study")
    if resume and (out or study):
        raise UsageError("--resume continues in the folder of the run; remove --out and --study")
    sharing: Sharing = {
        "share_machine": share_machine,
        "wait_machine_s": parse_wait(wait_machine),
    }
    if resume:
        resume_run(resume, as_json, trust=trust, **sharing)
        return
    if study:
        design, path = read_study(study, ThisMachine()).fresh(), out or inference.fresh_path()
    else:
        if not full and "budget" not in options and not _sets_design(options):
            options["budget"] = inference.DEFAULT_BUDGET
        design, path = inference.plan(
            models or [], note, out=out, artifacts_dir=artifacts, **options
        )
    if dry_run:
        from greenbatch.cli.output.plan import plan_lines

        inference.check_room(design)

        echo(*plan_lines(design))
        return
    if study and not trust:
        require_consent(design, study)
    # What a new run executes now is trusted: the user allowed it, or wrote it on the command line.
    measure(design, path, as_json, trust=True, **sharing)


def _sets_design(options: Mapping[str, Any]) -> bool:
    """Whether options say which cells are measured how often; what is decided says otherwise."""
    several = len(options.get("threads", ())) > 1
    return bool(several or options.keys() & _DESIGN) and not options.keys() & {"decide", "within"}
