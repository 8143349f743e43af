"""``gb eval`` measures accuracy that is known by construction."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from greenbatch.errors import MeasurementError, UsageError
from greenbatch.models import InputSpec
from greenbatch.models.artifacts import Artifact, load_artifact, sha256
from greenbatch.models.image_folder import find_labelled
from greenbatch.records import Manifest, TensorSpec, WeightsRecord
from greenbatch.runners import evaluation
from greenbatch.runners.evaluation import Progress, evaluate, rank_of, wilson
from tests.conftest import Gb

FORM = InputSpec(shape=(3, 8, 8), resize=8, crop=8)
COLOURS = ("red", "green", "blue")


def write_artifact(folder: Path, classes: int = 3, precision: str = "fp32") -> None:
    """Write a network whose logit k is the mean of colour k; classes beyond 3 put out -100."""
    folder.mkdir(exist_ok=True)
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["means"], keepdims=0),
        helper.make_node("Pad", ["means", "pads", "low"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
            helper.make_tensor("pads", TensorProto.INT64, [4], [0, 0, 0, classes - 3]),
            helper.make_tensor("low", TensorProto.FLOAT, [], [-100.0]),
        ],
    )
    path = folder / f"colours-{precision}.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, path)
    (folder / "colours.safetensors").write_bytes(b"")
    manifest = Manifest(
        model="colours",
        precision=precision,
        file=path.name,
        sha256=sha256(path),
        size_bytes=path.stat().st_size,
        opset=20,
        nodes=2,
        parameters=0,
        inputs=(TensorSpec(name="input", dtype="float32", dims=("batch", 3, 8, 8)),),
        outputs=(TensorSpec(name="logits", dtype="float32", dims=("batch", classes)),),
        weights=WeightsRecord(
            kind="random",
            detail="seed 0",
            file="colours.safetensors",
            sha256=sha256(folder / "colours.safetensors"),
        ),
        parity=(),
        recipe="",
        exported_at="",
        export_s=0,
        input=FORM,
    )
    path.with_suffix(".json").write_text(manifest.to_json())


def write_photograph(path: Path, colour: str) -> None:
    """Write a photograph that is mostly of one colour."""
    pixels = np.full((11, 13, 3), 40, np.uint8)
    pixels[..., COLOURS.index(colour)] = 200
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Thirty photographs in folders 0, 1, 2; three in folder 2 are green: 27 of 30 are right."""
    folder = tmp_path / "photographs"
    for index, colour in enumerate(COLOURS):
        for number in range(10):
            shown = "green" if colour == "blue" and number < 3 else colour
            write_photograph(folder / str(index) / f"{number}.png", shown)
    return folder


def run(artifacts: Path, data: Path, classes: int = 3, **options: Any) -> Any:
    """Evaluate the artifact in this process."""
    artifact = load_artifact(artifacts, "colours")
    return evaluate(artifact, find_labelled(data, classes), data.name, **options)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_accuracy_is_what_the_network_gets_right_by_construction(
    tmp_path: Path, data: Path, batch_size: int
) -> None:
    write_artifact(tmp_path / "artifacts")
    found = run(tmp_path / "artifacts", data, batch_size=batch_size)
    assert (found.images, found.broken) == (30, 0)
    assert found.top1.value == pytest.approx(27 / 30)
    assert found.top1.low < 0.9 < found.top1.high
    assert found.top5 is None  # of three classes the first five are always right


@pytest.mark.parametrize(("classes", "right"), [(5, 31), (6, 30)])
def test_top5_counts_a_right_class_among_the_first_five(
    tmp_path: Path, data: Path, classes: int, right: int
) -> None:
    """Class 3 comes after the colours, and after all that it ties with: fifth of 5, sixth of 6."""
    write_artifact(tmp_path / "artifacts", classes)
    write_photograph(data / "3" / "a.png", "red")
    found = run(tmp_path / "artifacts", data, classes)
    assert found.top1.value == pytest.approx(27 / 31)
    assert found.top5.value == pytest.approx(right / 31)


def test_a_tie_is_no_right_answer() -> None:
    logits = np.array([[1, 1, 0], [2, 1, 0], [0, 1, 2], [np.nan, 1, 2]], np.float32)
    assert rank_of(logits, np.array([0, 0, 0, 0])).tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("right", [0, 1, 37, 99, 100])
def test_the_interval_is_wilsons(right: int) -> None:
    from scipy.stats import binomtest

    wanted = binomtest(right, 100).proportion_ci(method="wilson")
    found = wilson(right, 100)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-7)
    assert found.value == right / 100


def test_broken_images_are_counted_and_named_and_in_no_rate(tmp_path: Path, data: Path) -> None:
    write_artifact(tmp_path / "artifacts")
    for number in range(3):  # the wrong ones
        (data / "2" / f"{number}.png").write_text("no image")
    found = run(tmp_path / "artifacts", data)
    assert (found.images, found.broken, found.top1.value) == (27, 3, 1.0)
    assert set(found.broken_files) == {str(data / "2" / f"{number}.png") for number in range(3)}


def test_a_limit_takes_the_same_choice_from_all_classes(tmp_path: Path, data: Path) -> None:
    write_artifact(tmp_path / "artifacts")
    stands: list[Progress] = []
    found = run(tmp_path / "artifacts", data, limit=12, batch_size=5, on_progress=stands.append)
    assert (found.images, found.limit) == (12, 12)
    assert [stand.done for stand in stands] == [5, 10, 12]
    assert stands[-1].left_s == 0
    assert found.top1 == run(tmp_path / "artifacts", data, limit=12, batch_size=12).top1
    for limit in (0, -3):
        with pytest.raises(UsageError, match=f"the limit is {limit}; wanted 1 or more"):
            run(tmp_path / "artifacts", data, limit=limit)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_int8_is_not_evaluated_where_the_processor_saturates(
    tmp_path: Path, data: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, opened = tmp_path / "artifacts", evaluation._open
    write_artifact(artifacts, precision=precision)

    def saturating(artifact: Artifact, provider: str, threads: int, **how: Any) -> Any:
        run = opened(artifact, provider, threads, **how)
        return run if how else lambda batch: np.maximum(run(batch), 0.0) ** 9

    monkeypatch.setattr(evaluation, "_open", saturating)
    artifact, photographs = load_artifact(artifacts, "colours", precision), find_labelled(data, 3)
    if precision == "fp32":  # of no other arithmetic than its own
        assert evaluate(artifact, photographs, "photographs").images == 30
        return
    with pytest.raises(MeasurementError, match=r"saturate in 16 bits.*gb export colours"):
        evaluate(artifact, photographs, "photographs")


def test_no_readable_image_is_an_error(tmp_path: Path, data: Path) -> None:
    write_artifact(tmp_path / "artifacts")
    for path in data.rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(MeasurementError, match="none of the 30 images in photographs can be read"):
        run(tmp_path / "artifacts", data)


@pytest.mark.slow
def test_the_command_measures_each_precision_and_keeps_the_record(
    tmp_path: Path, data: Path, gb: Gb
) -> None:
    folder = tmp_path / "artifacts"
    write_artifact(folder)
    write_artifact(folder, precision="int8")
    (data / "1" / "0.png").write_text("no image")
    ran = gb(
        *("eval", "colours", "--data", data, "--artifacts", folder, "--json"),
        *("--precision", "fp32", "--precision", "int8", "--batch-size", "4"),
    )
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [event["precision"] for event in events] == ["fp32", "int8"]
    for event in events:
        kept = json.loads(Path(event.pop("file")).read_text())
        assert kept == event
        assert kept["schema"] == 1
        assert kept["artifact_sha256"] == sha256(folder / f"colours-{kept['precision']}.onnx")
        assert kept["top1"]["value"] == pytest.approx(26 / 29)
        assert kept["mapping"] == "folders named by index"
    kept_files = sorted(path.name for path in (folder / "accuracy").iterdir())
    assert kept_files == ["colours-fp32.json", "colours-int8.json"]


@pytest.mark.slow
def test_the_command_says_it_in_a_line_and_names_what_was_left_out(
    tmp_path: Path, data: Path, gb: Gb
) -> None:
    write_artifact(tmp_path / "artifacts")
    (data / "1" / "0.png").write_text("no image")
    ran = gb("eval", "colours", "--data", data, "--artifacts", tmp_path / "artifacts")
    assert ran.stdout.startswith(
        "colours-fp32: top-1 89.66% (95 % interval 73.61% to 96.42%) over 29 images"
    )
    assert "1 image of" in ran.stderr
    assert str(data / "1" / "0.png") in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["--data", "nowhere"], "there is no folder nowhere; give a folder", 2),
        (["--data", "DATA", "--precision", "fp12"], "unknown precision 'fp12'", 2),
        (["--data", "DATA", "--precision", "fp16"], "make the artifact with", 2),
        (["--data", "DATA", "--batch-size", "0"], "the batch size is 0; wanted 1 or more", 2),
        (["--data", "DATA", "--provider", "npu"], "unknown provider 'npu'", 2),
    ],
)
def test_wrong_use_is_one_sentence(
    tmp_path: Path, data: Path, gb: Gb, arguments: list[str], says: str, code: int
) -> None:
    write_artifact(tmp_path / "artifacts")
    given = [str(data) if argument == "DATA" else argument for argument in arguments]
    ran = gb("eval", "colours", "--artifacts", tmp_path / "artifacts", *given, expect=code)
    assert ran.stderr.startswith("gb: ")
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "artifacts" / "accuracy").exists()
