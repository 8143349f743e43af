"""What every backend must do; a check's docstring is the reason it is there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from greenbatch.errors import ArtifactError, ExportError, StudyError, UnsupportedCell
from greenbatch.models import agreement
from greenbatch.records import FACTORS
from greenbatch.runners import backends
from greenbatch.runners.backends import spec as spec_module
from greenbatch.runners.doctor.backends import look
from greenbatch.runners.scenarios.batches import Resizable
from greenbatch.testing.conftest import Load, MakeTask
from greenbatch.testing.outputs import only_output

BATCH_SIZES = (1, 3, 8)
LOWER_PRECISIONS = ("fp16", "bf16", "int8")
BY_THE_CHILD = {"affinity", "transfers"}
VALUES = {"count": "1", "flag": "1", "text": "anything"}

BackendClass = type[backends.Backend]
Reference = Callable[[int], np.ndarray]


def test_its_packages_can_be_imported(backend_class: BackendClass) -> None:
    """They are imported before the load is timed, by these names."""
    assert isinstance(backend_class.packages, tuple)
    for package in backend_class.packages:
        import_module(package)


def test_its_options_take_their_own_values(
    spec: spec_module.BackendSpec, backend_class: BackendClass
) -> None:
    """What ``--set`` may ask for is checked by them before anything is measured."""
    for name, option in backend_class.options.items():
        text = option.choices[0] if option.kind == "choice" else VALUES[option.kind]
        full = f"{name}x" if name.endswith(".") else name
        assert full in backends.parse_settings(spec.name, backend_class.options, {full: text})
        assert option.meaning


def test_a_setting_that_it_does_not_have_is_refused(
    spec: spec_module.BackendSpec, backend_class: BackendClass
) -> None:
    """A setting that is taken and ignored would be compared as if it were effective."""
    with pytest.raises(StudyError, match="has no setting"):
        backends.parse_settings(spec.name, backend_class.options, {"no_such_setting": "1"})


def test_this_machine_can_run_it(
    spec: spec_module.BackendSpec, backend_class: BackendClass
) -> None:
    """The suite checks nothing where the backend cannot run."""
    assert backend_class.unavailable(spec.provider) is None


def test_its_trial_runs(spec: spec_module.BackendSpec, backend_class: BackendClass) -> None:
    """``gb doctor`` uses it to report whether the backend works."""
    check_placement(backend_class.trial(spec.provider))


def test_its_trial_runs_in_a_process_of_its_own(spec: spec_module.BackendSpec) -> None:
    """It is measured in a child process, which must find it by its entry point."""
    state = look(spec.name)
    assert state.usable, state.reason
    check_placement(state.placement)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_its_logits_agree_with_onnx_runtime(
    load: Load, reference: Reference, batch_size: int
) -> None:
    """What computes something else is not timed."""
    got, wanted = only_output(load(batch_size)), reference(batch_size)
    assert got.shape == wanted.shape
    assert got.dtype.kind == "f"
    assert agreement.fault(agreement.difference(wanted, got), "fp32") is None


def test_outputs_is_a_copy(load: Load) -> None:
    """The reference holds on to them while the backend goes on running."""
    backend = load(3)
    first = only_output(backend)
    kept = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(only_output(backend), kept)


def test_running_again_gives_the_same(load: Load) -> None:
    """A window runs the batch thousands of times: nothing may be carried over."""
    backend = load(3)
    first = only_output(backend)
    for _ in range(3):
        backend.run()
    assert agreement.difference(first, only_output(backend)).max_rel < 1e-5


def test_the_batch_is_left_as_it_was(backend_class: BackendClass, make_task: MakeTask) -> None:
    """The images are the caller's."""
    task = make_task(3)
    before = task.images.copy()
    backend_class(task).run()
    np.testing.assert_array_equal(task.images, before)


def test_it_says_where_it_runs(load: Load) -> None:
    """Proof of execution: nodes by provider, or results by device."""
    backend = load(3)
    check_placement(backend.placement)
    assert backend.fell_back is False, "a fallback was not allowed, and must be an error"


def test_with_a_fallback_allowed_it_says_whether_it_fell_back(
    backend_class: BackendClass, make_task: MakeTask
) -> None:
    """The repetition is flagged by it."""
    backend = backend_class(make_task(3, allow_fallback=True))
    backend.run()
    assert isinstance(backend.fell_back, bool)


def test_it_tells_what_is_in_force(load: Load) -> None:
    """The report names by it what keeps two backends from being compared."""
    settings = load(3).settings
    assert FACTORS.keys() - settings.keys() == BY_THE_CHILD, "and the child reports the others"
    assert json.loads(json.dumps(dict(settings))) == dict(settings)
    assert all(isinstance(value, str | int | float | None) for value in settings.values())


def test_what_is_in_force_does_not_change_while_it_runs(load: Load) -> None:
    """A window in which it changed stands for neither."""
    backend = load(3)
    before = dict(backend.settings)
    backend.run()
    assert dict(backend.settings) == before


@pytest.mark.parametrize("precision", LOWER_PRECISIONS)
def test_a_lower_precision_is_kept_or_refused(
    backend_class: BackendClass,
    make_task: MakeTask,
    load: Load,
    reference: Reference,
    precision: str,
) -> None:
    """A cell is called by its precision: computing another in its name would be a lie."""
    try:
        task = make_task(3, precision)
    except (ArtifactError, ExportError) as error:
        pytest.skip(f"no artifact to try it on: {error}")
    try:
        backend = backend_class(task)
    except UnsupportedCell as refused:
        if precision not in str(refused):
            pytest.fail(f"its refusal does not name the precision: {refused}")
        return
    backend.run()
    got = only_output(backend)
    assert agreement.fault(agreement.difference(reference(3), got), precision) is None
    assert (got != only_output(load(3))).any(), "its logits are those of its fp32 to the last bit"


def test_a_cache_changes_nothing_but_the_time(
    backend_class: BackendClass, make_task: MakeTask, tmp_path: Path
) -> None:
    """Later repetitions load what the first one compiled."""
    logits = []
    for _ in ("cold", "warm"):
        backend = backend_class(make_task(1, cache=tmp_path))
        backend.run()
        logits.append(only_output(backend))
    assert agreement.difference(*logits).max_rel < 1e-5


def test_other_images_give_their_own_logits(
    backend_class: BackendClass, make_task: MakeTask, reference: Reference
) -> None:
    """With ``--images`` every batch brings new ones; a feed that does nothing would be fast."""
    task = make_task(3)
    backend = backend_class(replace(task, images=task.images[::-1].copy()))
    if not isinstance(backend, backends.Fed):
        pytest.skip("it takes no other images than those it was loaded with")
    backend.run()
    images = task.images.copy()
    backend.feed(images)
    images[...] = 0  # it copied them
    backend.run()
    assert agreement.fault(agreement.difference(reference(3), only_output(backend)), "fp32") is None


def test_a_smaller_batch_between_leaves_the_larger_as_it_is(
    backend_class: BackendClass, make_task: MakeTask, reference: Reference
) -> None:
    """A server forms batches of several sizes in turn, on one network."""
    backend = backend_class(make_task(3))
    if not isinstance(backend, Resizable):
        pytest.skip("it is loaded for each size, and batches are padded to the next of them")
    one, two = backend.resized(1), backend.resized(2)
    for run in (backend.run, one, two, one, backend.run):
        run()
    assert agreement.fault(agreement.difference(reference(3), only_output(backend)), "fp32") is None


def test_going_on_with_another_batch_is_as_loading_for_it(
    load: Load, backend_class: BackendClass, make_task: MakeTask
) -> None:
    """With ``--isolation session`` the batch sizes of a network share what is loaded."""
    backend = backend_class(make_task(3))
    if not isinstance(backend, backends.Rebatchable) or not backend.is_rebatchable:
        pytest.skip("it is loaded for each batch size")
    backend.run()
    for size in (8, 1, 3):
        backend.rebatch(make_task(size))
        backend.run()
        alone = load(size)
        got, wanted = only_output(backend), only_output(alone)
        assert got.shape == wanted.shape
        assert agreement.difference(wanted, got).max_rel < 1e-5
        assert dict(backend.settings) == dict(alone.settings)
        assert backend.placement == alone.placement


def check_placement(placement: Mapping[str, int]) -> None:
    """Nodes or tensors by where they are, at least one."""
    assert placement
    assert all(isinstance(place, str) and place for place in placement)
    assert all(isinstance(count, int) and count > 0 for count in placement.values())
