"""Options that several commands have, worded once."""

from pathlib import Path
from typing import Annotated

import typer

Artifacts = Annotated[Path, typer.Option(help="Folder of exported artifacts.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
CpuTdp = Annotated[
    float | None, typer.Option(help="Maximum power in W of the granted cores, for the estimate.")
]
Meters = Annotated[
    list[str] | None,
    typer.Option(help="auto, none or a meter's name (see 'gb doctor'); repeatable."),
]
Out = Annotated[Path | None, typer.Option(help="Folder of this run. Default: runs/<now>.")]
Resume = Annotated[
    Path | None, typer.Option(help="Resume the run in this folder; short for 'gb resume'.")
]
ShareMachine = Annotated[
    bool,
    typer.Option(
        "--share-machine",
        help="Measure although another run is measuring on this machine; what is measured beside "
        "it is flagged as disturbed.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(help="Threads of CPU backends. Default: the cores granted.")
]
TrainImages = Annotated[
    int | None, typer.Option(help="The most to train on, balanced over classes. Default: all.")
]
ValidationImages = Annotated[
    int | None, typer.Option(help="The most to validate with. Default: all.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Allow the code that a study file or a run from somebody else names: callables, "
        "installed backends and meters, files in settings.",
    ),
]
Weights = Annotated[
    str | None, typer.Option(help="auto, pretrained, random or a .safetensors or .pth file.")
]
