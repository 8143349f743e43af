"""An exported program is data: it computes what was exported, and no code of it is run."""

import io
import json
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils import _pytree

from greenbatch.errors import ArtifactError, ExportError, UsageError, WeightsError
from greenbatch.models.outputs import flatten
from greenbatch.models.sources.exported_program import load_program
from greenbatch.models.sources.input_option import parse_input, parse_inputs
from greenbatch.models.sources.load import load
from greenbatch.models.sources.parse import parse_source
from tests.fakes import own_networks
from tests.fakes.own_networks import one_sentence

MODEL = "net/models/model.json"
WEIGHTS = "net/data/weights/model_weights_config.json"


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
