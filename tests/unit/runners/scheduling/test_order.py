"""The order of a run: shuffled in blocks or a Latin square, the same for a seed, and resumable."""

from collections import Counter
from itertools import groupby, islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.records import Cell
from greenbatch.runners.scheduling.order import orders, slots, square_row, together

CELLS = [
    Cell(model, backend, batch_size=size)
    for model in ("alexnet", "vit_b_16")
    for backend in ("onnxruntime-cpu", "torch-cpu")
    for size in (1, 4, 16)
]


@given(st.integers(0, 50), st.integers(1, 4))
def test_every_cell_is_measured_once_in_each_block(seed: int, repetitions: int) -> None:
    for block, group in groupby(slots(CELLS, repetitions, seed), key=lambda slot: slot.block):
        members = list(group)
        assert sorted(slot.cell for slot in members) == sorted(CELLS)
        assert [slot.position for slot in members] == list(range(len(CELLS)))
        assert block < repetitions


def test_the_order_depends_on_the_seed_and_not_on_how_the_cells_are_listed() -> None:
    assert slots(CELLS, 3, 1) == slots(CELLS[::-1], 3, 1)
    assert slots(CELLS, 3, 1) != slots(CELLS, 3, 2)
    first, second = (
        [slot.cell for slot in slots(CELLS, 2, 0) if slot.block == block] for block in (0, 1)
    )
    assert first != second


@given(st.integers(0, 30), st.data())
def test_a_resumed_run_goes_on_in_the_same_order_and_repeats_nothing(
    seed: int, data: st.DataObject
) -> None:
    whole = slots(CELLS, 2, seed)
    count = data.draw(st.integers(0, len(whole)))
    finished = {(slot.cell, slot.block) for slot in whole[:count]}
    left = slots(CELLS, 2, seed, finished)
    assert [(s.cell, s.block, s.position) for s in left] == [
        (s.cell, s.block, s.position) for s in whole[count:]
    ]


@given(st.integers(0, 30), st.integers(0, 20))
def test_idle_is_taken_before_and_after_each_block_once_for_each_backend(
    seed: int, done: int
) -> None:
    finished = {(slot.cell, slot.block) for slot in slots(CELLS, 2, seed)[:done]}
    left = slots(CELLS, 2, seed, finished)
    for block in {slot.block for slot in left}:
        members = [slot for slot in left if slot.block == block]
        for backend in {slot.cell.backend for slot in members}:
            of_backend = [slot for slot in members if slot.cell.backend == backend]
            assert [slot.idle_before for slot in of_backend] == [True] + [False] * (
                len(of_backend) - 1
            )
            assert [slot.idle_after for slot in of_backend] == [False] * (len(of_backend) - 1) + [
                True
            ]


@given(st.integers(1, 25))
def test_in_a_latin_square_each_cell_takes_each_place_equally_often(size: int) -> None:
    blocks = size * (1 + size % 2)
    rows = [square_row(size, block) for block in range(blocks)]
    places = Counter((number, place) for row in rows for place, number in enumerate(row))
    assert set(places.values()) == {blocks // size}
    assert len(places) == size * size


@given(st.integers(2, 25))
def test_in_a_williams_square_each_cell_follows_each_other_equally_often(size: int) -> None:
    blocks = size * (1 + size % 2)
    follows = Counter(pair for block in range(blocks) for pair in pairwise(square_row(size, block)))
    assert len(follows) == size * (size - 1)
    assert len(set(follows.values())) == 1


@pytest.mark.parametrize("size", [12, 45, 60])
def test_three_blocks_of_a_square_already_spread_each_cell_over_the_places(size: int) -> None:
    places: dict[int, list[int]] = {number: [] for number in range(size)}
    for block in range(3):
        for place, number in enumerate(square_row(size, block)):
            places[number].append(place)
    means = [sum(taken) / 3 for taken in places.values()]
    # Of cells shuffled independently one in 14 is further from the middle than 0.3 of the block.
    assert max(abs(mean - (size - 1) / 2) for mean in means) <= 0.3 * size
    assert all(max(taken) - min(taken) >= size / 4 for taken in places.values())


def test_which_cell_has_which_place_in_a_square_depends_on_the_seed_alone() -> None:
    first, again, other = (
        list(islice(orders(cells, seed, "latin-square"), 5))
        for cells, seed in ((CELLS, 1), (CELLS[::-1], 1), (CELLS, 2))
    )
    assert first == again
    assert first != other
    assert all(sorted(block) == sorted(CELLS) for block in first)


@given(st.integers(0, 50))
def test_in_sessions_the_batch_sizes_of_a_network_follow_each_other(seed: int) -> None:
    found = slots(CELLS, 2, seed, in_sessions=True)
    assert Counter(slot.cell for slot in found) == dict.fromkeys(CELLS, 2)
    for block in (0, 1):
        order = [slot.cell for slot in found if slot.block == block]
        networks = [key for key, _ in groupby(order, key=lambda cell: (cell.model, cell.backend))]
        assert len(networks) == 4
    assert [slot.position for slot in found] == [*range(len(CELLS))] * 2


def test_networks_and_their_batch_sizes_stay_in_the_order_in_which_they_came() -> None:
    a, b = (
        [cell for cell in CELLS if cell.model == model][:3] for model in ("alexnet", "vit_b_16")
    )
    assert together([a[1], b[2], a[0], b[0], a[2]]) == [a[1], a[0], a[2], b[2], b[0]]


def test_in_sessions_each_batch_size_takes_each_place_of_its_network_alike() -> None:
    firsts: Counter[int] = Counter()
    for slot in slots(CELLS, 300, 0, in_sessions=True):
        if slot.position % 3 == 0:
            firsts[slot.cell.batch_size] += 1
    assert all(340 < count < 460 for count in firsts.values()), firsts
