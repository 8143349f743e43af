"""Real images become batches: which ones, in which order, before the window or in it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from greenbatch.design.files import read_study
from greenbatch.design.images import ImageSet
from greenbatch.design.study import make_study
from greenbatch.errors import RunError, StudyError, UnsupportedCell, UsageError
from greenbatch.exporter import Origin, export_module
from greenbatch.models import InputSpec, inputs
from greenbatch.models.agreement import difference
from greenbatch.models.artifacts import load_artifact
from greenbatch.models.image_files import decode
from greenbatch.models.image_folder import load_photograph
from greenbatch.models.weights.load import WeightsApplied
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.child import jobs
from greenbatch.runners.child.messages import Load
from greenbatch.runners.known import ThisMachine
from greenbatch.runners.scenarios import preprocessing
from greenbatch.runners.scenarios.batches import Batches
from greenbatch.runners.scenarios.preprocessing import Photograph, Preprocessor, survey
from greenbatch.testing.outputs import only_output
from tests.fakes import own_networks
from tests.fakes.networks import SPEC

FORM = InputSpec(shape=(3, 8, 8), resize=8, crop=8)
BACKENDS = ("onnxruntime-cpu", "torch-cpu", "openvino-cpu")
SOURCE = "tests.fakes.own_networks:build"


def draw(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (12, 17, 3), np.uint8), "RGB").save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images in two folders, a torn one, and a text with the name of an image."""
    path = tmp_path / "photos"
    for number in range(5):
        name = f"{number}.{'jpg' if number % 2 else 'png'}"
        draw(path / ("a" if number < 3 else "b") / name, number)
    whole = (path / "a/1.jpg").read_bytes()
    (path / "b/torn.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (path / "b/text.png").write_text("no image")
    (path / "notes.txt").write_text("not meant to be one")
    return path


def test_broken_images_are_named_with_the_reason_and_left_out(folder: Path) -> None:
    found = survey(folder)
    assert (found.found, found.count) == (7, 5)
    assert list(found.broken) == ["b/text.png", "b/torn.jpg"]
    assert found.broken["b/text.png"] == "it is not an image of a known format"
    assert "truncated" in found.broken["b/torn.jpg"].lower()
    names = [photograph.name for photograph in preprocessing.read(found)]
    assert names == ["a/0.png", "a/1.jpg", "a/2.png", "b/3.jpg", "b/4.png"]


def test_the_hash_is_that_of_names_and_contents(folder: Path) -> None:
    before = survey(folder)
    assert survey(folder) == before
    (folder / "a/0.png").rename(folder / "a/00.png")
    renamed = survey(folder)
    draw(folder / "a/00.png", 99)
    changed = survey(folder)
    assert len({before.sha256, renamed.sha256, changed.sha256}) == 3


@pytest.mark.parametrize("change", ["content", "added", "removed", "gone"])
def test_images_that_are_no_longer_the_same_are_refused(folder: Path, change: str) -> None:
    found = survey(folder)
    if change == "content":
        draw(folder / "a/0.png", 99)
    elif change == "added":
        draw(folder / "a/9.png", 9)
    elif change == "removed":
        (folder / "a/0.png").unlink()
    else:
        folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(RunError, match="are not the 5 that the study was made with"):
        preprocessing.read(found)


def test_a_folder_that_gives_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        survey(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no image is in"):
        survey(tmp_path)
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(UsageError, match=r"none of the 1 image .* can be read, the first \(a.png"):
        survey(tmp_path)


def test_a_folder_that_is_mostly_broken_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocessing, "_MOST_BROKEN", 1)
    with pytest.raises(UsageError, match=r"2 of the 7 images looked at in .* cannot be read"):
        survey(folder)


def test_generated_images_are_the_same_each_time_and_like_photographs_to_decode() -> None:
    found = survey(Path("generated:3"))
    assert (found.folder, found.found, found.count, found.broken) == ("generated:3", 3, 3, {})
    made = preprocessing.read(found)
    assert made == preprocessing.read(found)
    assert len({photograph.data for photograph in made}) == 3
    for name, data in made:
        pixels = decode(BytesIO(data), 3, name)
        assert pixels.size == (660, 495)
        assert 40_000 < len(data) < 80_000  # of the paper's three: 48, 59 and 79 kB
    batch = preprocessing.batch(made, FORM, 5)
    np.testing.assert_array_equal(batch[3:], batch[:2])


@pytest.mark.parametrize("text", ["generated:", "generated:0", "generated:257", "generated:a/b"])
def test_a_number_of_generated_images_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"a number from 1 to 256, e\.g\. generated:3"):
        survey(Path(text))


def test_generated_images_of_another_encoder_are_not_taken_for_those_of_the_study() -> None:
    other = survey(Path("generated:2")).model_copy(update={"sha256": "0" * 64})
    with pytest.raises(RunError, match="'images: generated:2' into the study file"):
        preprocessing.read(other)


def test_of_a_large_folder_images_are_chosen_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        draw(tmp_path / f"{number}.png", number)
    monkeypatch.setattr(preprocessing, "AT_MOST", 4)
    found = survey(tmp_path)
    assert (found.found, found.count) == (10, 4)
    assert [name for name, _ in preprocessing.read(found)] == ["0.png", "2.png", "5.png", "7.png"]


def test_a_batch_is_what_eval_would_make_of_the_files_in_the_seeds_order(folder: Path) -> None:
    used = preprocessing.read(survey(folder))
    order = preprocessing.in_order(used, seed=3)
    assert sorted(order) == sorted(used)
    assert order == preprocessing.in_order(used, seed=3)
    assert any(preprocessing.in_order(used, seed) != order for seed in range(3))
    batch = preprocessing.batch(order, FORM, 4)
    wanted = np.stack([load_photograph(folder / name, FORM) for name, _ in order[:4]])
    np.testing.assert_array_equal(batch, wanted)
    np.testing.assert_array_equal(preprocessing.batch(order, FORM, 2), batch[:2])


def test_too_few_images_are_repeated(folder: Path) -> None:
    order = preprocessing.read(survey(folder))
    batch = preprocessing.batch(order, FORM, 12)
    for row in range(12):
        np.testing.assert_array_equal(batch[row], batch[row % 5])
    assert not np.array_equal(batch[0], batch[1])


def test_an_input_that_no_photograph_can_become_is_refused(folder: Path) -> None:
    order = preprocessing.read(survey(folder))
    form = InputSpec(shape=(2, 8, 8), resize=8, crop=8, mean=(0, 0), std=(1, 1))
    for refused in (
        lambda: preprocessing.batch(order, form, 1),
        lambda: Preprocessor(order, form, 1),
    ):
        with pytest.raises(UsageError, match="a photograph has 1 or 3"):
            refused()


@dataclass
class Fixed:
    """Runs the batch it was loaded with; takes a second on the test's clock."""

    task: Any
    seen: list[np.ndarray] = field(default_factory=list)

    def run(self) -> None:
        """Nothing is computed."""


class Fed(Fixed):
    """Takes other images."""

    def feed(self, batch: np.ndarray) -> None:
        """Keep what came."""
        self.seen.append(batch.copy())


def ticking(step_s: float = 1.0) -> Callable[[], float]:
    def ticks() -> Iterator[float]:
        now_s = 0.0
        while True:
            yield now_s
            now_s += step_s

    return ticks().__next__


def order_of(folder: Path) -> list[Photograph]:
    return preprocessing.in_order(preprocessing.read(survey(folder)), seed=0)


def test_in_the_window_the_next_images_of_the_order_come_before_each_batch(folder: Path) -> None:
    order, backend = order_of(folder), Fed(None)
    ran: list[int] = []
    run = Preprocessor(order, FORM, 2).before(
        backend,  # type: ignore[arg-type]
        lambda: ran.append(len(backend.seen)),
        2,
    )
    for _ in range(3):
        run()
    assert ran == [1, 2, 3], "each batch was handed over before it was run"
    np.testing.assert_array_equal(
        np.concatenate(backend.seen),
        preprocessing.batch(order, FORM, 6),
        err_msg="five, then the first",
    )


def test_what_was_preprocessed_is_told_for_the_window_alone(folder: Path) -> None:
    # A batch of two reads the clock six times: at its begin, around each decoding, and at its end.
    preprocessor = Preprocessor(order_of(folder), FORM, 2, ticking())
    run = preprocessor.before(Fed(None), lambda: None, 2)  # type: ignore[arg-type]
    for _ in range(4):
        run()  # they begin at 0, 6, 12 and 18
    total = preprocessor.total(6.0, 18.0)
    assert total.images == 4
    assert total.decode_s == 2 * 2
    assert total.transform_s == 2 * (5 - 2)
    assert 0 < total.cpu_s <= total.process_cpu_s
    assert total.cpu_s < preprocessor.total(0.0, 24.0).cpu_s
    assert preprocessor.total(18.5, 30.0).images == 0


def test_a_backend_that_takes_no_other_images_is_refused(folder: Path) -> None:
    preprocessor = Preprocessor(order_of(folder), FORM, 2)
    with pytest.raises(
        UnsupportedCell, match=r"Fixed has no method 'feed'.*--preprocessing before"
    ):
        preprocessor.before(Fixed(None), lambda: None, 2)  # type: ignore[arg-type]


def test_a_servers_padded_batch_gets_its_images_and_the_padding(folder: Path) -> None:
    order = order_of(folder)
    task = backends.Task(
        Cell("tiny", "torch-cpu", batch_size=6),
        Path("a"),
        Path("w"),
        None,  # type: ignore[arg-type]
        1,
        np.zeros((6, *FORM.shape), np.float32),
    )
    largest = Fed(task)
    batches = Batches(largest, task, range(1, 7))  # type: ignore[arg-type]
    batches.preprocess(Preprocessor(order, FORM, 6))
    batches.run(5)
    (given,) = largest.seen
    assert len(given) == 6, "five are padded to the largest"
    np.testing.assert_array_equal(given[:5], preprocessing.batch(order, FORM, 5))
    batches.run(4)
    assert len(largest.seen) == 1, "four go to the batch of four"


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> backends.Task:
    """A small network of a user's own, loaded with three synthetic images."""
    folder = tmp_path_factory.mktemp("artifacts")
    module = own_networks.build()
    spec = replace(SPEC, name="small")
    export_module(module, spec, folder, Origin(WeightsApplied("own", SOURCE), "0" * 64))
    found = load_artifact(folder, "small", "fp32")
    return backends.Task(
        cell=Cell("small", "onnxruntime-cpu", batch_size=3),
        artifact=found.path,
        weights=found.weights_path,
        manifest=replace(found.manifest, source="python"),
        threads=1,
        images=inputs.synthetic_images(found.manifest.input, 3, seed=0),
        source=SOURCE,
    )


def logits_of(task: backends.Task, name: str, batch: np.ndarray) -> np.ndarray:
    backend = load(task, name, batch)
    backend.run()
    return only_output(backend)


def load(task: backends.Task, name: str, batch: np.ndarray, io: str = "host") -> backends.Backend:
    if name == "openvino-cpu":
        pytest.importorskip("openvino")
    cell = replace(task.cell, backend=name, batch_size=len(batch), io=io)
    return backends.resolve(backends.find(name))(replace(task, cell=cell, images=batch.copy()))


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_runs_the_images_that_it_is_fed(task: backends.Task, name: str) -> None:
    backend = load(task, name, task.images)
    backend.run()
    assert isinstance(backend, backends.Fed)
    others = inputs.synthetic_images(task.manifest.input, 3, seed=1)
    wanted = logits_of(task, "onnxruntime-cpu", others)
    assert difference(wanted, only_output(backend)).max_rel > 1e-2, "the images tell them apart"
    backend.feed(others)
    others[...] = 0  # they were copied
    backend.run()
    assert difference(wanted, only_output(backend)).max_rel < 1e-5
    backend.feed(task.images)
    backend.run()
    wanted = logits_of(task, "onnxruntime-cpu", task.images)
    assert difference(wanted, only_output(backend)).max_rel < 1e-5


@pytest.mark.parametrize("name", ["onnxruntime-cpu", "torch-cpu"])
@pytest.mark.parametrize("io", ["host", "device"])
def test_a_smaller_batch_of_a_server_runs_the_images_that_it_is_fed(
    task: backends.Task, name: str, io: str
) -> None:
    backend: Any = load(task, name, task.images, io)
    smaller = backend.resized(2)
    others = inputs.synthetic_images(task.manifest.input, 3, seed=1)
    backend.feed(others[:2])
    smaller()
    backend.run()  # the whole batch: two are new, the third is as it was
    wanted = np.concatenate([others[:2], task.images[2:]])
    assert (
        difference(logits_of(task, "onnxruntime-cpu", wanted), only_output(backend)).max_rel < 1e-5
    )


def test_a_job_reads_the_studys_images_or_synthetic_ones(folder: Path) -> None:
    study = make_study(MEMBERS | {"images": str(folder), "seed": 2}, known=ThisMachine())
    assert study.images
    load = Load(
        cell=Cell("alexnet", "torch-cpu", batch_size=4),
        artifact=folder,
        manifest=folder,
        weights=folder,
        source="",
        threads=1,
        seed=study.seed,
        images=study.images,
        preprocessing="before",
        allow_fallback=False,
        cache=None,
    )
    order = preprocessing.in_order(preprocessing.read(study.images), 2)
    np.testing.assert_array_equal(jobs._images(load, FORM, 4), preprocessing.batch(order, FORM, 4))
    synthetic = inputs.synthetic_images(FORM, 4, seed=2)
    for other in (replace(load, images=None), replace(load, preprocessing="pipeline")):
        np.testing.assert_array_equal(jobs._images(other, FORM, 4), synthetic)


MEMBERS: dict[str, Any] = {
    "models": ["alexnet"],
    "backends": ["torch-cpu"],
    "batch_sizes": [2],
}


def test_a_study_names_its_images_and_reads_back_as_it_was_written(
    folder: Path, tmp_path: Path
) -> None:
    study = make_study(
        MEMBERS | {"images": str(folder), "preprocessing": "pipeline"}, known=ThisMachine()
    )
    assert study.images == survey(folder)
    (tmp_path / "study.yaml").write_text(study.to_yaml())
    draw(folder / "a/0.png", 99)
    again = read_study(tmp_path / "study.yaml")
    assert again == study, "a study that was made is not surveyed again"


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"images": "nowhere"}, "images is 'nowhere': there is no folder nowhere"),
        ({"images": ""}, "wanted a folder of images"),
        ({"images": 5}, "images is 5: wanted a folder of images"),
        ({"images": {"folder": "x"}}, r"images\.found is missing"),
        ({"preprocessing": "pipeline"}, "preprocessing is pipeline, and there are no images"),
        ({"preprocessing": "later"}, "preprocessing is 'later'"),
    ],
)
def test_a_study_of_images_that_cannot_be_meant_is_refused(
    members: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(StudyError, match=sentence):
        make_study(MEMBERS | members, known=ThisMachine())


def test_an_image_in_memory_decodes_as_from_its_file(folder: Path) -> None:
    from greenbatch.models.image_files import decode
    from greenbatch.models.image_folder import transform

    path = folder / "b/3.jpg"
    room = np.zeros(FORM.shape, np.float32)
    assert transform(decode(BytesIO(path.read_bytes()), 3, "x"), FORM, room) is room
    np.testing.assert_array_equal(room, load_photograph(path, FORM))


def test_a_set_needs_at_least_one_image() -> None:
    with pytest.raises(ValueError, match="count"):
        ImageSet(folder="x", found=1, count=0, sha256="0")


def test_names_that_are_not_utf8_or_hold_line_breaks_are_used(tmp_path: Path) -> None:
    from greenbatch.design.images import ImageSet
    from greenbatch.runners.scenarios.preprocessing import read, survey

    for name in (b"th\xe9.png", b"\x8a\x47.png", b"two\nlines.png", "\u6a21.png".encode()):
        Image.new("RGB", (9, 8)).save(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/torn-\xff.jpg")).write_bytes(b"\xff\xd8\xff")
    found = survey(tmp_path)
    assert (found.count, list(found.broken)) == (4, ["torn-\\udcff.jpg"])
    kept = ImageSet.model_validate_json(found.model_dump_json())
    assert len(read(kept)) == 4
    odd = Path(os.fsdecode(os.fsencode(tmp_path.parent) + b"/od\xe9"))
    tmp_path.rename(odd)
    with pytest.raises(UsageError, match="is not UTF-8, and a study cannot hold it; rename it"):
        survey(odd)
