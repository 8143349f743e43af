"""Energies are divided only where they rest on the same: one rule for all that compare."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr

from greenbatch.analysis import cell_rows, open_run
from greenbatch.analysis.dataset.energy_basis import (
    Basis,
    Part,
    all_unlike,
    bases_of,
    models_of_estimates,
    unlike,
)
from greenbatch.analysis.findings.answers import answers
from greenbatch.analysis.findings.comparisons import best_rows, comparison_rows
from greenbatch.analysis.findings.startup import break_evens, start_ups
from greenbatch.errors import UsageError
from greenbatch.records import Cell, EnergyFigure, EnergySource, Provenance, Record
from tests.fakes import runs

A, B = "onnxruntime-cpu", "torch-cpu"
MEASURED, ESTIMATED, MIXED = Provenance.MEASURED, Provenance.ESTIMATED, Provenance.MIXED
TWO = "2 hardware threads at 0.74 W each, up to 3.5 W"
EIGHT = "8 hardware threads at 0.74 W each, up to 3.5 W"
GPU = Part("gpu-0", MEASURED)


def cpu(model: str = TWO) -> Part:
    return Part("cpu-estimate", ESTIMATED, model)


def estimate(energy_j: float, model: str = TWO) -> EnergyFigure:
    made = runs.figure(energy_j, "cpu-estimate", EnergySource.ESTIMATED)
    return replace(made, reason=f"estimated, not measured: {model}")


def counter(energy_j: float) -> EnergyFigure:
    return runs.figure(energy_j, "gpu-0")


Figures = Callable[[str, int, float], Sequence[EnergyFigure]]
"""Figures of a backend in a block, whose energy is about so many J."""


def mixed(backend: str, block: int, energy_j: float) -> Sequence[EnergyFigure]:
    return [counter(0.8 * energy_j), estimate(0.2 * energy_j)]


def dataset_of(path: Path, figures: Figures, batch_sizes: tuple[int, ...] = (1, 4)) -> xr.Dataset:
    """A run in which `B` takes twice the energy of `A`."""
    records: list[Record] = []
    for backend, factor in ((A, 1.0), (B, 2.0)):
        for block, noise in enumerate((1.0, 1.01, 0.99)):
            records += [
                runs.repetition(
                    Cell("alexnet", backend, batch_size=batch),
                    block,
                    energy=figures(backend, block, 40.0 * factor * noise),
                    one_off=runs.start(1.0, 0.5),
                )
                for batch in batch_sizes
            ]
    design = runs.study(backends=(A, B), batch_sizes=batch_sizes)
    return open_run(runs.write_run(path, records, design))


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ((GPU,), (Part("package-0", MEASURED),), ""),
        ((cpu(),), (cpu(),), ""),
        ((GPU, cpu()), (GPU, cpu()), ""),
        ((cpu(),), (cpu(""),), ""),
        ((), (GPU,), "energy is missing"),
        ((cpu(),), (GPU,), "estimated against measured"),
        ((GPU, cpu()), (cpu(),), "mixed against estimated: gpu-0 counts on one side only"),
        (
            (GPU, cpu()),
            (Part("gpu-0", ESTIMATED), Part("package-0", MEASURED)),
            "mixed against mixed: cpu-estimate counts on one side only",
        ),
        ((cpu(),), (cpu(EIGHT),), f"decide which): {TWO} against {EIGHT}"),
        ((GPU, cpu()), (GPU, cpu(EIGHT)), "--cpu-tdp"),
    ],
)
def test_the_rule(one: tuple[Part, ...], other: tuple[Part, ...], reason: str) -> None:
    found = unlike(Basis(tuple(sorted(one))), Basis(tuple(sorted(other))))
    assert reason in found
    assert bool(reason) == bool(found)


def test_an_estimate_in_other_words_is_the_same_estimate(tmp_path: Path) -> None:
    again = f"{TWO} with their CPU time (looked up elsewhere); may be wrong by half"
    assert not unlike(Basis((cpu(),)), Basis((cpu(again),)))
    assert Basis.of_repetitions([Basis((cpu(),)), Basis((cpu(again),))]).others == ()

    def figures(backend: str, block: int, energy_j: float) -> Sequence[EnergyFigure]:
        return [estimate(energy_j, TWO if block else again)]

    dataset = dataset_of(tmp_path / "run", figures)
    assert len(models_of_estimates(dataset)) == 1
    ratio = dataset.gb.relative_to(backend=A).sel(backend=B)["energy_per_image_ratio"]
    assert ratio.values.ravel().tolist() == pytest.approx([2.0, 2.0])


def test_estimates_that_state_no_numbers_are_compared_by_their_words() -> None:
    assert unlike(Basis((cpu("a plug nearby"),)), Basis((cpu("another plug"),)))
    assert unlike(Basis((cpu("a plug nearby"),)), Basis((cpu(TWO),)))
    assert not unlike(Basis((cpu("a plug nearby"),)), Basis((cpu("a plug nearby"),)))


def test_a_mixture_of_which_nothing_else_is_known_is_divided_by_nothing() -> None:
    assert unlike(Basis.of(MIXED), Basis.of(MIXED))
    assert not unlike(Basis.of(ESTIMATED), Basis.of(ESTIMATED))


def test_what_is_missing_decides_nothing_about_the_others() -> None:
    assert not all_unlike([Basis(), Basis((GPU,))])
    assert "differ" in all_unlike([Basis((GPU,), (Basis((cpu(),)),))])


@pytest.mark.slow
def test_cells_that_are_estimated_in_the_same_part_are_compared_everywhere(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "run", mixed)
    rows = cell_rows(dataset)
    assert {row.basis for row in rows} == {Basis((cpu(), GPU))}
    in_report = [row.energy.interval for row in comparison_rows(rows)]
    in_arrays = dataset.gb.relative_to(backend=A).sel(backend=B)["energy_per_image_ratio"]
    assert [found.centre for found in in_report if found] == pytest.approx([2.0, 2.0])
    assert in_arrays.values.ravel().tolist() == pytest.approx([2.0, 2.0])
    best = dataset.gb.best_batch()
    assert best.labels["backend"] == A
    assert "energy (estimated) per image" in str(best)
    assert "(estimated)" in str(dataset.gb.crossover(A, B))
    assert (dataset.gb.pareto()["front"] > 0).all()
    (answer,) = answers(rows)
    assert (answer.criterion, answer.energy_source) == ("energy", MIXED)
    assert len(best_rows(rows)) == 2


@pytest.mark.slow
def test_repetitions_on_other_grounds_are_not_averaged_into_one_ratio(tmp_path: Path) -> None:
    # Each cell has an estimate in one block of its own: both are mixed, and no pair is alike.
    def figures(backend: str, block: int, energy_j: float) -> Sequence[EnergyFigure]:
        guessed = block == (0 if backend == A else 1)
        return [
            runs.figure(
                energy_j * (4 if guessed else 1),
                source=EnergySource.ESTIMATED if guessed else EnergySource.COUNTER,
            )
        ]

    dataset = dataset_of(tmp_path / "run", figures)
    rows = cell_rows(dataset)
    assert {row.energy_source for row in rows} == {MIXED}
    for row in comparison_rows(rows):
        assert row.energy.interval is None
        assert "cell differ: package-0 is measured against estimated" in (row.energy.reason or "")
    ratio = dataset.gb.relative_to(backend=A).sel(backend=B)
    assert ratio["energy_per_image_ratio"].isnull().all()
    assert "repetitions of a cell differ" in ratio["reason"].values.flat[0]
    (answer,) = answers(rows)
    assert answer.criterion == "throughput"
    assert "repetitions of a cell differ" in (answer.why_not_energy or "")
    for ask in (dataset.gb.best_batch, dataset.gb.pareto, lambda: dataset.gb.crossover(A, B)):
        with pytest.raises(UsageError, match="repetitions of a cell differ"):
            ask()


def test_cells_estimated_by_other_models_are_not_compared(tmp_path: Path) -> None:
    def figures(backend: str, block: int, energy_j: float) -> Sequence[EnergyFigure]:
        return [estimate(energy_j, TWO if backend == A else EIGHT)]

    dataset = dataset_of(tmp_path / "run", figures)
    for row in comparison_rows(cell_rows(dataset)):
        assert row.energy.interval is None
        assert f"{EIGHT} against {TWO}" in (row.energy.reason or "")
    with pytest.raises(UsageError, match=r"other models.*--cpu-tdp"):
        dataset.gb.best_batch()


def test_what_a_start_rests_on_is_compared_too(tmp_path: Path) -> None:
    # The windows are estimated and the starts counted, alike on both sides.
    def figures(backend: str, block: int, energy_j: float) -> Sequence[EnergyFigure]:
        return [runs.figure(energy_j, source=EnergySource.ESTIMATED)]

    dataset = dataset_of(tmp_path / "run", figures)
    for found in break_evens(start_ups(dataset)):
        assert found.energy.verdict == "unknown"
        assert found.energy.reason == "estimated against measured"
        assert "against" not in found.time.reason


def test_of_a_part_of_a_dataset_it_is_that_of_the_part(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "run", mixed).isel(repetition=0, batch_size=1)
    found = bases_of(dataset)
    assert found.codes.dims == tuple(
        dim for dim in dataset["energy_per_image_source"].dims if dim != "repetition"
    )
    assert {found.table[code] for code in found.codes.values.flat} == {Basis((cpu(), GPU))}


def test_without_domains_the_kind_of_the_sum_is_what_is_known(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "run", mixed).drop_vars("energy_source")
    with pytest.raises(UsageError, match="mixed against mixed"):
        dataset.gb.best_batch()
