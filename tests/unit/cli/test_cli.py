"""The command: one sentence and the right exit code for wrong use."""

from pathlib import Path

import pytest

from greenbatch.cli import main
from greenbatch.cli.options import parse_batch_sizes
from tests.fakes.command import gb

NO_THREADS = (
    "is not a whole number of 1 or more; write --threads 4, or --threads 1,2 to measure both\n"
)
NO_BATCH_SIZE = (
    "is not a whole number of 1 or more; write --batch-sizes 1,8,32 or 1..128 for the powers of "
    "two between\n"
)

TWICE = (
    "was given 2 times; give it once, and if it takes several values, with commas between them\n"
)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("1,8", [1, 8]), ("1..128", [1, 2, 4, 8, 16, 32, 64, 128]), ("3..13, 64", [3, 6, 12, 64])],
)
def test_batch_sizes_are_lists_and_ranges(text: str, sizes: list[int]) -> None:
    assert parse_batch_sizes(text) == sizes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bench", "alexnt"], "gb: unknown model 'alexnt'; did you mean 'alexnet'?\n"),
        (["bench", "--batch-sizes", "0"], f"gb: batch size '0' {NO_BATCH_SIZE}"),
        (["bench", "--batch-sizes", "1,-4"], f"gb: batch size '-4' (in '1,-4') {NO_BATCH_SIZE}"),
        (["bench", "--batch-sizes", "many"], f"gb: batch size 'many' {NO_BATCH_SIZE}"),
        (["bench", "--threads", "1,0"], f"gb: threads '0' {NO_THREADS}"),
        (["bench", "--threads", "all"], f"gb: threads 'all' {NO_THREADS}"),
        (["bench", "--rate", "50", "--rate", "200"], f"gb: --rate {TWICE}"),
        (["study", "run", "delrey", "--scale", "1", "--scale", "1"], f"gb: --scale {TWICE}"),
        (["bench", "--provider", "cdua"], "gb: unknown provider 'cdua'; did you mean 'cuda'?\n"),
        (
            ["bench", "--provider", "cpu", "--runtime", "tensorflow"],
            (
                "gb: unknown runtime 'tensorflow'; choose one of onnxruntime, torch, "
                "torch-compile, torch-aot, openvino\n"
            ),
        ),
        (
            ["bench", "--provider", "cpu", "--repetitions", "0"],
            "gb: the options: repetitions is 0: input should be greater than or equal to 1\n",
        ),
        (
            ["bench", "--full", "--budget", "5m"],
            "gb: --full measures the whole design; remove it, or --budget\n",
        ),
        (["report", "nowhere"], None),
        (["bench", "--resume", "nowhere"], None),
        (["bench", "--study", "nowhere.yaml"], None),
        (["bench", "--resume", "x", "--repetitions", "3"], None),
        (["bench", "--colour"], None),
        (["bnech"], None),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, errors = gb(capsys, *arguments)
    assert (code, out) == (2, "")
    assert errors.startswith("gb: ")
    assert errors.count("\n") == 1
    assert sentence is None or errors == sentence
    assert not list(tmp_path.iterdir())


def test_an_unreadable_study_file_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("models: [alexnet\nbatch_sizes: 1")
    code, _, errors = gb(capsys, "bench", "--study", path)
    assert code == 2
    assert errors.startswith(f"gb: the study file {path} is not YAML in line 2: ")


@pytest.mark.slow
def test_cuda_without_a_gpu_is_refused_with_cause_and_cure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from greenbatch.runners.backends import cuda_driver

    if cuda_driver.unavailable() is None:
        pytest.skip("this machine has a CUDA device")
    monkeypatch.chdir(tmp_path)
    code, _, errors = gb(capsys, "bench", "--provider", "cuda")
    assert code == 3
    assert "onnxruntime-cuda cannot run on this machine: the NVIDIA driver's library" in errors
    assert "choose --provider cpu" in errors
    assert not list(tmp_path.iterdir())


def test_models_lists_the_five_study_models(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    code, out, _ = gb(capsys, "models", "--study", "--json")
    assert code == 0
    assert [model["name"] for model in json.loads(out)] == [
        "alexnet",
        "densenet121",
        "shufflenet_v2_x0_5",
        "vit_b_16",
        "convnext_base",
    ]


def test_a_file_that_ended_early_is_not_called_an_interruption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ends_early() -> None:
        raise EOFError("marshal data too short")

    monkeypatch.setattr("greenbatch.cli.models.models", ends_early)
    with pytest.raises(RuntimeError, match="ended early") as raised:
        main(["models"])
    assert isinstance(raised.value.__cause__, EOFError)
