"""Measure a network of your own on two runtimes, and print the batch size to choose.

    cd examples
    python own_network.py              # about a minute on two cores, without a GPU
    python own_network.py runs/second  # another folder for the run

The same from the shell, in this folder:

    gb bench own_network:build --input 3x64x64 --provider cpu --batch-sizes 1,4,16
"""

import sys

from torch import nn

import greenbatch


def build() -> nn.Module:
    """Return the network: five classes, images of 64 x 64. Put your own here."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 5),
    ).eval()


def main(out: str = "runs/own-network") -> None:
    """Export, measure, and print the answer."""
    run = greenbatch.bench(
        ["own_network:build"],  # every repetition imports this file in a process of its own
        input=["3x64x64"],
        network="mine",
        providers=["cpu"],
        batch_sizes=[1, 4, 16],
        repetitions=3,
        profile="quick",
        out=out,
    )
    for answer in run.findings.answers:
        print(f"{answer.model}: {answer.best and answer.best.how}. {answer.certainty}")
    dataset = run.dataset()
    print(dataset["throughput"].mean("repetition").to_dataframe()["throughput"].round(1))
    print(f"report: {run.report}")


if __name__ == "__main__":  # children of the measurement import this module
    main(*sys.argv[1:])
