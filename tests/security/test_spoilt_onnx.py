"""`gb export`, `bench` and `eval` of a spoilt ``.onnx``: a proof, or one sentence; no traceback."""

import contextlib
import io
import json
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from greenbatch.cli import main
from greenbatch.models.artifacts import sha256
from tests.properties.test_onnx_mutated import (
    KINDS,
    sound,
    with_another_field,
    with_other_bytes,
)
from tests.thorough import examples

QUIETLY = (HealthCheck.too_slow, HealthCheck.data_too_large)
Ended = tuple[int, str]


def gb(*arguments: object) -> Ended:
    """Run the command in this process; return its exit code and what it wrote."""
    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
        try:
            main([*map(str, arguments)])
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return code, written.getvalue()


def spoilt(kind: str, seed: int) -> bytes:
    """A file of a kind with some bytes or one field changed."""
    rng = random.Random(seed)
    spoil = rng.choice([with_other_bytes, with_another_field, with_another_field])
    return spoil(sound(kind, 2), rng)


def hold(written: Ended, codes: tuple[int, ...]) -> None:
    """Hold that a command ended well, or by one sentence with a cure."""
    code, text = written
    assert code in codes, text
    assert "Traceback" not in text
    sentences = [line for line in text.splitlines() if line.startswith("gb: ")]
    if code:
        assert sentences, text
        assert ";" in sentences[-1]


@pytest.mark.slow
@settings(max_examples=examples(15, 500), derandomize=True, suppress_health_check=QUIETLY)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32))
def test_a_spoilt_file_is_exported_or_refused(kind: str, seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "net.onnx"
        path.write_bytes(spoilt(kind, seed))
        out = Path(name) / "artifacts"
        written = gb("export", path, "--dynamic-batch", "--out", out)
        hold(written, (0, 2, 3))
        assert (out / "net-fp32.json").exists() == (written[0] == 0)


@pytest.mark.alone
@pytest.mark.slow
@settings(max_examples=examples(2, 20), derandomize=True, suppress_health_check=QUIETLY)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32))
def test_a_spoilt_file_is_measured_or_refused(kind: str, seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "net.onnx"
        path.write_bytes(spoilt(kind, seed))
        quick = ("--provider", "cpu", "--batch-sizes", "1", "--repetitions", 1)
        run = ("--profile", "quick", "--meter", "none", "--out", Path(name) / "run")
        where = ("--artifacts", Path(name) / "artifacts", "--share-machine")
        hold(gb("bench", path, *quick, *run, *where), (0, 2, 3, 4))


@pytest.mark.slow
@settings(max_examples=examples(5, 100), derandomize=True, suppress_health_check=QUIETLY)
@given(seed=st.integers(0, 2**32))
def test_a_spoilt_artifact_is_evaluated_or_refused(seed: int) -> None:
    """Of somebody else, whose manifest states the hash of the spoilt file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "net.onnx"
        source.write_bytes(sound("several", 2))
        out = folder / "artifacts"
        code, text = gb("export", source, "--dynamic-batch", "--out", out)
        assert code == 0, text
        graph, manifest = out / "net-fp32.onnx", out / "net-fp32.json"
        rng = random.Random(seed)
        graph.write_bytes(with_another_field(graph.read_bytes(), rng))
        members = json.loads(manifest.read_text()) | {"sha256": sha256(graph)}
        manifest.write_text(json.dumps(members))
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
        (folder / "images" / "0").mkdir(parents=True)
        Image.fromarray(pixels).save(folder / "images" / "0" / "a.png")
        written = gb("eval", "net", "--data", folder / "images", "--artifacts", out)
        hold(written, (0, 2, 3))
