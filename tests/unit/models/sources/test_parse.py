"""What a user may name: each kind of source is told from its text, or refused with the cure."""

import subprocess
import sys
from pathlib import Path

import pytest

from greenbatch.errors import UsageError
from greenbatch.models import InputSpec
from greenbatch.models.sources.input_option import parse_input
from greenbatch.models.sources.parse import Source, check_name, names_apart, parse_source
from tests.fakes.own_networks import one_sentence


def test_each_kind_of_source_is_told_from_its_text(tmp_path: Path) -> None:
    for suffix in ("pt2", "onnx"):
        (tmp_path / f"My Net.{suffix}").touch()
    said = {
        "alexnet": ("torchvision", "alexnet"),
        "mypkg.nets:build": ("python", "nets_build"),
        "nets:Zoo.small": ("python", "nets_zoo.small"),
        "timm:vit_tiny_patch16_224.augreg": ("timm", "timm_vit_tiny_patch16_224.augreg"),
        str(tmp_path / "My Net.pt2"): ("pt2", "my_net"),
        str(tmp_path / "My Net.onnx"): ("onnx", "my_net"),
    }
    for text, expected in said.items():
        source = parse_source(text)
        assert (source.kind, source.default_name) == expected
        if source.kind != "torchvision":
            assert check_name(source.default_name) == source.default_name


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("alexnett", "did you mean 'alexnet'"),
        ("gone.pt2", "there is no file gone.pt2"),
        ("nets.py", "nets:CALLABLE"),
        ("gone.onnx", "there is no file gone.onnx"),
        ("weights.pth", "--weights weights.pth"),
        ("nets.py:", "write package.module:callable"),
        ("a b:c", "write package.module:callable"),
        ("nets:build()", "write package.module:callable"),
        ("timm:", "write timm:NAME"),
    ],
)
def test_a_text_that_names_nothing_is_refused_with_the_cure(text: str, cure: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(text)
    assert cure in str(caught.value)
    assert one_sentence(caught.value)


def test_an_input_is_read_with_its_statistics() -> None:
    wide = parse_input("3x240x320")
    assert (wide.shape, wide.crop, wide.resize) == ((3, 240, 320), 240, 274)
    assert wide.mean == InputSpec().mean
    assert parse_input("3x224x224") == InputSpec()
    grey = parse_input("1x28X28")
    assert (grey.shape, grey.mean, grey.std) == ((1, 28, 28), (0.449,), (0.226,))


@pytest.mark.parametrize(
    "text", ["", "224", "3x224", "3x0x3", "3x-1x3", "3x2x2x2x2", "axbxc", "00x1x1"]
)
def test_an_input_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write it like 3x224x224"):
        parse_input(text)


@pytest.mark.parametrize("name", ["", "Net", "a/b", "../x", ".net", "ä", "a b", "a" * 101, "a\n"])
def test_a_name_unfit_for_a_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="unfit for a file"):
        check_name(name)


def test_reading_a_source_imports_no_torch_and_no_module_of_the_user() -> None:
    code = (
        "import sys; from greenbatch.models.sources.parse import parse_source;"
        "from greenbatch.models.sources.input_option import parse_input;"
        "parse_source('tests.fakes.own_networks:build'); parse_input('3x8x8');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'tests.fakes.own_networks', 'onnx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_called_as_a_known_network_or_in_another_script_has_a_name() -> None:
    assert Source("onnx", "resnet50.onnx").default_name == "resnet50_onnx"
    names = {
        Source("onnx", f"{stem}.onnx").default_name for stem in ("模型", "網絡", "\udcff", "+")
    }
    assert len(names) == 4
    for name in names:
        assert name.startswith("network_")
        assert check_name(name) == name


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    texts = ["v1/model.onnx", "v2/model.onnx", "a/x/net.onnx", "b/x/net.onnx", "other.onnx"]
    sources = [Source("onnx", text) for text in texts]
    assert names_apart(sources) == ["v1_model", "v2_model", "a_x_net", "b_x_net", "other"]
    assert names_apart(sources[:1] * 2) == ["model", "model"]
    with pytest.raises(UsageError, match=r"and a_b/n\.onnx are both called a_b_n; "):
        names_apart([Source("onnx", f"{text}/n.onnx") for text in ("a/b", "x/b", "a_b")])
