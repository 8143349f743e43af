"""``gb train``: train networks under the meters, and report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from greenbatch.cli.measuring import measure, resume_run
from greenbatch.cli.options import named_values
from greenbatch.cli.output.printing import echo
from greenbatch.cli.shared_options import (
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
)
from greenbatch.errors import UsageError


def train(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks: dense, simple-cnn, a torchvision classifier as mobilenet_v2, or "
            "timm:NAME."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="digits, cifar10, fashion-mnist or folder:PATH; repeatable. Default: digits."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="The most. Default: 10.")] = None,
    batch_sizes: Annotated[str | None, typer.Option(help="32,64 or 16..128. Default: 32.")] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, amp-fp16 or amp-bf16; repeatable. Default: fp32."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=V1,V2",
            help="A hyperparameter or what the network takes; several values are trained side by "
            "side. As learning_rate=0.01,0.1. Repeatable.",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs in which the validation loss did not get lower; "
            "0: do not stop early. Default: 0."
        ),
    ] = None,
    repetitions: Annotated[int | None, typer.Option(help="Repetitions. Default: 3.")] = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="cpu or cuda; repeatable. Default: cpu.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Resize images to this height and width.")
    ] = None,
    train_images: TrainImages = None,
    validation_images: ValidationImages = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where data sets are or are downloaded to. Default: data.")
    ] = None,
    meter: Meters = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="quick, standard or rigorous: how long is rested and warmed up. Default: standard."
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(help="Of the trainings in a block: shuffled or latin-square."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, of the order of images and of trainings.")
    ] = None,
    threads: Threads = None,
    cpu_tdp: CpuTdp = None,
    out: Out = None,
    resume: Resume = None,
    trust: Trust = False,
    share_machine: ShareMachine = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the trainings in their order; do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train networks epoch by epoch under the meters, and write a report."""
    from greenbatch.cli.options import batch_sizes as parse_batch_sizes
    from greenbatch.workflows import inference
    from greenbatch.workflows import training as training_workflow

    given = {
        "data": data,
        "epochs": epochs,
        "batch_sizes": parse_batch_sizes(batch_sizes) if batch_sizes is not None else None,
        "precisions": precision,
        "settings": named_values(setting or [], "--set", "learning_rate=0.01,0.1") or None,
        "patience": patience,
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
    if resume:
        if options or models or out or dry_run:
            raise UsageError(
                f"--resume takes the design from {resume / 'study.yaml'} and goes on in that "
                "folder; leave out everything else but --json"
            )
        resume_run(resume, as_json, trust=trust, share_machine=share_machine)
        return
    if not models:
        raise UsageError("no network is named; name one, as: gb train simple-cnn")
    path = out or inference.fresh_path()
    design = training_workflow.plan(models, name=path.name, **options)
    if dry_run:
        from greenbatch.cli.output.plan import outline

        echo(*outline(design))
        return
    measure(design, path, as_json, trust=True, share_machine=share_machine)
