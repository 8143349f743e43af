"""What the estimators of two published studies would have made of your own run.

'Batching for Green AI' took the mean power with an idle tail times the duration; the first versions
of del Rey et al. took the sum of the watts of all samples times the duration. Of any run, of
inference or of trainings.

    python benchmarks/estimator_errors.py RUN [--tail 1.125]
"""

import argparse
from pathlib import Path

from greenbatch.analysis import open_run
from greenbatch.analysis.dataset.store import kind_of
from greenbatch.analysis.findings.estimator_errors import (
    estimates,
    estimates_table,
    inference_windows,
    saving_sentences,
)
from greenbatch.analysis.training import compile_training
from greenbatch.analysis.training.findings.windows import training_windows

TAIL_S = 1.125
"""Two gaps and a second, at 16 requests a second."""


def main() -> None:
    """Print the table and the savings."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--tail", type=float, default=TAIL_S, help="length of the idle tail in s")
    options = parser.parse_args()
    print(report(options.run, options.tail))


def report(run: Path, tail_s: float = TAIL_S) -> str:
    """Write the table of a run as Markdown, and its greatest saving by each estimator."""
    trainings = kind_of(run) == "training"
    windows = (
        training_windows(compile_training(run)) if trainings else inference_windows(open_run(run))
    )
    found = estimates([*windows], tail_s)
    table = estimates_table(found, trainings=trainings)
    return "\n".join([table.markdown(), *saving_sentences(found)])


if __name__ == "__main__":
    main()
