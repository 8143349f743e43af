"""``gb export`` of one's own: what was rewritten is reported, what is unfit costs one sentence."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from greenbatch.cli import main
from greenbatch.cli.export import _is_there
from greenbatch.cli.output.export import print_export
from greenbatch.exporter.placement.check import Left
from greenbatch.records import Fidelity, TensorSpec
from tests.fakes import onnx_networks
from tests.unit.exporter.test_parallel import MANIFEST

Export = Callable[..., tuple[int, str, str]]
RESHAPED = "to = Constant<value_ints = [1, 48]>() flat = Reshape(image, to)"


@pytest.fixture
def export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Export:
    """``gb export ... --out out`` in this process: its exit code, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["export", *map(str, arguments), "--out", str(tmp_path / "out")])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return run


def net(folder: Path, body: str, batch: int | str = 1, weight: float | None = None) -> Path:
    """Write a network of images (batch, 3, 4, 4), the body of which makes ``flat`` of them."""
    text = f"""<ir_version: 9, opset_import: ["" : 17]>
    net (float[{batch},3,4,4] image) => (float[{batch},5] logits) {{
        {body} y = MatMul(flat, weight) logits = Softmax(y) }}"""
    model = parser.parse_model(text)
    random = np.random.default_rng(0).standard_normal((48, 5)).astype(np.float32)
    values = random if weight is None else np.full((48, 5), weight, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "weight"))
    path = folder / "net.onnx"
    onnx.save(model, path)
    return path


def test_what_was_rewritten_is_told_a_line_each(export: Export, tmp_path: Path) -> None:
    code, out, err = export(net(tmp_path, RESHAPED), "--dynamic-batch")
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == [
        "  240 parameters, 240 multiply-adds per image",
        "  input image: 1 x 3 x 4 x 4 becomes batch x 3 x 4 x 4",
        "  output logits: 1 x 5 becomes batch x 5",
        "  Reshape 'flat': sizes 1x48 become -1x48",
        f"measure: gb bench net --artifacts {tmp_path / 'out'}",
    ]


def test_a_terminal_shows_the_steps_and_a_pipe_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    for terminal in (True, False):
        screen = io.StringIO()
        monkeypatch.setattr(screen, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr(sys, "stderr", screen)
        with pytest.raises(SystemExit):
            main(
                ["export", str(net(tmp_path, RESHAPED)), "--dynamic-batch", "--out", str(tmp_path)]
            )
        shown.append(screen.getvalue())
    on_terminal, in_pipe = shown
    assert " proving net-fp32.onnx" in on_terminal
    assert not in_pipe


def test_what_was_understood_of_a_file_is_printed_with_the_command(
    export: Export, tmp_path: Path
) -> None:
    path = net(tmp_path, RESHAPED)
    code, out, err = export(path, "--describe")
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == [
        "  input image: float32 batch x 3 x 4 x 4 (batch x channels x height x width)",
        "  output logits: float32 1 x 5",
        "  the batch is fixed at 1; it is freed before it is measured",
        f"measure: gb bench {path}",
    ]
    assert not (tmp_path / "out").exists()


def test_several_sizes_are_several_artifacts(export: Export, tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17]>
    net (float[N,3,H,W] image) => (float[N,3,1,1] pooled) { pooled = GlobalAveragePool(image) }"""
    onnx.save(parser.parse_model(text), tmp_path / "net.onnx")
    sizes = ("--input", "3x4x4,3x6x6")
    code, out, err = export(tmp_path / "net.onnx", *sizes, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line)["model"] for line in out.splitlines()] == ["net_3x4x4", "net_3x6x6"]


def test_json_holds_what_was_rewritten(export: Export, tmp_path: Path) -> None:
    code, out, err = export(net(tmp_path, RESHAPED), "--dynamic-batch", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["rebatched"] == {
        "was": 1,
        "changes": ["Reshape 'flat': sizes 1x48 become -1x48"],
        "redrawn": 0,
    }


def test_weights_drawn_for_the_proof_are_told(export: Export, tmp_path: Path) -> None:
    path = net(tmp_path, RESHAPED, weight=0.5)  # all classes are equal, whatever the image
    code, out, _ = export(path, "--dynamic-batch")
    assert code == 0
    assert out.splitlines()[-2] == (
        "  proved with 1 of its constants redrawn at random, as with its own the output is the "
        "same for all images; the artifact holds its own"
    )
    _, out, _ = export(path, "--dynamic-batch", "--json")
    assert json.loads(out)["rebatched"]["redrawn"] == 1


def test_a_batch_that_is_free_already_is_told(export: Export, tmp_path: Path) -> None:
    code, out, _ = export(net(tmp_path, "flat = Flatten(image)", "N"), "--dynamic-batch")
    assert code == 0
    assert out.splitlines()[2:-1] == ["  its batch axis is free already, and nothing was rewritten"]


def test_many_changes_are_cut_for_a_person_and_whole_for_a_script(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenbatch.cli.output.export._MOST_CHANGES", 1)
    body = f"{RESHAPED.replace('flat', 'wide')} to4 = Constant<value_ints = [1, 3, 4, 4]>()"
    path = net(tmp_path, f"{body} image4 = Reshape(wide, to4) flat = Flatten(image4)")
    _, out, _ = export(path, "--dynamic-batch")
    assert out.splitlines()[4:-1] == [
        "  Reshape 'wide': sizes 1x48 become -1x48",
        "  and 1 more; --json lists them all",
    ]
    _, out, _ = export(path, "--dynamic-batch", "--json")
    assert len(json.loads(out)["rebatched"]["changes"]) == 2


def test_what_a_gpu_would_leave_to_the_cpu_is_a_note_of_its_own(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Left("cuda", "1.31.1", nodes=3, computing=["MatMul 'y': of a new type"], shape=[])
    monkeypatch.setattr("greenbatch.exporter.placement.check.check_placement", lambda _: (left,))
    path = net(tmp_path, RESHAPED)
    _, _, err = export(path, "--dynamic-batch")
    assert "MatMul 'y': of a new type" in err
    _, out, err = export(path, "--dynamic-batch", "--json")
    (sentence,) = json.loads(out)["gpu_notes"]
    assert "MatMul 'y': of a new type" in sentence
    assert sentence not in json.loads(out)["notes"]
    assert err == ""


def torn(path: Path) -> None:
    """Lose the second half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def outside(path: Path) -> None:
    """Let the weights be looked for in another folder."""
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    (place,) = [e for e in model.graph.initializer[0].external_data if e.key == "location"]
    place.value = "../w"
    path.write_bytes(model.SerializeToString())


def folder(path: Path) -> None:
    """Put a folder in the place of the file."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "options", "code", "said"),
    [
        (torn, (), 2, "its protobuf cannot be read"),
        (outside, (), 2, "which is outside its own folder"),
        (folder, (), 2, "is a folder; name a file in it"),
        (Path.unlink, (), 2, "there is no file"),
        (Path.is_file, (), 2, "fixes the batch at 1; free it with: gb export"),
        (Path.is_file, ("--dynamic-batch", "--input", "3x0x5"), 2, "the input '3x0x5'"),
        (Path.is_file, ("--dynamic-batch", "--input", "3x5x5"), 2, "--input 3x5x5"),
        (Path.is_file, ("--weights", "random"), 2, "holds its own weights"),
        (Path.is_file, ("--dynamic-batch", "--name", "alexnet"), 2, "is that of a torchvision"),
        (Path.is_file, ("--dynamic-batch", "resnet18"), 2, "for one network of your own"),
    ],
)
def test_a_file_that_cannot_be_used_costs_one_sentence_and_leaves_nothing(
    export: Export,
    tmp_path: Path,
    damage: Callable[[Path], object],
    options: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    path = net(tmp_path, RESHAPED)
    damage(path)
    got, out, err = export(path, *options)
    assert (got, out) == (code, "")
    assert said in err
    assert err.startswith("gb: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_costs_one_sentence(export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    code, out, err = export(net(tmp_path, "flat = Flatten(image)", "N"))
    assert (code, out) == (3, "")
    assert err.startswith(f"gb: cannot write artifacts into {tmp_path / 'out'}: ")
    assert err.count("\n") == 1
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.slow
def test_outputs_of_other_kinds_are_named_and_no_logits_are_spoken_of(
    export: Export, tmp_path: Path
) -> None:
    path = tmp_path / "segmentation.onnx"
    onnx.save(onnx_networks.segmentation(), path)
    code, out, _ = export(path, "--input", "3x16x16", "--precision", "fp16")
    assert code == 0
    assert "logit" not in out
    assert "top-1" not in out
    assert "  output out: float32 batch x 4 x 32 x 32" in out.splitlines()
    assert "  output classes: int64 batch x 32 x 32, positions" in out.splitlines()
    (lower,) = (line for line in out.splitlines() if "against fp32" in line)
    assert "cosine 1.00000 of out, " in lower
    assert "% of the positions or detections the same, over 64 images" in lower


@pytest.mark.slow
def test_an_artifact_of_ones_own_is_named_to_make_another_precision_of_it(
    export: Export, tmp_path: Path
) -> None:
    onnx.save(onnx_networks.segmentation(), tmp_path / "street.onnx")
    export(tmp_path / "street.onnx", "--input", "3x16x16")
    code, shown, _ = export("street", "--precision", "fp16")
    assert code == 0
    assert "street-fp32.onnx: up to date" in shown
    assert "street-fp16.onnx: exported in" in shown
    for option in (["--force"], ["--weights", "random"]):
        code, _, said = export("street", *option)
        assert code == 2
        assert "to make it again, give its source: gb export street.onnx --name street" in said
    assert export("road", "--precision", "fp16")[2].startswith("gb: unknown model 'road'")


def test_a_listed_model_is_never_taken_for_an_artifact_of_ones_own(tmp_path: Path) -> None:
    for name in ("alexnet", "street"):
        (tmp_path / f"{name}-fp32.json").touch()
    assert [_is_there(name, tmp_path) for name in ("alexnet", "street", "road", "a/b:c")] == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.slow
def test_nodes_that_are_kept_in_fp32_are_listed(export: Export, tmp_path: Path) -> None:
    path = tmp_path / "overflowing.onnx"
    onnx.save(onnx_networks.overflowing(), path)
    options = (path, "--input", "3x16x16", "--precision", "fp16")
    code, out, _ = export(*options)
    assert code == 0
    (kept,) = (line for line in out.splitlines() if "kept in fp32" in line)
    assert kept.startswith("  kept in fp32, as they lose too much in fp16: ")
    code, out, _ = export(*options, "--json")
    stated = json.loads(out.splitlines()[-1])
    assert all(name in kept for name in stated["kept_in_fp32"][:6])
    assert f"fp16: {len(stated['kept_in_fp32'])} nodes (" in kept
    assert stated["fidelity"]["output"] == "z"
    assert [output["name"] for output in stated["outputs"]] == ["z"]


def test_detections_have_a_share_that_agrees_and_no_largest_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    boxes = TensorSpec(name="boxes", dtype="float32", dims=("count", 4))
    labels = TensorSpec(name="labels", dtype="int64", dims=("count",))
    for outputs, said in (
        ((boxes, labels), "at least 95 % of its positions or detections agree, at batch 1"),
        (MANIFEST.outputs, "largest error 1.0e-06 of the largest value, at batch 1"),
    ):
        manifest = replace(MANIFEST, outputs=outputs)
        print_export(manifest, tmp_path, up_to_date=False, notes=(), as_json=False)
        assert said in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(("channels", "shown"), [(0.995, True), (1.0, False), (None, False)])
def test_channels_that_are_lost_are_shown(
    channels: float | None, shown: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = Fidelity(
        images=64, data="", max_abs=1, mean_abs=1, max_rel=1, cosine=0.9, channels=channels
    )
    manifest = replace(MANIFEST, precision="int8", fidelity=figures)
    print_export(manifest, tmp_path, up_to_date=False, notes=(), as_json=False)
    assert (", 99.5% of the channels not lost, " in capsys.readouterr().out) == shown


def test_what_could_not_be_counted_has_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for manifest, words in (
        (replace(MANIFEST, multiply_adds=2_000_000), "1 parameter, 2 M multiply-adds per image"),
        (
            replace(MANIFEST, not_counted="there is no rule for Odd"),
            "1 parameter; multiply-adds not counted: there is no rule for Odd",
        ),
        (MANIFEST, "the artifact was made before they were counted"),
    ):
        print_export(manifest, tmp_path, up_to_date=False, notes=(), as_json=False)
        assert words in capsys.readouterr().out
