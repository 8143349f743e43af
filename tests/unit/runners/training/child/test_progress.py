"""When a training ends, reduces its learning rate, and goes from its first stage to the second."""

from dataclasses import replace
from itertools import pairwise

from greenbatch.runners.training.child.progress import Progress
from greenbatch.runners.training.messages import Course

COURSE = Course(
    epochs=150,
    patience=0,
    monitor="accuracy",
    min_change=0.001,
    plateau_factor=0.1,
    plateau_patience=0,
    frozen_epochs=0,
    frozen_settings=(),
    frozen_batch_norm=False,
)


def passed(course: Course, accuracies: list[float]) -> list[Progress]:
    """Return where a training stands behind each of these epochs, until it ends."""
    standings = [Progress.at_begin(course)]
    for accuracy in accuracies:
        standings.append(standings[-1].after(course, 1 - accuracy, accuracy))
        if standings[-1].ended(course):
            break
    return standings[1:]


def test_better_is_by_more_than_the_least_change_over_the_best() -> None:
    waited = [each.waited for each in passed(COURSE, [0.5, 0.5009, 0.5009, 0.502, 0.4, 0.5025])]
    assert waited == [0, 1, 2, 0, 1, 2]


def test_the_loss_is_better_when_it_is_lower() -> None:
    course = replace(COURSE, monitor="loss", min_change=0.0)
    first = Progress().after(course, 0.8, 0.5)
    assert first.after(course, 0.7, 0.1).waited == 0
    assert first.after(course, 0.8, 0.9).waited == 1


def test_it_ends_after_so_many_epochs_without_a_better_one() -> None:
    ends = passed(replace(COURSE, patience=3), [0.5, 0.6, *([0.6] * 50)])
    assert len(ends) == 5


def test_the_rate_is_reduced_after_every_so_many_epochs_without_a_better_one() -> None:
    course = replace(COURSE, plateau_patience=2)
    accuracies = [0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.7, 0.7, 0.7]
    assert [each.reductions for each in passed(course, accuracies)] == [
        *(0, 0, 1, 1, 2),  # the second reduction waits as long as the first
        *(2, 2, 2, 2, 3),
    ]


def test_the_second_stage_begins_after_its_epochs_and_waits_anew() -> None:
    course = replace(COURSE, frozen_epochs=3, patience=20, plateau_patience=10)
    stands = passed(course, [0.9, 0.5, 0.5, 0.4])
    assert [each.frozen for each in stands] == [True, True, False, False]
    assert [each.waited for each in stands] == [0, 1, 0, 0]
    assert [each.epochs for each in stands] == [1, 2, 3, 4]


def test_a_first_stage_that_does_not_get_better_gives_way_to_the_second() -> None:
    course = replace(COURSE, frozen_epochs=10, patience=2)
    stands = passed(course, [0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5])
    changes = [number for number, (a, b) in enumerate(pairwise(stands), 2) if a.frozen > b.frozen]
    assert changes == [3]
    assert len(stands) == 6  # 0.5 is the best of the second stage


def test_a_checkpoint_holds_all_of_it_and_an_older_one_its_lowest_loss() -> None:
    stand = passed(replace(COURSE, plateau_patience=1), [0.5, 0.5])[-1]
    assert Progress.of(stand.members()) == stand
    older = {"epochs": 3, "best_loss": 0.25, "waited": 1}
    assert Progress.of(older) == Progress(epochs=3, best=-0.25, waited=1)  # type: ignore[arg-type]
