"""Tables of what a training takes: by phase, of its device, and against its multiplications."""

from collections.abc import Sequence

from greenbatch import units
from greenbatch.analysis.findings.wording import DASH, Table, degrees, p_text, share, spread
from greenbatch.analysis.report.page import TableSection
from greenbatch.analysis.training.findings.complexity import Complexity
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.analysis.training.report.hypothesis_table import effect_text
from greenbatch.analysis.training.report.tables import Factors

_PHASES_NOTE = (
    "Gross energy of a training by phase, over all its epochs. Studies that meter the training "
    "loop alone (Yarally et al.) are compared with its column. The phases of a training that was "
    "not interrupted add to the whole but for rounding at their ends."
)
_DEVICE_NOTE = (
    "Over the window of a training: the share of the time in which the processors of the GPU had "
    "work, and in which its memory was read or written; the most memory in use; the mean "
    "temperature of the sensor with the highest. A dash: not recorded."
)
_SIZE_NOTE = (
    "Multiplications, each with an addition, of one image of the trained size that infers (by "
    "convolutions, matrix products and attention), and the parameters."
)
_RISES_NOTE = (
    "Over the means of the choices. Spearman's p is one-sided, as in del Rey et al.: that the "
    "figure rises with the multiplications. The line is by least squares, of the logarithm of the "
    "energy, or of the share, on that of the multiplications."
)


def size_sections(
    rows: Sequence[TrainingRow], found: Sequence[tuple[str, Complexity]]
) -> list[TableSection]:
    """Make the tables; those without rows are left out by the page.

    Args:
        rows: Every cell.
        found: By data set, what energy has to do with multiplications.
    """
    return [
        TableSection(_phases_table(rows), _PHASES_NOTE),
        TableSection(_device_table(rows), _DEVICE_NOTE),
        TableSection(_size_table(rows), _SIZE_NOTE),
        TableSection(_rises_table(found), _RISES_NOTE),
    ]


def size_sentences(data: str, found: Complexity, *, several: bool) -> list[str]:
    """Say what the simplest choice needs, and what an extra point of accuracy takes."""
    on = f"On {data}: " if several else ""
    sentences = []
    simplest, most = found.simplest, found.most_complex
    if simplest and most and found.share:
        low, high = found.share.low, found.share.high
        word = "" if found.share.kind == "t" else "range "
        bounds = (
            "" if low is None or high is None else f" ({word}{100 * low:.3g} … {100 * high:.3g} %)"
        )
        sentences.append(
            f"{on}The choice with the fewest multiplications, {simplest.label}, needs "
            f"{100 * found.share.centre:.3g} %{bounds} of the energy of a training of the choice "
            f"with the most, {most.label} ({_macs(simplest)} against {_macs(most)} an image)."
        )
    sentences += [
        f"{on}From {step.cheaper.label} to {step.better.label}, an extra point of accuracy takes "
        f"{units.si(step.extra_j / step.points, 'J')} more per image seen."
        for step in found.steps
    ]
    return sentences


def _phases_table(rows: Sequence[TrainingRow]) -> Table:
    factors = Factors([row.cell for row in rows])
    names = ("energy", "train_energy", "validation_energy", "checkpoint_energy")
    body = tuple(
        (*factors(row.cell), *(spread(row.summary(name), "J") for name in names), _loop_share(row))
        for row in rows
        if row.series["train_energy"]
    )
    columns = (*factors.columns, "whole", "training loop", "validation", "checkpoints", "loop")
    numeric = tuple(column not in factors.text_columns for column in columns)
    return Table("phases", "Energy of a training by phase", columns, body, numeric)


def _loop_share(row: TrainingRow) -> str:
    sums = [
        value.centre if (value := row.summary(f"{name}_energy")) else 0.0
        for name in ("train", "validation", "checkpoint")
    ]
    return f"{100 * sums[0] / sum(sums):.1f} %" if sum(sums) > 0 else DASH


def _device_table(rows: Sequence[TrainingRow]) -> Table:
    factors = Factors([row.cell for row in rows])
    names = ("utilization", "memory_utilization", "memory_device", "temperature")
    body = tuple(
        (
            *factors(row.cell),
            share(row.summary("utilization")),
            share(row.summary("memory_utilization")),
            spread(row.summary("memory_device"), "B"),
            degrees(row.summary("temperature")),
        )
        for row in rows
        if any(row.series[name] for name in names)
    )
    columns = (*factors.columns, "GPU busy", "memory busy", "most memory", "mean temperature")
    numeric = tuple(column not in factors.text_columns for column in columns)
    return Table("device", "The device in a training", columns, body, numeric)


def _size_table(rows: Sequence[TrainingRow]) -> Table:
    factors = Factors([row.cell for row in rows])
    body = tuple(
        (
            *factors(row.cell),
            _macs(row),
            units.si(row.parameters, ""),
            spread(row.summary("image"), "J"),
            spread(row.summary("energy"), "J"),
        )
        for row in rows
        if row.macs
    )
    columns = (*factors.columns, "multiplications", "parameters", "energy/image seen", "a training")
    numeric = tuple(column not in factors.text_columns for column in columns)
    return Table("sizes", "Multiplications and energy", columns, body, numeric)


def _macs(row: TrainingRow) -> str:
    return DASH if row.macs is None else f"{units.si(row.macs, '').strip()} MACs"


def _rises_table(found: Sequence[tuple[str, Complexity]]) -> Table:
    body = tuple(
        (
            data,
            "energy per image seen" if rise.figure == "energy" else "utilisation of the GPU",
            str(rise.choices),
            effect_text(rise.spearman),
            p_text(rise.spearman.p),
            f"energy ~ MACs^{rise.exponent:.2f}"
            if rise.figure == "energy"
            else f"{100 * rise.exponent:+.1f} points for ten times the MACs",
            f"{rise.r_squared:.3f}",
        )
        for data, one in found
        for rise in one.rises
    )
    columns = ("data", "figure", "choices", "Spearman (95 %)", "p, one-sided", "line", "R²")
    numeric = (False, False, True, False, True, False, True)
    return Table("complexity", "Does it rise with the multiplications?", columns, body, numeric)
