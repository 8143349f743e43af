"""A file of torch.save is recognised by its content, beside torch.jit.save; never unpickled."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from greenbatch.errors import UsageError
from greenbatch.models.sources.parse import parse_source, runs_code
from greenbatch.models.sources.pickled import network_in
from tests.fakes import own_networks

MODULE = own_networks.build()
OPTIMISER = torch.optim.AdamW(MODULE.parameters())
WEIGHTS = {
    "state": MODULE.state_dict(),
    "training": {"model": MODULE.state_dict(), "optimiser": OPTIMISER.state_dict(), "epoch": 3},
    "parameter": torch.nn.Parameter(torch.zeros(2)),
    "types": {"half": torch.zeros(2).half(), "whole": torch.zeros(2, dtype=torch.uint8)},
}
FOREIGN = {
    "tests.fakes.own_networks.Small": MODULE,
    "argparse.Namespace": {"model": MODULE.state_dict(), "options": Namespace(epochs=3)},
}
FORMATS = [(new, protocol) for new in (True, False) for protocol in (2, 4)]


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize(("new", "protocol"), FORMATS)
def test_tensors_by_name_are_weights(kind: str, new: bool, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(WEIGHTS[kind], path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    assert network_in(path) is None
    with pytest.raises(UsageError, match="holds weights, which are no network"):
        parse_source(str(path))


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize(("new", "protocol"), FORMATS)
def test_a_pickled_object_is_refused_by_its_class(
    kind: str, new: bool, protocol: int, tmp_path: Path
) -> None:
    path = tmp_path / "net.pth"
    torch.save(FOREIGN[kind], path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    with pytest.raises(UsageError, match=f"holds a pickled {kind}, and reading that would run"):
        parse_source(str(path))


def test_the_kind_of_an_archive_is_found_whatever_its_suffix(tmp_path: Path) -> None:
    script, program, torn = (tmp_path / name for name in ("script.pt", "program.pt", "torn.pt"))
    own_networks.save_script(MODULE, script)
    torch.export.save(torch.export.export(MODULE, (torch.zeros(2, 3, 16, 16),)), program)
    torn.write_bytes(script.read_bytes()[:100])
    assert parse_source(str(script)).kind == "torchscript"
    assert parse_source(str(program)).kind == "pt2"
    assert network_in(torn) is None
    assert not any(map(runs_code, (str(script), "hf:google/vit", "timm:vit", "a.torchscript")))
