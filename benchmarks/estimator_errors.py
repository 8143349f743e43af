"""What the estimators of two published studies would have made of your own run.

'Batching for Green AI' took the mean power with an idle tail times the duration; the first versions
of del Rey et al. took the sum of the watts of all samples times the duration. Of any run, of
inference or of trainings.

    python benchmarks/estimator_errors.py RUN [--tail 1.125]
"""

import argparse
import math
from pathlib import Path

from greenbatch.analysis import open_run
from greenbatch.analysis.dataset.energy_basis import Basis, all_unlike
from greenbatch.analysis.dataset.store import kind_of
from greenbatch.analysis.findings.cells import cell_rows
from greenbatch.analysis.findings.estimator_errors import (
    estimates,
    estimates_table,
    inference_windows,
    saving_sentences,
)
from greenbatch.analysis.training import compile_training
from greenbatch.analysis.training.findings.rows import training_rows
from greenbatch.analysis.training.findings.windows import training_windows
from greenbatch.errors import GreenbatchError, UsageError
from greenbatch.records import Provenance

TAIL_S = 1.125
"""Two gaps and a second, at 16 requests a second."""


def main() -> None:
    """Print the table and the savings."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--tail", type=float, default=TAIL_S, help="length of the idle tail in s")
    options = parser.parse_args()
    try:
        print(report(options.run, options.tail))
    except GreenbatchError as error:
        parser.error(str(error))


def report(run: Path, tail_s: float = TAIL_S) -> str:
    """Write the table of a run as Markdown, and its greatest saving by each estimator.

    Raises:
        UsageError: The tail is no length, or no window of the run has an energy.
        RunError: The run cannot be read.
    """
    if not 0 <= tail_s < math.inf:
        raise UsageError(f"the idle tail is {tail_s:g} s; give a length of 0 or more")
    trainings = kind_of(run) == "training"
    if trainings:
        dataset = compile_training(run)
        windows = [*training_windows(dataset)]
        bases = [Basis.of(row.energy_source) for row in training_rows(dataset)]
    else:
        dataset = open_run(run)
        windows = [*inference_windows(dataset)]
        bases = [row.basis for row in cell_rows(dataset)]
    if not windows:
        raise UsageError(f"no window of {run} has an energy; give a run that was metered")
    found = estimates(windows, tail_s)
    lines: list[str] = [estimates_table(found, trainings=trainings).markdown()]
    if why := all_unlike(bases):
        return "\n".join(
            [*lines, f"No saving between cells: their energies are not alike ({why})."]
        )
    if any(basis.source != Provenance.MEASURED for basis in bases if basis.parts):
        lines.append("Energies are estimated, in part or whole.")
    return "\n".join([*lines, *saving_sentences(found)])


if __name__ == "__main__":
    main()
