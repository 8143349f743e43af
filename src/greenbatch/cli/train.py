"""``gb train``: train networks under the meters, and report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from greenbatch.cli.measuring import Sharing, measure, resume_run
from greenbatch.cli.options import (
    AsJson,
    CpuTdp,
    Meters,
    Out,
    Resume,
    ShareMachine,
    Threads,
    TrainImages,
    Trust,
    ValidationImages,
    WaitMachine,
    by_comma,
    named_values,
    parse_batch_sizes,
    parse_wait,
)
from greenbatch.cli.output.printing import echo
from greenbatch.errors import UsageError


def train(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks: dense, simple-cnn, a torchvision classifier (e.g. mobilenet_v2) "
            "or timm:NAME."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Data set: digits, cifar10, fashion-mnist or folder:PATH. Repeatable. "
            "Default: digits."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Maximum number of epochs. Default: 10.")
    ] = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            help="Batch sizes in images, e.g. 32,64 or 16..128 (powers of two). Default: 32."
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Precision: fp32, amp-fp16 or amp-bf16. Repeatable, or with commas. Default: "
            "fp32.",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=V1,V2",
            help="Set a hyperparameter or a parameter of the network, e.g. "
            "learning_rate=0.01,0.1. Each value is trained. Repeatable.",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop a training after this many epochs without a lower validation loss. 0 "
            "disables early stopping. Default: 0."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights that the networks begin with: random, pretrained (those of torchvision "
            "or timm) or a file of a state_dict. Default: random."
        ),
    ] = None,
    repetitions: Annotated[
        int | None, typer.Option(help="Number of repetitions of each training. Default: 3.")
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Execution provider: cpu or cuda. Repeatable, or with commas. Default: cpu.",
        ),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Resize images to this height and width in pixels.")
    ] = None,
    train_images: TrainImages = None,
    validation_images: ValidationImages = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the data sets; missing ones are downloaded to it. Default: data."
        ),
    ] = None,
    meter: Meters = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Length of rests and warm-up: quick, standard or rigorous. Default: standard."
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help="Order of the trainings in a block: shuffled or latin-square. Default: shuffled."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed of the weights and of the order of images and trainings."),
    ] = None,
    threads: Threads = None,
    cpu_tdp: CpuTdp = None,
    out: Out = None,
    resume: Resume = None,
    trust: Trust = False,
    share_machine: ShareMachine = False,
    wait_machine: WaitMachine = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the trainings in their order; train nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train networks, measure each epoch and write a report."""
    from greenbatch.workflows import inference, training

    given = {
        "data": data,
        "epochs": epochs,
        "batch_sizes": parse_batch_sizes(batch_sizes) if batch_sizes is not None else None,
        "precisions": precision,
        "settings": named_values(setting or [], "--set", "learning_rate=0.01,0.1") or None,
        "patience": patience,
        "transfer": {"weights": dict.fromkeys(models or (), weights)} if weights else None,
        "repetitions": repetitions,
        "providers": provider,
        "image_size": image_size,
        "train_images": train_images,
        "validation_images": validation_images,
        "data_dir": str(data_dir) if data_dir else None,
        "meters": meter,
        "profile": profile,
        "order": order,
        "seed": seed,
        "threads": threads,
        "cpu_tdp_w": cpu_tdp,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    sharing: Sharing = {
        "share_machine": share_machine,
        "wait_machine_s": parse_wait(wait_machine),
    }
    if resume:
        if options or models or out or dry_run:
            raise UsageError(
                f"--resume takes the design from {resume / 'study.yaml'} and continues in that "
                "folder; remove all options except --json"
            )
        resume_run(resume, as_json, trust=trust, **sharing)
        return
    if not models:
        raise UsageError("no network is named; name one, e.g. gb train simple-cnn")
    path = out or inference.fresh_path()
    design = training.plan(models, name=path.name, **options)
    if dry_run:
        from greenbatch.cli.output.plan import plan_lines

        echo(*plan_lines(design))
        return
    measure(design, path, as_json, trust=True, **sharing)
