"""A user's own network is taken as it is, or refused in one sentence; files are data, not code."""

import io
import json
import pickle
import subprocess
import sys
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils import _pytree

from greenbatch.errors import (
    ArtifactError,
    ExportError,
    GreenbatchError,
    UnknownNameError,
    UsageError,
    WeightsError,
)
from greenbatch.models import InputSpec
from greenbatch.models.outputs import flatten
from greenbatch.models.sources.exported_program import load_program
from greenbatch.models.sources.input_option import parse_input, parse_inputs
from greenbatch.models.sources.load import SourceWarning, load
from greenbatch.models.sources.parse import (
    Source,
    check_name,
    names_apart,
    parse_source,
)
from tests.fakes import own_networks

INPUT = parse_input("3x16x16")
MODEL = "net/models/model.json"
WEIGHTS = "net/data/weights/model_weights_config.json"


def own(name: str) -> Source:
    """The source of a callable of the fakes."""
    return Source("python", f"tests.fakes.own_networks:{name}")


def one_sentence(error: GreenbatchError) -> bool:
    """Whether an error is one line without a full stop, and says what to do."""
    text = str(error)
    return "\n" not in text and not text.endswith(".") and ";" in text


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported program, as a user saves it."""
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    save(path, own_networks.build(), {0: torch.export.Dim("batch")})
    return path


def save(path: Path, module: torch.nn.Module, axes: dict[int, Any], count: int = 2) -> Path:
    """Export a module."""
    images = torch.randn(count, 3, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module, (images,), dynamic_shapes=(axes,)), path)
    return path


# What a user may name --------------------------------------------------------------------------


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


def test_a_name_of_a_known_network_is_refused() -> None:
    with pytest.raises(UsageError, match="'alexnet' is that of a torchvision network"):
        load(own("build"), INPUT, "alexnet")


# Callables -------------------------------------------------------------------------------------


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


def test_a_missing_part_of_a_package_is_no_module() -> None:
    with pytest.raises(UsageError, match=r"there is no module 'tests.fakes.gone'"):
        load(Source("python", "tests.fakes.gone:build"), INPUT)


def test_reading_a_source_imports_no_torch_and_no_module_of_the_user() -> None:
    code = (
        "import sys; from greenbatch.models.sources.parse import parse_source;"
        "from greenbatch.models.sources.input_option import parse_input;"
        "parse_source('tests.fakes.own_networks:build'); parse_input('3x8x8');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'tests.fakes.own_networks', 'onnx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# timm ------------------------------------------------------------------------------------------


def fake_timm(offline: bool) -> types.ModuleType:
    """What `load` uses of timm, with timm's signatures."""

    def create_model(name: str, pretrained: bool = False) -> torch.nn.Module:
        if pretrained and offline:
            raise OSError("We couldn't connect\nto the hub.")
        module = own_networks.Small()
        module.pretrained_cfg = {  # type: ignore[assignment]
            "input_size": (3, 16, 16),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
            "crop_pct": 0.8,
            "interpolation": "bicubic",
        }
        return module

    timm = types.ModuleType("timm")
    members: dict[str, object] = {
        "__version__": "1.0",
        "create_model": create_model,
        "is_model": lambda name: name == "tiny",
        "list_models": lambda: ["tiny"],
    }
    vars(timm).update(members)
    return timm


def test_timm_is_asked_for_network_input_and_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", fake_timm(offline=False))
    network = load(parse_source("timm:tiny.in1k"))
    assert (network.spec.name, network.spec.source) == ("timm_tiny.in1k", "timm")
    form = network.spec.input
    assert (form.shape, form.crop, form.resize) == ((3, 16, 16), 16, 20)
    assert (form.mean, form.std, form.interpolation) == ((0.5,) * 3, (0.25,) * 3, "bicubic")
    assert network.applied.kind == "pretrained"
    assert load(parse_source("timm:tiny"), weights="random").applied.kind == "random"


def test_timm_without_a_connection_draws_weights_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", fake_timm(offline=True))
    with pytest.warns(SourceWarning, match="cannot be loaded .*couldn't connect.*so random ones"):
        assert load(parse_source("timm:tiny")).applied.kind == "random"
    with pytest.raises(WeightsError, match="couldn't connect"):
        load(parse_source("timm:tiny"), weights="pretrained")


def test_an_absent_timm_and_an_unknown_name_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install 'greenbatch\[timm\]'"):
        load(parse_source("timm:tiny"))
    monkeypatch.setitem(sys.modules, "timm", fake_timm(offline=True))
    with pytest.raises(UsageError, match="has no network 'tinny'; did you mean timm:tiny"):
        load(parse_source("timm:tinny"))


# Exported programs -----------------------------------------------------------------------------


def test_an_exported_program_computes_what_was_exported(program: Path) -> None:
    network = load(parse_source(str(program)))
    assert (network.spec.name, network.spec.source) == ("net", "pt2")
    assert network.spec.input.shape == (3, 16, 16)
    assert network.spec.parameters == sum(p.numel() for p in own_networks.build().parameters())
    images = torch.randn(5, 3, 16, 16)
    assert torch.equal(network.module.eval()(images), own_networks.build()(images))
    with pytest.raises(RuntimeError, match="training mode"):
        network.module.train()


def test_a_program_of_another_use_is_refused_with_the_cure(tmp_path: Path, program: Path) -> None:
    batch = {0: torch.export.Dim("batch")}
    with pytest.raises(ExportError, match=r"fixes the batch at 2; .*torch.export.Dim\(\"batch\"\)"):
        load(parse_source(str(save(tmp_path / "fixed.pt2", own_networks.build(), {}))))
    with pytest.raises(ExportError, match=r"exported in training mode \(aten.batch_norm"):
        load_program(save(tmp_path / "training.pt2", own_networks.training(), batch))
    with pytest.raises(UsageError, match="was exported for images"):
        load(parse_source(str(program)), parse_input("3x8x8"))
    with pytest.raises(WeightsError, match="holds its own weights"):
        load(parse_source(str(program)), weights="random")


class Several(torch.nn.Module):
    """Takes an image, a factor for each and one for all, and returns what a class holds."""

    def __init__(self, wrap: Callable[[torch.Tensor, torch.Tensor], object]) -> None:
        super().__init__()
        self.small, self.wrap = own_networks.Small(), wrap

    def forward(
        self, scale: torch.Tensor, images: torch.Tensor, shift: torch.Tensor | None = None
    ) -> object:
        """Map images (N, 3, 16, 16) to a map and logits."""
        logits = self.small(images * scale[:, None, None, None])
        return self.wrap(images, logits if shift is None else logits + shift)


class Named(NamedTuple):
    """Two outputs."""

    image: torch.Tensor
    logits: torch.Tensor


@pytest.mark.parametrize(
    ("wrap", "names"),
    [
        (lambda image, logits: logits, ["logits"]),
        (lambda image, logits: (image, None, logits), ["output_0", "output_2"]),
        (lambda image, logits: {"image": image, "more": [logits]}, ["image", "more.0"]),
        (lambda image, logits: OrderedDict(image=image, logits=logits), ["image", "logits"]),
        (Named, ["image", "logits"]),
    ],
)
@pytest.mark.slow
def test_a_program_of_several_inputs_and_outputs_of_any_kind(
    wrap: Callable[[torch.Tensor, torch.Tensor], object], names: list[str], tmp_path: Path
) -> None:
    module, path = Several(wrap).eval(), tmp_path / "net.pt2"
    batch = {0: torch.export.Dim("batch")}
    scale, images, shift = torch.rand(2), torch.randn(2, 3, 16, 16), torch.rand(())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if wrap is Named:
            _pytree._register_namedtuple(Named, serialized_type_name="Named")
        program = torch.export.export(
            module,
            (scale,),
            {"images": images, "shift": shift},
            dynamic_shapes={"scale": batch, "images": batch, "shift": None},
        )
        torch.export.save(program, path)
    network = load(parse_source(str(path)))
    spec = network.spec.input
    assert (spec.name, spec.shape) == ("images", (3, 16, 16))
    assert [(o.name, o.shape, o.batched) for o in spec.others] == [
        ("scale", (), True),
        ("shift", (), False),
    ]
    found = flatten(network.module(images, scale, shift))
    wanted = flatten(module(scale, images, shift))
    assert list(found) == list(wanted) == names
    assert all(torch.equal(found[name], wanted[name]) for name in names)
    with pytest.raises(UsageError, match="has no input gain; it has scale, images, shift"):
        load(parse_source(str(path)), parse_inputs(["images=3x16x16", "gain=2"]))


@pytest.mark.parametrize("kind", ["torch.hub.load", "os.system", "collections.defaultdict"])
def test_a_class_that_holds_outputs_becomes_a_list_and_is_not_imported(
    kind: str, program: Path, tmp_path: Path
) -> None:
    leaf: dict[str, object] = {"type": None, "context": None, "children_spec": []}
    tree = json.dumps([1, {"type": kind, "context": json.dumps({"x": 1}), "children_spec": [leaf]}])

    def change(members: Any) -> None:
        members["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = tree

    bad = altered(program, tmp_path / "net.pt2", model=edit(change))
    images = torch.randn(1, 3, 16, 16)
    found = load_program(bad).module(images)
    assert isinstance(found, list)
    assert torch.equal(found[0], own_networks.build()(images))


class Exploit:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Make pickle write the file."""
        return Path.write_text, (self.mark, "executed")


def altered(program: Path, target: Path, **changes: Callable[[bytes], bytes] | bytes) -> Path:
    """Copy a program with other content: a function of what an entry holds, or a new entry."""
    names = {"model": MODEL, "weights": WEIGHTS}
    work = {names.get(key, key): change for key, change in changes.items()}
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            change = work.pop(entry.filename, data)
            new.writestr(entry.filename, change if isinstance(change, bytes) else change(data))
        for name, change in work.items():
            assert isinstance(change, bytes)
            new.writestr(name, change)
    return target


def edit(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    """A change of an entry's JSON."""

    def apply(data: bytes) -> bytes:
        members = json.loads(data)
        change(members)
        return json.dumps(members).encode()

    return apply


def graph(members: Any) -> Any:
    """The nodes and tensors of a program's JSON."""
    return members["graph_module"]["graph"]


@pytest.mark.slow
def test_torch_itself_runs_code_from_such_a_file_and_we_do_not(
    program: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    expression = f"__import__('pathlib').Path({str(mark)!r}).write_text('x') and Symbol('s0')"
    bad = altered(
        program,
        tmp_path / "net.pt2",
        model=edit(
            lambda m: graph(m)["tensor_values"]["images"]["sizes"][0]["as_expr"].update(
                expr_str=expression
            )
        ),
    )
    with pytest.raises(ArtifactError, match="could run code when it is read"):
        load_program(bad)
    assert not mark.exists()
    code = f"import torch; torch.export.load({str(bad)!r})"
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert mark.exists()  # else this test would show nothing


def test_pickled_example_inputs_are_never_opened(program: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    buffer = io.BytesIO()
    torch.save((Exploit(mark),), buffer)
    bad = altered(
        program, tmp_path / "net.pt2", **{"net/data/sample_inputs/model.pt": buffer.getvalue()}
    )
    assert load_program(bad).inputs[0].dims == (None, 3, 16, 16)
    assert not mark.exists()


def test_guards_and_stack_traces_are_never_compiled(program: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'w')"

    def change(members: Any) -> None:
        members["guards_code"] = [code]
        graph(members)["nodes"][0]["metadata"]["stack_trace"] = f"x\n{code}"

    bad = altered(program, tmp_path / "net.pt2", model=edit(change))
    module = load_program(bad).module
    images = torch.randn(1, 3, 16, 16)
    assert torch.equal(module(images), own_networks.build()(images))
    assert not mark.exists()


def unsafe_changes() -> dict[str, dict[str, Any]]:
    """Ways to have code run by torch's reader, or by what it makes."""

    def node(**members: Any) -> Callable[[bytes], bytes]:
        return edit(lambda m: graph(m)["nodes"][0].update(**members))

    def meta(members: Any) -> None:
        next(iter(members["config"].values())).update(use_pickle=True)

    def spec(text: str) -> Callable[[bytes], bytes]:
        return edit(
            lambda m: m["graph_module"]["module_call_graph"][0]["signature"].update(in_spec=text)
        )

    tree = {"type": "builtins.tuple", "context": "null", "children_spec": []}
    enum = {**tree, "context": '{"__enum__": true, "fqn": "os:x", "name": "y"}'}
    other = {**tree, "type": "collections.OrderedDict"}
    return {
        "pickled weight": {"weights": edit(meta)},
        "custom object": {"net/data/constants/custom_obj_0": pickle.dumps(1)},
        "opaque object": {"net/data/constants/opaque_obj_0": pickle.dumps(1)},
        "legacy weights": {"net/data/weights/model.pt": pickle.dumps(1)},
        "compiled code": {"net/data/aotinductor/model/x.so": b"\x7fELF"},
        "second model": {"net/models/other.json": b"{}"},
        "path outside": {"net/../../evil": b""},
        "operator of Python": {"model": node(target="_operator.attrgetter")},
        "function of torch": {"model": node(target="torch.hub.load")},
        "operator with files": {"model": node(target="torch.ops.aten.from_file.default")},
        "operator of others": {"model": node(target="torch.ops.evil.run.default")},
        "dunder": {"model": node(target="torch.ops.aten.__class__")},
        "source code in a name": {"model": node(name="x\nimport os")},
        "module of an enum": {"model": spec(json.dumps([1, enum]))},
        "registered tree": {"model": spec(json.dumps([1, other]))},
    }


@pytest.mark.parametrize("kind", unsafe_changes())
def test_what_could_run_code_is_refused(kind: str, program: Path, tmp_path: Path) -> None:
    bad = altered(program, tmp_path / "net.pt2", **unsafe_changes()[kind])
    with pytest.raises(ArtifactError, match=r"could run code|pickled") as caught:
        load_program(bad)
    assert one_sentence(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s0', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s31', integer=True))",
        "FloorDiv(Symbol('s0'), 2) + 1",
        "s0*4",
    ],
)
def test_sizes_are_arithmetic(text: str) -> None:
    from greenbatch.models.sources.program_archive import _is_expression

    assert _is_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s0').__class__",
        "Symbol('os.system')",
        "Symbol('s0', cls=eval)",
        "Function('f')(s0)",
        "[s0 for s0 in s0]",
        "lambda: s0",
        "s0 if s0 else s0",
        "2**10**10",
        "Pow(9, 9)",
        "f'{s0}'",
        "sympify('s0')",
        "s0 and s0",
        "(" * 300 + "s0" + ")" * 300,
        "",
    ],
)
def test_sizes_that_are_more_than_arithmetic_are_refused(text: str) -> None:
    from greenbatch.models.sources.program_archive import _is_expression

    assert not _is_expression(text)


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_a_torn_program_is_refused(cut: float, program: Path, tmp_path: Path) -> None:
    data = program.read_bytes()
    path = tmp_path / "net.pt2"
    path.write_bytes(data[: int(cut * len(data)) if cut < 1 else int(cut)])
    with pytest.raises(ArtifactError, match=r"damaged|is no part of") as caught:
        load_program(path)
    assert one_sentence(caught.value)


def test_descriptions_that_describe_nothing_are_refused(program: Path, tmp_path: Path) -> None:
    for content in (b"", b"[]", b"{}", b'{"graph_module": {}}', b"[" * 100_000, b"\xff"):
        bad = altered(program, tmp_path / "net.pt2", model=content)
        with pytest.raises(ArtifactError):
            load_program(bad)


def test_an_onnx_file_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    with pytest.raises(UsageError, match="is an ONNX file already"):
        load(parse_source(str(tmp_path / "net.onnx")))
    with pytest.raises(UnknownNameError):
        parse_source("gone")


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
