"""A user's own network is taken as it is, or refused in one sentence."""

import sys
from pathlib import Path

import pytest
import torch

from greenbatch.errors import (
    ExportError,
    GreenbatchError,
    UnknownNameError,
    UsageError,
    WeightsError,
)
from greenbatch.models.outputs import flatten
from greenbatch.models.sources.input_option import parse_input, parse_inputs
from greenbatch.models.sources.load import SourceWarning, load
from greenbatch.models.sources.parse import Source, parse_source
from tests.fakes import own_networks
from tests.fakes.own_networks import one_sentence, own

INPUT = parse_input("3x16x16")


def test_a_name_of_a_known_network_is_refused() -> None:
    with pytest.raises(UsageError, match="'alexnet' is that of a torchvision network"):
        load(own("build"), INPUT, "alexnet")


def test_a_callable_gives_its_network_and_spec() -> None:
    network = load(own("build"), INPUT)
    assert not network.module.training
    spec = network.spec
    assert (spec.name, spec.source, spec.input) == ("own_networks_build", "python", INPUT)
    assert spec.parameters == sum(p.numel() for p in network.module.parameters())
    assert spec.top1 is None
    assert spec.year is None
    assert network.applied.kind == "own"
    reference = own_networks.build()
    images = torch.randn(3, 3, 16, 16)
    assert torch.equal(network.module(images), reference(images))


def test_random_weights_replace_those_of_the_callable_and_a_file_does_too(tmp_path: Path) -> None:
    own_weights = own_networks.build().state_dict()
    drawn = load(own("build"), INPUT, weights="random", seed=1)
    assert drawn.applied.kind == "random"
    assert not torch.equal(drawn.module.state_dict()["head.weight"], own_weights["head.weight"])
    path = tmp_path / "weights.pth"
    torch.save(drawn.module.state_dict(), path)
    read = load(own("build"), INPUT, weights=path)
    assert read.applied.kind == "file"
    assert torch.equal(
        read.module.state_dict()["head.weight"], drawn.module.state_dict()["head.weight"]
    )
    with pytest.raises(WeightsError, match="nothing is published"):
        load(own("build"), INPUT, weights="pretrained")


def test_a_module_of_the_current_folder_is_found_and_the_path_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gb_test_nets.py").write_text(
        "from tests.fakes.own_networks import Small\nnet = Small().eval()\n"
        "class Zoo:\n    small = staticmethod(lambda: Small().eval())\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    try:
        assert load(Source("python", "gb_test_nets:net"), INPUT).spec.name == "gb_test_nets_net"
        assert load(Source("python", "gb_test_nets:Zoo.small"), INPUT).module is not None
    finally:
        sys.modules.pop("gb_test_nets", None)
    assert sys.path == before


@pytest.mark.parametrize("name", ["training", "frozen_norm"])
def test_a_network_in_training_mode_is_put_out_of_it_and_said(name: str) -> None:
    with pytest.warns(SourceWarning, match="in training mode and is put into evaluation mode"):
        network = load(own(name), INPUT)
    assert not any(part.training for part in network.module.modules())


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("bild", UsageError, "has no 'bild'; did you mean 'build'"),
        ("SETTINGS", UsageError, "of type dict and cannot be called"),
        ("with_classes", UsageError, "it needs classes"),
        ("raising", ExportError, "raises RuntimeError: no weights here"),
        ("exiting", ExportError, "raises SystemExit: 0"),
        ("text", ExportError, "returns a str; it must return an nn.Module"),
        ("tensors", ExportError, "returns a OrderedDict with stem.weight"),
        ("as_one_row", ExportError, "returns logits (1, 5) for 2 images and for 3"),
        ("two_inputs", ExportError, "takes 2 inputs (images, mask), and it was given 1 (input)"),
        ("stubborn", ExportError, "0 of own_networks_stubborn (Stubborn) stays in training mode"),
        ("lazy_in_part", ExportError, "the weights of rest.0 have no size after the first image"),
        ("noisy", ExportError, "is random in evaluation mode: its own forward (Answering)"),
        ("takes_dict", ExportError, "for a batch of images, as it takes a dict with 'image'"),
        ("takes_object", ExportError, "as it takes an object with the attribute tensors"),
        ("one_image", ExportError, "for a batch of 2 images of 3x16x16 and runs with 1"),
        ("two_images", ExportError, "for a batch of 3 images of 3x16x16 and runs with 2"),
        ("row_by_row", ExportError, "returns 4 tensors (output_0.scores, output_0.boxes, "),
        ("with_a_word", ExportError, "returns the member 'kind' of type str instead of a tensor"),
        ("complex_numbers", ExportError, "returns output of torch.complex64"),
        ("raising_network", ExportError, "raises ValueError: the moon is not full for images of"),
        (
            "grey",
            ExportError,
            "--input 1x16x16",
        ),
        ("half", ExportError, "is torch.float16 instead of torch.float32"),
        ("empty", ExportError, "has no values (device meta)"),
    ],
)
def test_an_unfit_callable_is_refused_in_one_sentence(
    name: str, error: type[GreenbatchError], said: str
) -> None:
    with pytest.raises(error) as caught:
        load(own(name), INPUT)
    assert said in str(caught.value)
    assert one_sentence(caught.value)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("as_dict", ["logits", "features"]),
        ("as_dataclass", ["logits"]),
        ("as_tuple", ["output_0", "output_1"]),
        ("as_map", ["output"]),
        ("as_class", ["output"]),
    ],
)
def test_outputs_of_any_kind_are_taken(name: str, names: list[str]) -> None:
    network = load(own(name), INPUT)
    assert list(flatten(network.module(torch.randn(4, 3, 16, 16)))) == names


def test_a_lazy_network_gets_its_sizes_from_one_image_and_this_is_reported() -> None:
    with pytest.warns(SourceWarning, match="lazy modules of .* got their sizes from one image"):
        network = load(own("lazy"), INPUT)
    assert network.spec.parameters == 4 * 3 * 16 + 4 + 8 + 4 * 16 * 5 + 5
    assert network.module(torch.zeros(3, 3, 16, 16)).shape == (3, 5)
    with pytest.raises(ExportError, match="has lazy modules, and its first image of 3x2x2 raises"):
        load(own("lazy"), parse_input("3x2x2"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrappers"),
    [
        ("parallel", "DataParallel"),
        ("compiled", "OptimizedModule and DataParallel and torch.compile"),
    ],
)
def test_wrappers_are_taken_off_and_this_is_reported(name: str, wrappers: str) -> None:
    with pytest.warns(SourceWarning, match=f"was taken out of {wrappers}$"):
        network = load(own(name), INPUT)
    plain = own_networks.build()
    assert network.module.state_dict().keys() == plain.state_dict().keys()
    images = torch.randn(3, 3, 16, 16)
    assert torch.equal(network.module(images), plain(images))
    assert "forward" not in vars(network.module) or not hasattr(
        network.module.forward, "_torchdynamo_orig_callable"
    )


def test_two_inputs_are_taken_by_their_names() -> None:
    spec = parse_inputs(["images=3x16x16", "mask=3x16x16:float32:0.5"])
    network = load(own("two_inputs"), spec)
    images, mask = torch.randn(3, 3, 16, 16), torch.rand(3, 3, 16, 16)
    assert network.module(images, mask).shape == (3, 5)
    with pytest.raises(ExportError, match="--input images=SHAPE --input mask=SHAPE"):
        load(own("two_inputs"), INPUT)


def test_an_image_of_another_size_is_answered_with_the_option() -> None:
    with pytest.raises(ExportError, match=r"for images of 3x20x20; give the size .* --input"):
        load(own("build"), parse_input("3x20x20"))


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, UsageError, "there is no module 'gb_test_absent'"),
        ("import gb_test_other\n", ExportError, "raises ModuleNotFoundError: No module named"),
        ("1 / 0\n", ExportError, "importing gb_test_absent raises ZeroDivisionError: division"),
        ("def\n", ExportError, "importing gb_test_absent raises SyntaxError"),
        ("raise SystemExit(3)\n", ExportError, "importing gb_test_absent raises SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_with_its_own_words(
    content: str | None,
    error: type[GreenbatchError],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "gb_test_absent.py").write_text(content)
    with pytest.raises(error) as caught:
        load(Source("python", "gb_test_absent:build"), INPUT)
    assert said in str(caught.value)
    assert one_sentence(caught.value)


def test_an_onnx_file_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    with pytest.raises(UsageError, match="is an ONNX file already"):
        load(parse_source(str(tmp_path / "net.onnx")))
    with pytest.raises(UnknownNameError):
        parse_source("gone")


def test_a_missing_part_of_a_package_is_no_module() -> None:
    with pytest.raises(UsageError, match=r"there is no module 'tests.fakes.gone'"):
        load(Source("python", "tests.fakes.gone:build"), INPUT)
