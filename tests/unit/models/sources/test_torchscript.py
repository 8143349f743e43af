"""TorchScript is converted to what can be exported; its files are read as text before they run."""

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from greenbatch.errors import ArtifactError, ExportError, GreenbatchError
from greenbatch.models.sources.input_option import parse_input
from greenbatch.models.sources.load import SourceWarning, load
from greenbatch.models.sources.parse import Source, parse_source
from greenbatch.models.sources.torchscript import read_script
from tests.fakes import own_networks

INPUT = parse_input("3x16x16")
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
FORWARD = "  def forward(self"


class Branching(nn.Module):
    """Computes otherwise for a large batch, and returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map images to a map and its mean."""
        found = self.conv(images)
        if images.shape[0] > 100:
            found = found * 2
        return {"map": found, "mean": found.mean((2, 3))}


class Looping(nn.Module):
    """Runs a loop over the images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images to a number for each."""
        rows = []
        for image in images:
            rows.append(image.mean())  # noqa: PERF401
        return torch.stack(rows)[:, None]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, as a user saves it."""
    path = tmp_path_factory.mktemp("script") / "network.pt"
    return own_networks.save_script(own_networks.build(), path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scripted", "traced_part"])
def test_torchscript_of_a_callable_is_converted_and_this_is_reported(name: str) -> None:
    with pytest.warns(SourceWarning, match="is TorchScript and is converted"):
        network = load(Source("python", f"tests.fakes.own_networks:{name}"), INPUT)
    assert not any(isinstance(part, torch.jit.ScriptModule) for part in network.module.modules())
    found = network.module(IMAGES)
    wanted = own_networks.build()(IMAGES)
    logits = found["scores"] if name == "traced_part" else found
    assert torch.allclose(logits, wanted, 1e-5, 1e-6)
    names = {key.removeprefix("small.") for key in network.module.state_dict()}
    assert {"stem.weight", "head.bias", "norm.running_mean"} <= names


@pytest.mark.slow
def test_a_file_is_converted_to_what_it_computes(saved: Path) -> None:
    with pytest.warns(SourceWarning, match="network is TorchScript"):
        network = load(parse_source(str(saved)), INPUT)
    assert network.spec.source == "torchscript"
    assert torch.allclose(network.module(IMAGES), own_networks.build()(IMAGES), 1e-5, 1e-6)


def test_a_traced_file_that_keeps_the_inputs_of_its_trace_is_read(tmp_path: Path) -> None:
    module = own_networks.build().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, IMAGES)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, tmp_path / "net.pt")
    with zipfile.ZipFile(tmp_path / "net.pt") as archive:
        assert any("/traced_inputs" in name for name in archive.namelist())
    assert torch.equal(read_script(tmp_path / "net.pt")(IMAGES), module(IMAGES))


@pytest.mark.parametrize("module", [Branching(), Looping()])
def test_what_cannot_be_converted_for_any_batch_is_refused(
    module: nn.Module, tmp_path: Path
) -> None:
    path = own_networks.save_script(module, tmp_path / "net.torchscript")
    with pytest.raises(ExportError, match=r"net from TorchScript.*without torch\.jit$"):
        load(parse_source(str(path)), INPUT)


def altered(path: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Copy an archive with its entries changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target) as new:
        assert any(old.read(entry) != new.read(entry) for entry in old.namelist())
    return target


def line_added(line: str) -> Callable[[str, bytes], bytes]:
    """Put a line at the beginning of a network's forward."""

    def change(name: str, content: bytes) -> bytes:
        # Where a class of that name was scripted before in this process, its file has another name.
        if not name.endswith(".py") or FORWARD not in content.decode():
            return content
        head, _, tail = content.decode().partition(FORWARD)
        signature, _, body = tail.partition(":\n")
        return f"{head}{FORWARD}{signature}:\n    {line}\n{body}".encode()

    return change


@pytest.mark.parametrize(
    "line",
    [
        'torch.save(images, "/tmp/x")',
        '(images).save("/tmp/x")',
        'getattr(images, "save")("/tmp/x")',
        'getattr(images, "sa" "ve")("/tmp/x")',
        'getattr(images, "\\x73ave")("/tmp/x")',
        '_0 = torch.from_file("/etc/passwd")',
        'ops.aten.from_file("/etc/passwd")',
        'ops.image.write_file("/tmp/x", images)',
        "ops.prim.rpc_async()",
        "ops.c10d.barrier()",
        "x = __torch__.torch.classes.profiling.Stats()",
        "import os",
    ],
)
def test_code_that_can_do_more_than_compute_is_refused_before_it_is_read(
    line: str, saved: Path, tmp_path: Path
) -> None:
    bad = altered(saved, tmp_path / "network.pt", line_added(line))
    with pytest.raises(ArtifactError, match="can do more than compute with tensors"):
        read_script(bad)


def test_torch_itself_runs_such_code_while_it_reads_and_we_do_not(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "net.pt"

    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.size = 3

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * self.size

        @torch.jit.export
        def __getstate__(self) -> tuple[int, bool]:
            return self.size, self.training

        @torch.jit.export
        def __setstate__(self, state: tuple[int, bool]) -> None:
            self.size, self.training = state
            torch.save(torch.zeros(1), "MARK")

    own_networks.save_script(Writing(), path)
    bad = altered(path, tmp_path / "bad.pt", lambda _, data: data.replace(b"MARK", bytes(mark)))
    with pytest.raises(ArtifactError, match="names 'save'"):
        read_script(bad)
    assert not mark.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(bad)  # type: ignore[no-untyped-call]
    assert mark.exists()  # else this test would show nothing


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda name, data: b"\xff\xfe" if name.endswith(".py") else data, "no code that Torch"),
        (lambda name, data: data[:9] if name.endswith("data.pkl") else data, "cannot read"),
        (lambda name, data: data + b"#\r" if name.endswith(".py") else data, "no code that Torch"),
        (lambda name, data: data + b"torch.classes" if name.endswith(".pkl") else data, "classes"),
    ],
)
def test_a_damaged_file_is_refused(
    change: Callable[[str, bytes], bytes], said: str, saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=said):
        read_script(altered(saved, tmp_path / "network.pt", change))


@pytest.mark.parametrize("cut", [0, 10, 1000, -30])
def test_a_torn_file_is_refused(cut: int, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.torchscript"
    path.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(GreenbatchError, match="damaged") as caught:
        read_script(path)
    assert "\n" not in str(caught.value)


def test_another_archive_is_no_network(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({}, buffer)
    path = tmp_path / "net.torchscript"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ArtifactError, match="holds no TorchScript network"):
        read_script(path)
