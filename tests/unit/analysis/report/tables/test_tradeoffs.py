"""What a report says of trade-offs: fronts, turning points, savings, footprints, years."""

from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.analysis import cell_rows, compile_dataset
from greenbatch.analysis.findings.answers import answers
from greenbatch.analysis.findings.comparisons import best_rows
from greenbatch.analysis.findings.timeline import (
    Timeline,
    fronts,
    growth_sentence,
    leaner_sentences,
    timeline,
    timeline_sentence,
)
from greenbatch.analysis.report.tables.tradeoffs import (
    Footprint,
    crossing_sentences,
    footprint_table,
    front_table,
    offline,
    pareto_statuses,
    turning_sentences,
    turning_table,
    turnings,
)
from greenbatch.analysis.tradeoffs.crossovers import crossover
from greenbatch.errors import UsageError
from greenbatch.records import Cell, EnergySource, Record, Repetition
from tests.fakes import runs


def known(cell: Cell, block: int, energy_j: float, latency_s: float) -> Repetition:
    """100 iterations with an energy per image and a latency that are known but for 0.1 %."""
    energy_j *= 1 + 0.001 * block
    figure = runs.figure(energy_j * 100 * cell.batch_size)
    return runs.repetition(cell, block, energy=[figure], latency_s=latency_s)


def run_of(path: Path, costs: dict[Cell, tuple[float, float]], blocks: int = 3) -> Path:
    """A run of cells with energy per image (J) and latency (s) as given."""
    records: list[Record] = [
        known(cell, block, *cost) for block in range(blocks) for cell, cost in costs.items()
    ]
    models = tuple(dict.fromkeys(cell.model for cell in costs))
    backends = tuple(dict.fromkeys(cell.backend for cell in costs))
    sizes = tuple(sorted({cell.batch_size for cell in costs}))
    return runs.write_run(path, records, runs.study(models, backends, sizes, blocks))


ONE, OTHER = "onnxruntime-cpu", "torch-cpu"
COSTS = {
    Cell("alexnet", ONE, batch_size=1): (1.0, 0.01),
    Cell("alexnet", ONE, batch_size=2): (0.8, 0.02),
    Cell("alexnet", ONE, batch_size=4): (0.79, 0.04),
    Cell("alexnet", OTHER, batch_size=1): (2.0, 0.02),
    Cell("alexnet", OTHER, batch_size=2): (1.0, 0.03),
    Cell("alexnet", OTHER, batch_size=4): (0.5, 0.05),
}


def test_the_front_holds_what_nothing_beats_and_is_listed_by_latency(tmp_path: Path) -> None:
    dataset = compile_dataset(run_of(tmp_path, COSTS))
    pareto_status, refused = pareto_statuses(offline(dataset))
    assert refused == []
    beaten = {cell for cell, place in pareto_status.items() if place == "dominated"}
    assert beaten == {Cell("alexnet", OTHER, batch_size=1), Cell("alexnet", OTHER, batch_size=2)}
    table = front_table(cell_rows(dataset), pareto_status)
    assert [(line[1], line[2]) for line in table.rows] == [
        (ONE, "1"),
        (ONE, "2"),
        (ONE, "4"),
        (OTHER, "4"),
    ]


def test_with_one_repetition_nothing_is_said_to_be_beaten(tmp_path: Path) -> None:
    pareto_status, _ = pareto_statuses(offline(compile_dataset(run_of(tmp_path, COSTS, blocks=1))))
    assert set(pareto_status.values()) == {"front", "unsure"}


def test_where_a_larger_batch_stops_paying_is_said_for_the_best_backend(tmp_path: Path) -> None:
    dataset = offline(compile_dataset(run_of(tmp_path, COSTS)))
    found = turnings(dataset)
    table = turning_table(found)
    assert "knee at batch" not in table.columns  # three batch sizes show none
    assert [line[:3] for line in table.rows] == [
        ("alexnet", ONE, "2 (2 … 2)"),
        ("alexnet", OTHER, "not up to 4 (beyond 4)"),
    ]
    (said,) = turning_sentences(answers(cell_rows(compile_dataset(tmp_path))), found)
    assert said.startswith("alexnet on torch-cpu does not saturate up to batch 4")
    (crossed,) = crossing_sentences(dataset, found)
    assert crossed.startswith("alexnet on torch-cpu overtakes alexnet on onnxruntime-cpu")


def test_the_crossings_of_a_report_are_one_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = COSTS | {
        replace(cell, backend="openvino-cpu"): cost
        for cell, cost in COSTS.items()
        if cell.backend == OTHER
    }
    dataset = offline(compile_dataset(run_of(tmp_path, costs)))
    crossed = replace(crossover(dataset, OTHER, ONE), sure=True, p=0.03)
    where = "greenbatch.analysis.report.tables.tradeoffs.crossover_of"
    monkeypatch.setattr(where, lambda *_: crossed)
    sentences = crossing_sentences(dataset, turnings(dataset))
    assert len(sentences) == 2
    for sentence in sentences:  # 0.03 is significant alone, and not as one of two
        assert sentence.startswith("Of the means, ")
        assert "corrected for 2 pairs of curves" in sentence


def test_one_batch_size_turns_nowhere(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",), batch_sizes=(4,))
    assert turnings(offline(compile_dataset(run))) == []


def test_an_estimate_beside_a_measurement_makes_no_front(tmp_path: Path) -> None:
    def estimated(record: Repetition) -> Repetition:
        if record.cell.batch_size != 4:
            return record
        figure = runs.figure(50.0, source=EnergySource.ESTIMATED)
        return replace(record, energy=(figure,))

    run = runs.realistic_run(tmp_path, models=("alexnet",), spoil=estimated)
    pareto_status, refused = pareto_statuses(offline(compile_dataset(run)))
    assert pareto_status == {}
    (said,) = refused
    assert said.startswith("No Pareto front of alexnet: its energies are estimated in part")


def test_a_saving_is_against_batch_one_of_the_same_backend(tmp_path: Path) -> None:
    (answer,) = answers(cell_rows(compile_dataset(run_of(tmp_path, COSTS))))
    assert answer.interval.startswith("95 %: ")
    assert answer.saving == "75 % (75 … 75 %) less than at batch 1"
    assert answer.certainty == "Next is onnxruntime-cpu at batch 4 with 58 % (58 … 58 %) more."


def test_with_one_repetition_the_answer_has_no_interval_and_says_so(tmp_path: Path) -> None:
    (answer,) = answers(cell_rows(compile_dataset(run_of(tmp_path, COSTS, blocks=1))))
    assert answer.interval == "one repetition: no interval"
    assert answer.saving == "75 % less than at batch 1"
    assert "too few to be sure" in answer.certainty


def test_a_saving_within_the_spread_is_not_claimed(tmp_path: Path) -> None:
    cell = Cell("alexnet", ONE)
    factors = (0.7, 1.3, 0.98)
    records: list[Record] = []
    for block, factor in enumerate(factors):
        records.append(known(cell, block, 1.0, 0.01))
        records.append(known(replace(cell, batch_size=4), block, factor, 0.03))
    run = runs.write_run(tmp_path, records, runs.study(("alexnet",), (ONE,), (1, 4)))
    (answer,) = answers(cell_rows(compile_dataset(run)))
    assert answer.best == replace(cell, batch_size=4)
    assert answer.saving.startswith("no significant difference from batch 1: ")


def test_a_million_images_cost_what_their_energy_costs(tmp_path: Path) -> None:
    dataset = compile_dataset(run_of(tmp_path, COSTS, blocks=1))
    best = best_rows(cell_rows(dataset))
    asked = Footprint(carbon_intensity=360.0, price=0.36, currency="EUR")
    table, said = footprint_table(offline(dataset), best, asked)
    assert table.columns == ("model", "backend", "batch", "CO₂e", "electricity, EUR")
    # 0.79 J and 0.5 J an image: 790 and 500 kJ, or 0.219 and 0.139 kWh, a million.
    assert [line[3:] for line in table.rows] == [
        ("79 g (no interval: 1 repetition)", "0.079 (no interval: 1 repetition)"),
        ("50 g (no interval: 1 repetition)", "0.05 (no interval: 1 repetition)"),
    ]
    assert said.startswith("At 360 g CO₂e per kWh and 0.36 EUR per kWh, taken as exact")


def test_a_price_alone_says_nothing_of_carbon(tmp_path: Path) -> None:
    dataset = compile_dataset(run_of(tmp_path, COSTS))
    table, said = footprint_table(
        offline(dataset), best_rows(cell_rows(dataset)), Footprint(price=0.3)
    )
    assert table.columns == ("model", "backend", "batch", "electricity")
    assert "CO₂e" not in said
    with pytest.raises(UsageError, match="price"):
        footprint_table(offline(dataset), [], Footprint(price=-1.0))


def test_networks_stand_by_year_and_the_front_of_their_time(tmp_path: Path) -> None:
    costs = {
        Cell("alexnet", ONE): (1.0, 0.01),  # 2012, 56.5 %
        Cell("alexnet", ONE, batch_size=2): (0.5, 0.02),
        Cell("densenet121", ONE): (2.0, 0.01),  # 2017, 74.4 %
        Cell("shufflenet_v2_x0_5", ONE): (0.6, 0.01),  # 2018, 60.6 %
        Cell("convnext_base", ONE): (1.5, 0.01),  # 2022, 84.1 %: less than densenet121
        Cell("vit_b_16", ONE): (9.0, 0.01),  # 2020, 81.1 %
    }
    dataset = compile_dataset(run_of(tmp_path, costs))
    found = timeline(dataset, cell_rows(dataset))
    networks, said = found.networks, found.left_out
    assert [network.year for network in networks] == [2012, 2017, 2018, 2020, 2022]
    assert networks[0].cell.batch_size == 2
    assert all(network.front for network in networks)
    assert [(year, [n.model for n in front]) for year, front in fronts(networks)] == [
        (2012, ["alexnet"]),
        (2017, ["alexnet", "densenet121"]),
        (2018, ["alexnet", "shufflenet_v2_x0_5", "densenet121"]),
        (2020, ["alexnet", "shufflenet_v2_x0_5", "densenet121", "vit_b_16"]),
        (2022, ["alexnet", "shufflenet_v2_x0_5", "convnext_base"]),
    ]
    assert "On the Pareto front of all: alexnet, shufflenet_v2_x0_5, convnext_base." in (
        timeline_sentence(found)
    )
    assert said.startswith("Ran with random weights, and are shown at the accuracy published")
    assert growth_sentence(networks) == (
        "From alexnet (2012) to convnext_base (2022), energy per image changed by a factor of 3 "
        "(3 … 3) and top-1 accuracy by +27.5 percentage points."
    )
    assert leaner_sentences(networks) == []  # none needs less than alexnet


def test_a_network_that_was_beaten_when_it_came_is_not_on_the_front(tmp_path: Path) -> None:
    costs = {Cell("densenet121", ONE): (1.0, 0.01), Cell("shufflenet_v2_x0_5", ONE): (2.0, 0.01)}
    dataset = compile_dataset(run_of(tmp_path, costs))
    networks = timeline(dataset, cell_rows(dataset)).networks
    assert {network.model: network.front for network in networks} == {
        "densenet121": True,
        "shufflenet_v2_x0_5": False,
    }


def test_a_network_that_needs_less_than_all_before_it_is_named(tmp_path: Path) -> None:
    costs = {
        Cell("alexnet", ONE): (1.0, 0.01),
        Cell("densenet121", ONE): (4.0, 0.01),
        Cell("shufflenet_v2_x0_5", ONE): (0.14, 0.01),
        Cell("vit_b_16", ONE): (0.1399, 0.01),  # within the noise of the one before
    }
    dataset = compile_dataset(run_of(tmp_path, costs))
    networks = timeline(dataset, cell_rows(dataset)).networks
    noisy = replace(networks[-1], by_block={0: 0.1, 1: 0.2, 2: 0.13})
    (sentence,) = leaner_sentences([*networks[:-1], noisy])
    assert sentence == (
        "shufflenet_v2_x0_5 (2018) needs 0.14 (0.14 … 0.14) times the energy per image of alexnet "
        "(2012), the least of all networks before it, with 4.0 percentage points more top-1 "
        "accuracy."
    )


def test_a_network_that_needs_less_and_is_less_accurate_is_not_named(tmp_path: Path) -> None:
    costs = {Cell("densenet121", ONE): (1.0, 0.01), Cell("shufflenet_v2_x0_5", ONE): (0.1, 0.01)}
    dataset = compile_dataset(run_of(tmp_path, costs))
    networks = timeline(dataset, cell_rows(dataset)).networks
    assert leaner_sentences(networks) == []


def test_one_network_makes_no_timeline(tmp_path: Path) -> None:
    dataset = compile_dataset(run_of(tmp_path, COSTS))
    assert timeline(dataset, cell_rows(dataset)) == Timeline()
