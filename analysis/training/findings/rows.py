"""The dataset of trainings as plain rows: one for each cell, nothing formatted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.counted import counts_of, mask_of, sum_counted
from greenbatch.analysis.dataset.labelled_cells import make_cell
from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.dataset.training_variables import EPOCH_PHASES, FACTORS, cell_dims
from greenbatch.analysis.dataset.variables import FLAGS, STATUSES, settings_of
from greenbatch.analysis.statistics.intervals import Interval, interval
from greenbatch.records import TrainingCell
from greenbatch.records.provenance import Provenance

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from greenbatch.arrays import Numbers

_OK, _NOT_RUN = STATUSES.index("ok"), STATUSES.index("not_run")

SHARES = (
    *("accuracy", "final_accuracy", "f1", "precision", "recall", "auc"),
    *("utilization", "memory_utilization", "temperature"),
)
"""The series whose mean is arithmetic."""
Series = Mapping[int, float]
"""A figure of a cell by block; only blocks that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """A cell and its figures; of a search one trial of a strategy, whose repetitions differ.

    Attributes:
        cell: Where the batch size is searched, that of its cell is none.
        label: What tells it from the others of the run, data apart; never empty.
        planned: Repetitions in the design.
        statuses, flags: How many repetitions ended how; how many ok ones carry each flag.
        flagged_blocks: Blocks whose repetition is ok and has a flag.
        failures: Distinct reasons of the repetitions that are not ok.
        energy_source: ``missing``, ``measured``, ``estimated`` or ``mixed``.
        series: Of ok repetitions, by block: ``energy`` (J of a whole training over the domains
            that count), ``image`` and ``image_net`` (J per image seen), ``train_image`` and
            ``validation_image`` (J per image seen in those passes), ``duration`` (s), ``epochs``,
            ``best_epoch``, ``accuracy`` (the best), ``final_accuracy``, ``f1``, ``precision``,
            ``recall``, ``auc``; ``train_energy``, ``validation_energy``, ``checkpoint_energy`` (J
            of all epochs); of the device ``utilization`` and ``memory_utilization`` (shares, the
            mean of its domains), ``memory_device`` (bytes) and ``temperature`` (degrees Celsius, of
            the sensor with the highest mean), empty where they were not recorded.
        lost_s, lost_j: What interruptions and failures lost, at the least, over all repetitions;
            ``None`` where nothing was lost, and no energy where it is not known.
        sessions: Repetitions that were interrupted and went on.
        stopped_early: Repetitions that patience ended.
        parameters: Of the network.
        macs: Multiplications, each with an addition, for an image that infers.
        classes: Of the data set; ``None`` in files of earlier programs.
        validation_images: Of an epoch; ``None`` where no epoch ended.
    """

    cell: TrainingCell
    label: str
    planned: int
    statuses: Mapping[str, int]
    flags: Mapping[str, int]
    failures: tuple[str, ...]
    energy_source: Provenance
    series: Mapping[str, Series] = field(repr=False)
    lost_s: float | None = None
    lost_j: float | None = None
    sessions: int = 0
    stopped_early: int = 0
    parameters: float | None = None
    macs: float | None = None
    classes: int | None = None
    validation_images: int | None = None
    flagged_blocks: frozenset[int] = frozenset()
    curves: "Curves" = field(repr=False)

    @property
    def ok(self) -> int:
        """Repetitions that were measured."""
        return self.statuses.get("ok", 0)

    @property
    def estimated(self) -> bool:
        """Whether an estimate is in its energies."""
        return self.energy_source.in_part_estimated

    def summary(self, name: str) -> Interval | None:
        """Summarise a series over repetitions; shares by the arithmetic mean."""
        values = self.series[name].values()
        return interval(values, geometric=name not in SHARES)


@dataclass(frozen=True, slots=True)
class Curves:
    """Figures of each epoch of the ok repetitions, shape (repetition, epoch); NaN where none.

    Attributes:
        energy_j: By pass of `EPOCH_PHASES`, over the domains that count.
    """

    accuracy: "Numbers"
    energy_j: "Mapping[str, Numbers]"


def training_rows(dataset: "xr.Dataset") -> list[TrainingRow]:
    """List every cell of the design, measured or not, in the study's order.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
    """
    return _Cells(dataset).rows()


class _Cells:
    """A dataset's values by cell, each variable read once."""

    def __init__(self, dataset: "xr.Dataset") -> None:
        self.settings = settings_of(dataset)
        self.dims = cell_dims(dataset)
        self.labels = {dim: dataset[dim].values.tolist() for dim in self.dims}
        self.along = [len(self.labels[dim]) for dim in self.dims]
        self.counts = counts_of(dataset)
        wanted = (*self.dims, "repetition")
        self.arrays = {
            str(name): array.transpose(*wanted, ...)
            for name, array in dataset.data_vars.items()
            if set(wanted) <= set(array.dims)
        }
        self.values = {name: array.values for name, array in self.arrays.items()}
        self.blocks = dataset["repetition"].values.tolist()
        self.passes = dataset["phase"].values.tolist()
        self.designed = dataset["in_design"].transpose(*self.dims).values == 1

    def rows(self) -> list[TrainingRow]:
        grid = product(*(range(length) for length in self.along))
        places = [place for place in grid if self.designed[place]]
        cells = [self._cell(place) for place in places]
        return [
            self._row(cell, label, place)
            for cell, label, place in zip(cells, labels_of(cells), places, strict=True)
        ]

    def _cell(self, place: Sequence[int]) -> TrainingCell:
        at = {dim: self.labels[dim][i] for dim, i in zip(self.dims, place, strict=True)}
        return make_cell(
            TrainingCell,
            **{name: at[name] for name in FACTORS if name in at},
            settings=tuple((name, str(at[dim])) for dim, name in self.settings.items()),
            strategy=at.get("strategy", ""),
            trial=at.get("trial"),
        )

    def _row(self, cell: TrainingCell, label: str, place: tuple[int, ...]) -> TrainingRow:
        import numpy as np

        here = {name: values[place] for name, values in self.values.items()}
        ok = here["status"] == _OK
        failed = ~ok & (here["status"] != _NOT_RUN)

        def by_block(values: "Numbers") -> dict[int, float]:
            known = ok & np.isfinite(values)
            return {self.blocks[i]: float(values[i]) for i in np.flatnonzero(known)}

        mask = mask_of(here["energy_counted"], self.counts)
        energies_j = sum_counted(here["energy"], mask)
        passes_j = {name: self._pass(here, name, mask) for name in EPOCH_PHASES}
        run = np.isfinite(here["accuracy"]).sum(axis=-1)
        series = {
            "energy": by_block(energies_j),
            "image": by_block(here["energy_per_image_seen"]),
            "image_net": by_block(here["energy_per_image_seen_net"]),
            "duration": by_block(here["duration"]),
            "epochs": by_block(run.astype(float)),
            "best_epoch": by_block(here["best_epoch"]),
            "accuracy": by_block(here["best_accuracy"]),
            "final_accuracy": by_block(here["final_accuracy"]),
            "f1": by_block(here["best_f1"]),
            "precision": by_block(here["best_precision"]),
            "recall": by_block(here["best_recall"]),
            "auc": by_block(here["best_auc"]),
        }
        for name, energies in passes_j.items():
            whole = np.where(np.isfinite(here["accuracy"]), energies, 0.0).sum(axis=-1)
            series[f"{name}_energy"] = by_block(np.where(run > 0, whole, np.nan))
        series |= {
            "utilization": by_block(_mean_known(here["utilization"])),
            "memory_utilization": by_block(_mean_known(here["memory_utilization"])),
            "memory_device": by_block(_highest_known(here["memory_device"])),
            "temperature": by_block(_highest_known(here["temperature_mean"])),
        }
        for name in ("train", "validation"):
            figure = here["phase_energy_per_image"][..., self.passes.index(name)]
            series[f"{name}_image"] = by_block(figure)
        lost_s, lost_j = here["lost_duration"], here["lost_energy"]
        lost = np.nan_to_num(lost_s) > 0
        sessions = here["sessions"]
        stops = self.arrays["stopped"].attrs["flag_meanings"].split()
        masks = here["flags"][ok]
        return TrainingRow(
            cell=cell,
            label=label,
            planned=len(self.blocks),
            statuses=Counter(STATUSES[code] for code in here["status"]),
            flags={n: c for n, bit in FLAGS.items() if (c := int(((masks & bit) > 0).sum()))},
            failures=tuple(dict.fromkeys(str(t) for t in here["reason"][failed] if t)),
            energy_source=provenance_of(here["energy_per_image_seen_source"][ok]),
            series=series,
            lost_s=float(lost_s[lost].sum()) if lost.any() else None,
            lost_j=float(lost_j[lost].sum())
            if lost.any() and np.isfinite(lost_j[lost]).all()
            else None,
            sessions=int((sessions[np.isfinite(sessions)] > 1).sum()),
            stopped_early=int((here["stopped"][ok] == stops.index("patience")).sum()),
            parameters=_first(here["parameters"]),
            macs=_first(here["macs"]),
            classes=_whole(here["classes"][ok]) if "classes" in here else None,
            validation_images=_whole(
                here["epoch_images"][ok][..., self.passes.index("validation")]
            ),
            flagged_blocks=frozenset(
                self.blocks[i] for i in np.flatnonzero(ok & (here["flags"] > 0))
            ),
            curves=Curves(here["accuracy"][ok], {n: v[ok] for n, v in passes_j.items()}),
        )

    def _pass(
        self, here: "Mapping[str, Numbers]", name: str, mask: "NDArray[np.bool_]"
    ) -> "Numbers":
        order = self.arrays["epoch_energy"].dims[len(self.dims) :]
        energies_j = here["epoch_energy"].take(self.passes.index(name), axis=order.index("phase"))
        return sum_counted(energies_j, mask[:, None, :])


def _mean_known(values: "Numbers") -> "Numbers":
    """Return the mean along the last axis of what is known; NaN where nothing is."""
    import numpy as np

    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _highest_known(values: "Numbers") -> "Numbers":
    import numpy as np

    highest = np.where(np.isfinite(values), values, -np.inf).max(axis=-1, initial=-np.inf)
    return np.where(np.isfinite(highest), highest, np.nan)


def _first(values: "Numbers") -> float | None:
    import numpy as np

    known = values[np.isfinite(values)]
    return float(known[0]) if known.size else None


def _whole(values: "Numbers") -> int | None:
    known = _first(values)
    return None if known is None else round(known)


def labels_of(cells: Sequence[TrainingCell]) -> list[str]:
    """Name each cell by what differs within the run, data apart; by its model where nothing does.

    >>> labels_of([TrainingCell("cnn", "digits"), TrainingCell("cnn", "digits", batch_size=64)])
    ['batch 32', 'batch 64']
    """
    names = [name for cell in cells for name, _ in cell.settings]
    settings = {name: {dict(c.settings).get(name) for c in cells} for name in names}

    def varies(factor: str) -> bool:
        return len({getattr(cell, factor) for cell in cells}) > 1

    def label(cell: TrainingCell) -> str:
        parts = [
            *(getattr(cell, f) for f in ("model", "backend", "precision") if varies(f)),
            *([f"batch {cell.batch_size}"] if varies("batch_size") else []),
            *(
                f"{name.replace('_', ' ')} {text}"
                for name, text in cell.settings
                if len(settings[name]) > 1
            ),
            *([cell.strategy] if cell.strategy else []),
            *([f"trial {cell.trial}"] if cell.trial is not None else []),
        ]
        return ", ".join(parts) or cell.model

    return [label(cell) for cell in cells]
