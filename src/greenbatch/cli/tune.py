"""``gb tune``: search strategies side by side, every trial metered."""

from collections.abc import Sequence
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
    parse_wait,
)
from greenbatch.cli.output.printing import echo
from greenbatch.errors import UsageError

_SPACE: dict[str, Any] = {
    "learning_rate": {"low": 0.0001, "high": 0.1, "log": True},
    "batch_size": [16, 32, 64, 128],
    "linear_layers": [3, 7],
    "conv_layers": [1, 4],
    "relu": [0, 1],
    "dropout": [0, 0.25, 0.5],
}
"""The default search space; a network gets the members that it has."""
_OF_EVERY_CELL = "batch_size"


def tune(
    model: Annotated[str | None, typer.Argument(help="Network to train (see 'gb train').")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: digits, cifar10, fashion-mnist or folder:PATH. Default: digits."
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="Search strategy: grid, random, gp (Bayesian, Gaussian process), gp-pi (the same "
            "by probability of improvement) or tpe (Bayesian, Parzen estimators). Repeatable, "
            "or with commas. Default: grid, random and gp.",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Number of trials (trainings) of each strategy. Default: 16.")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Hyperparameter and its values, e.g. conv_layers=1,4 or "
            "learning_rate=0.001..0.1:log. A range with whole ends has only whole "
            "numbers; :8 sets a grid of 8 steps. Repeatable. Default: learning rate, "
            "batch size and the parameters of the network.",
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="Objective: accuracy, energy or both (Pareto front). Default: accuracy."),
    ] = None,
    within: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Tolerance at which a search has reached its final best value, e.g. 1%. "
            "Default: 1%.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Maximum number of epochs of a trial. Default: 10.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop a trial after this many epochs without a lower validation loss. 0 "
            "disables early stopping."
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set a hyperparameter that is not searched, e.g. optimizer=sgd. Repeatable.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Batch size in images if it is not searched. Default: 32.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Precision: fp32, amp-fp16 or amp-bf16. Default: fp32.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Execution provider: cpu or cuda. Default: cpu.")
    ] = None,
    train_images: TrainImages = None,
    validation_images: ValidationImages = None,
    repetitions: Annotated[
        int | None,
        typer.Option(help="Number of complete searches, each with a different seed. Default: 3."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Length of rests and warm-up: quick, standard or rigorous. Default: standard."
        ),
    ] = None,
    meter: Meters = None,
    threads: Threads = None,
    cpu_tdp: CpuTdp = None,
    out: Out = None,
    resume: Resume = None,
    trust: Trust = False,
    share_machine: ShareMachine = False,
    wait_machine: WaitMachine = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the trials; train nothing."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare hyperparameter searches by accuracy and energy."""
    from greenbatch.cli.output.plan import plan_lines
    from greenbatch.design.training_study import make_training_study
    from greenbatch.runners.known import ThisMachine
    from greenbatch.workflows import inference

    search = {
        "strategies": strategy,
        "trials": trials,
        "objective": objective,
        "within": within,
    }
    given = {
        "data": [data] if data else None,
        "epochs": epochs,
        "patience": patience,
        "settings": named_values(setting or [], "--set", "optimizer=sgd,adam") or None,
        "batch_sizes": [batch_size] if batch_size is not None else None,
        "precisions": [precision] if precision else None,
        "backends": [f"torch-{provider}"] if provider else None,
        "train_images": train_images,
        "validation_images": validation_images,
        "repetitions": repetitions,
        "seed": seed,
        "profile": profile,
        "meters": meter,
        "threads": threads,
        "cpu_tdp_w": cpu_tdp,
    }
    searched: dict[str, Any] = {key: value for key, value in search.items() if value is not None}
    members: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    sharing: Sharing = {
        "share_machine": share_machine,
        "wait_machine_s": parse_wait(wait_machine),
    }
    if resume:
        if model or space or searched or members or out or dry_run:
            raise UsageError(
                f"--resume takes the design from {resume / 'study.yaml'} and continues in that "
                "folder; remove all options except --json"
            )
        resume_run(resume, as_json, trust=trust, **sharing)
        return
    if not model:
        raise UsageError("no network is named; name one, e.g. gb tune simple-cnn")
    path = out or inference.fresh_path()
    searched["space"] = (
        read_space(space) if space else default_space(model, set(members.get("settings", ())))
    )
    if batch_size is not None and _OF_EVERY_CELL in searched["space"]:
        if space:
            raise UsageError(
                "batch_size is both set and searched; remove --batch-size, or its --space"
            )
        del searched["space"][_OF_EVERY_CELL]
    design = make_training_study(
        {"name": path.name, "models": [model], "search": searched, **members},
        "the options",
        known=ThisMachine(),
    )
    if dry_run:
        echo(*plan_lines(design))
        return
    measure(design, path, as_json, trust=True, **sharing)


def default_space(model: str, fixed: set[str]) -> dict[str, Any]:
    """Return the default search space of a network, without what is set.

    Raises:
        UnknownNameError: There is no such network.
    """
    from greenbatch.runners.training.design.hyperparameters import taken

    known = {setting.name for setting in taken(model)} | {_OF_EVERY_CELL}
    return {name: values for name, values in _SPACE.items() if name in known - fixed}


def read_space(texts: Sequence[str]) -> dict[str, Any]:
    """Read a search space as the command takes it, into that of a study file.

    Args:
        texts: ``NAME=V1,V2`` or ``NAME=LOW..HIGH`` with ``:log``, ``:STEPS`` or both behind it.

    Raises:
        UsageError: One is not written so, or is given twice.
    """
    example = "conv_layers=1,4 or learning_rate=0.001..0.1:log"
    found: dict[str, Any] = {}
    for name, values in named_values(texts, "--space", example).items():
        text = ",".join(values)
        found[name] = _range(text) if ".." in text else values
        if not found[name]:
            raise UsageError(f"--space {name}={text} cannot be read; write e.g. {example}")
    return found


def _range(text: str) -> dict[str, Any] | None:
    """Read ``LOW..HIGH:log:STEPS``; ``None`` where it is not written so."""
    ends, *marks = text.split(":")
    low, _, high = ends.partition("..")
    whole = all(end.strip().lstrip("+-").isdigit() for end in (low, high))
    try:
        found: dict[str, Any] = {"low": float(low), "high": float(high)}
        steps = [int(mark) for mark in marks if mark != "log"]
    except ValueError:
        return None
    if len(steps) > 1 or marks.count("log") > 1:
        return None
    return {
        **found,
        **({"log": True} if "log" in marks else {}),
        **({"whole": True} if whole else {}),
        **({"steps": steps[0]} if steps else {}),
    }
