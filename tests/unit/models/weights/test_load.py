"""Weights: random ones behave, files fit or are refused, published ones never make anyone wait."""

import pickle
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from greenbatch.errors import GreenbatchError, UnknownNameError, WeightsError
from greenbatch.models import find, synthetic_images
from greenbatch.models.build import build
from greenbatch.models.registry import STUDY
from greenbatch.models.weights import checkpoints
from greenbatch.models.weights.load import Weights, load_weights
from tests.fakes.networks import SPEC, Convolutional
from tests.thorough import needs_thorough

LARGE = {
    "vit_b_16": [pytest.mark.slow, needs_thorough],
    "convnext_base": [pytest.mark.slow],
    "densenet121": [pytest.mark.slow],
}


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch cache, and a publisher at a port where nobody listens."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(checkpoints, "PUBLISHER", "http://127.0.0.1:9/")
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=LARGE.get(n, [])) for n in STUDY])
def test_random_logits_vary_with_a_spread_near_one(name: str) -> None:
    spec = find(name)
    if name in {"convnext_base", "densenet121"}:  # smaller images, for those that take any
        spec = replace(spec, input=replace(spec.input, shape=(3, 96, 96)))
    module = build(spec)
    load_weights(module, spec, "random", seed=0)
    images = torch.from_numpy(synthetic_images(spec, 6, seed=99))  # none that it was levelled on
    with torch.inference_mode():
        logits = module(images)
    assert not module.training
    assert 0.3 < float(logits.std()) < 3
    assert 0.3 < float(logits.std(0).mean()) < 3, "images are all alike"
    assert 0.3 < float(logits.std(1).mean()) < 3, "classes are all alike"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnasnet0_5", "regnet_y_400mf", "mobilenet_v3_small"])
def test_networks_outside_the_study_behave_too(name: str) -> None:
    from torchvision.models import get_model

    module = get_model(name).eval()
    load_weights(module, find("alexnet"), "random", seed=1)
    with torch.inference_mode():
        logits = module(torch.from_numpy(synthetic_images(find("alexnet"), 6, seed=99)))
    assert 0.3 < float(logits.std(0).mean()) < 3


def test_random_weights_depend_on_the_seed_alone() -> None:
    modules = [Convolutional() for _ in range(4)]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    for module, seed in zip(modules, (0, 0, 1, 0), strict=True):
        load_weights(module, SPEC, "random", seed)
    load_weights(modules[3], SPEC, "random", 0)  # drawn twice: what was there does not matter
    assert torch.equal(before, torch.random.get_rng_state())
    first, same, other, again = (module.state_dict() for module in modules)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_zero_heads_fading_scales_and_statistics_are_settled() -> None:
    module = Convolutional()
    load_weights(module, SPEC, "random", seed=0)
    assert float(module.head.weight.detach().abs().min()) > 0
    assert float(module.layer_scale.detach().min()) >= 0.1
    assert module.norm.running_mean is not None
    assert float(module.norm.running_mean.abs().max()) > 0
    assert module.norm.momentum == 0.1


def test_building_leaves_the_global_random_state() -> None:
    before = torch.random.get_rng_state()
    module = build(find("shufflenet_v2_x0_5"))
    assert not module.training
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_library_that_builds_another_network_is_noticed() -> None:
    from dataclasses import replace

    with pytest.raises(GreenbatchError, match="of 1,366,792 parameters instead of 7;"):
        build(replace(find("shufflenet_v2_x0_5"), parameters=7))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_a_file_gives_back_the_weights_that_were_saved(tmp_path: Path, suffix: str) -> None:
    saved, module = Convolutional(), Convolutional()
    load_weights(saved, SPEC, "random", seed=3)
    path = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        save_file(saved.state_dict(), path)
    else:
        torch.save({"model": saved.state_dict(), "epoch": 3}, path)
    applied = load_weights(module, SPEC, path)
    assert (applied.kind, applied.detail) == ("file", path.name)
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in saved.state_dict().items())


def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    state = Convolutional().state_dict()
    del state["stem.weight"]
    state["extra"] = torch.zeros(1)
    state["head.bias"] = torch.zeros(7)
    path = tmp_path / "other.safetensors"
    save_file(state, path)
    with pytest.raises(WeightsError) as caught:
        load_weights(Convolutional(), SPEC, path)
    assert str(caught.value) == (
        "the weights in other.safetensors do not fit tiny: 1 missing (stem.weight); "
        "1 unexpected (extra); 1 of another shape (head.bias (7,) instead of (10,)); "
        "give a file that was saved from tiny"
    )


class _Intruder:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("intruded"),))  # type: ignore[return-value]


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"head.weight": _Intruder()}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match="without running code"):
        load_weights(Convolutional(), SPEC, tmp_path / "bad.pth")
    assert not Path("intruded").exists()


@pytest.mark.parametrize("name", ["torn.safetensors", "torn.pth"])
@pytest.mark.parametrize("content", [b"", b"torn", pickle.dumps([1, 2])])
def test_a_damaged_file_is_an_error_of_one_sentence(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_weights(Convolutional(), SPEC, path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_choices_are_words_or_files(tmp_path: Path) -> None:
    assert Weights.parse("auto") == Weights("auto")
    with pytest.raises(UnknownNameError, match="did you mean 'pretrained'"):
        Weights.parse("pretraind")
    with pytest.raises(WeightsError, match="there is no weights file"):
        Weights.parse(tmp_path / "absent.pth")


def test_auto_falls_back_to_random_and_says_why(offline: Path) -> None:
    applied = load_weights(Convolutional(), SPEC, "auto", seed=4)
    assert (applied.kind, applied.detail) == ("random", "seed 4")
    assert applied.note is not None
    assert "published weights cannot be fetched" in applied.note
    assert SPEC.name not in applied.note
    assert not list(offline.iterdir()), "nothing is left of the download"


def test_pretrained_without_a_network_is_an_error_with_a_cure(offline: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot fetch http.*put the file into .*checkpoints"):
        load_weights(Convolutional(), SPEC, "pretrained")


def test_a_publisher_that_never_answers_is_given_up(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(
            checkpoints, "PUBLISHER", f"http://127.0.0.1:{silent.getsockname()[1]}/"
        )
        with pytest.raises(WeightsError, match=r"no answer|timed out"):
            checkpoints.fetch_checkpoint(SPEC, timeout_s=0.2)


@pytest.mark.slow
def test_a_download_is_checked_cached_and_used(
    offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib
    from dataclasses import replace
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    published = Convolutional()
    load_weights(published, SPEC, "random", seed=8)
    root = tmp_path / "publisher"
    root.mkdir()
    torch.save(published.state_dict(), root / "file")
    digest = hashlib.sha256((root / "file").read_bytes()).hexdigest()[:8]
    spec = replace(SPEC, checkpoint=f"tiny-{digest}.pth")
    for name in (spec.checkpoint, SPEC.checkpoint):  # the second one states another digest
        (root / name).write_bytes((root / "file").read_bytes())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            monkeypatch.setattr(checkpoints, "PUBLISHER", f"http://127.0.0.1:{server.server_port}/")
            with pytest.raises(WeightsError, match="what came is damaged"):
                checkpoints.fetch_checkpoint(SPEC)
            module = Convolutional()
            applied = load_weights(module, spec, "auto")
        finally:
            server.shutdown()
            thread.join()
    assert (applied.kind, applied.detail, applied.note) == ("pretrained", spec.weights, None)
    assert torch.equal(module.head.weight, published.head.weight)
    assert [path.name for path in offline.iterdir()] == [spec.checkpoint]
    assert load_weights(Convolutional(), spec, "auto").kind == "pretrained"  # server is gone


def test_the_cache_is_the_one_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in ({"TORCH_HOME": str(tmp_path)}, {"XDG_CACHE_HOME": str(tmp_path)}, {}):
        monkeypatch.delenv("TORCH_HOME", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        for key, value in variables.items():
            monkeypatch.setenv(key, value)
        assert str(checkpoints._folder()) == f"{torch.hub.get_dir()}/checkpoints"


@pytest.mark.slow
def test_names_of_old_densenet_checkpoints_are_understood(tmp_path: Path) -> None:
    import re

    saved = build(find("densenet121")).state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)\.", r"\1.\2.", key): value
        for key, value in saved.items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "old.pth")
    module = build(find("densenet121"))
    load_weights(module, find("densenet121"), tmp_path / "old.pth")
    assert all(torch.equal(value, saved[key]) for key, value in module.state_dict().items())
