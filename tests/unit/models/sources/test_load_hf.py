"""Image networks of transformers: from a folder alone, without code of others."""

import json
import sys
import types
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from greenbatch.errors import ExportError, GreenbatchError, UsageError, WeightsError
from greenbatch.exporter.user_network import export_own
from greenbatch.models.outputs import flatten
from greenbatch.models.sources.hf_input import image_input
from greenbatch.models.sources.input_option import parse_input
from greenbatch.models.sources.load import SourceWarning, load
from greenbatch.models.sources.parse import Source, names_apart, parse_source

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
TEXT = {key: SMALL[key] for key in list(SMALL)[:4]} | {"vocab_size": 20}
BACKBONE = {"model_type": "resnet", "embedding_size": 8, "layer_type": "basic", **STAGES}
DETR = {
    "d_model": 16,
    "num_queries": 5,
    "backbone_config": {**BACKBONE, "out_features": ["stage4"]},
    **{
        f"{side}_{key}": 16 if "dim" in key else 1
        for side in ("encoder", "decoder")
        for key in ("layers", "ffn_dim", "attention_heads")
    },
}
CONFIGS: dict[str, dict[str, Any]] = {
    "vit": {"architectures": ["ViTForImageClassification"], **SMALL},
    "convnext": {"architectures": ["ConvNextForImageClassification"], "image_size": 32, **STAGES},
    "detr": DETR,
    "segformer": {"num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 8, **STAGES},
    "dinov2": {"architectures": ["Dinov2Model"], **SMALL},
    "clip": {"projection_dim": 8, "text_config": TEXT, "vision_config": SMALL},
    "siglip": {"text_config": TEXT, "vision_config": SMALL},
    "yolos": {**SMALL, "image_size": [32, 32], "num_detection_tokens": 3},
}
OUTPUTS = {
    "vit": ["logits"],
    "convnext": ["logits"],
    "detr": ["logits", "pred_boxes", "last_hidden_state", "encoder_last_hidden_state"],
    "segformer": ["logits"],
    "dinov2": ["last_hidden_state", "pooler_output"],
    "clip": ["image_embeds", "last_hidden_state"],
    "siglip": ["last_hidden_state", "pooler_output"],
    "yolos": ["logits", "pred_boxes", "last_hidden_state"],
}


def folder(path: Path, kind: str, **others: object) -> Path:
    """Write a folder with a configuration alone."""
    path.mkdir()
    config = {"model_type": kind, **CONFIGS.get(kind, {}), **others}
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def quietly(source: Source) -> Any:
    """Load a network whose random weights were reported before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SourceWarning)
        return load(source)


# Networks --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_alone_gives_seeded_random_weights_and_named_outputs(
    kind: str, tmp_path: Path
) -> None:
    path = folder(tmp_path / kind, kind)
    with pytest.warns(SourceWarning, match="cannot be loaded .* so random ones are used"):
        network = load(parse_source(f"hf:{path}"))
    spec = network.spec
    assert (spec.name, spec.source, spec.input.name) == (f"hf_{kind}", "hf", "pixel_values")
    assert network.applied.kind == "random"
    images = torch.randn(3, *spec.input.shape)
    found = flatten(network.module(images))
    assert list(found) == OUTPUTS[kind]
    assert all(len(tensor) == 3 for tensor in found.values())
    again = quietly(parse_source(f"hf:{path}")).module.state_dict()
    assert all(torch.equal(again[key], value) for key, value in network.module.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "detr"])
def test_an_exported_network_is_proved(kind: str, tmp_path: Path) -> None:
    path = folder(tmp_path / kind, kind)
    (path / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 64}}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "vit":
            (path / "preprocessor_config.json").unlink()
        manifest = export_own(parse_source(f"hf:{path}"), tmp_path / "artifacts").manifest
    assert [output.name for output in manifest.outputs] == OUTPUTS[kind]
    assert all(output.dims[0] == "batch" for output in manifest.outputs)
    assert [record.batch_size for record in manifest.parity] == [1, 2, 3, 7, 16]


@pytest.mark.slow
def test_no_mask_that_allows_everything_is_exported(tmp_path: Path) -> None:
    network = quietly(parse_source(f"hf:{folder(tmp_path / 'vit', 'vit')}"))
    batch = {0: torch.export.Dim("batch")}
    images = torch.zeros(2, 3, 32, 32)
    program = torch.export.export(network.module, (images,), dynamic_shapes=(batch,))
    attention = [node for node in program.graph.nodes if "scaled_dot" in str(node.target)]
    assert len(attention) == 2
    assert not any(len(node.args) > 3 and node.args[3] is not None for node in attention)
    assert not any("attn_mask" in node.kwargs for node in attention)


@pytest.mark.slow
def test_saved_weights_are_read_and_gaps_and_other_formats_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder(tmp_path / "vit", "vit")
    network = quietly(parse_source(f"hf:{path}"))
    weights = path / "model.safetensors"
    network.module.save_pretrained(path)
    read = load(parse_source(f"hf:{path}"))
    assert read.applied.kind == "pretrained"
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(
        read.module(images)["logits"], network.module(images)["logits"], 1e-4, 1e-5
    )
    state = load_file(weights)
    del state["classifier.weight"]
    save_file(state, weights, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"lack 1 tensors \(classifier.weight\); name the arch"):
        load(parse_source(f"hf:{path}"))
    weights.unlink()
    torch.save(state, path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"of pytorch_model.bin .* as \.safetensors"):
        load(parse_source(f"hf:{path}"))
    assert load(parse_source(f"hf:{path}"), weights="random").applied.kind == "random"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda p: folder(p, "bert", architectures=["BertModel"]), ExportError, "takes texts"),
        (lambda p: folder(p, "vit", architectures=["OwnNet"]), ExportError, "has no OwnNet, which"),
        (
            lambda p: folder(p, "own", auto_map={"AutoConfig": "own.Config"}),
            UsageError,
            "cannot be found: ",
        ),
        (
            lambda p: folder(p, "vit", quantization_config={"quant_method": "gptq"}),
            ExportError,
            "quantised by another library",
        ),
        (lambda p: p.mkdir() or p, UsageError, "there is no config.json in"),
        (lambda p: "someone/no-such-network", UsageError, "check the name and the connection"),
    ],
)
def test_what_is_no_network_of_images_is_refused(
    make: Callable[[Path], object], error: type[GreenbatchError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said) as caught:
        load(parse_source(f"hf:{make(tmp_path / 'net')}"))
    assert "\n" not in str(caught.value)


def test_an_absent_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'greenbatch\[transformers\]'"):
        load(parse_source("hf:google/vit"))


def test_networks_of_one_name_are_kept_apart() -> None:
    assert Source("hf", "google/vit-v1.1").default_name == "hf_vit-v1.1"
    assert names_apart([Source("hf", "a/net.1"), Source("hf", "b/net.1")]) == [
        "a_hf_net.1",
        "b_hf_net.1",
    ]
    with pytest.raises(UsageError, match="write hf:NAME"):
        parse_source("hf:")


# Their input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "preprocessor", "shape", "resize"),
    [
        ({}, {}, (3, 224, 224), 256),
        ({"image_size": 32}, {}, (3, 32, 32), 37),
        ({"image_size": [64, 48], "num_channels": 1}, {}, (1, 64, 48), 55),
        ({"image_size": 32}, {"size": {"height": 40, "width": 48}}, (3, 40, 48), 40),
        ({}, {"size": {"shortest_edge": 96, "longest_edge": 160}}, (3, 96, 96), 96),
        ({}, {"size": 96}, (3, 96, 96), 96),
        ({"vision_config": types.SimpleNamespace(image_size=64)}, {}, (3, 64, 64), 73),
        ({}, {"size": {"shortest_edge": 256}, "crop_size": 224}, (3, 224, 224), 256),
        ({}, {"size": 256, "crop_size": 224, "do_center_crop": False}, (3, 256, 256), 256),
    ],
)
def test_the_input_is_what_the_preprocessor_or_the_network_states(
    config: Mapping[str, object],
    preprocessor: Mapping[str, object],
    shape: tuple[int, ...],
    resize: int,
) -> None:
    spec = image_input(types.SimpleNamespace(**config), preprocessor, "pixel_values")
    assert (spec.shape, spec.resize, spec.name) == (shape, resize, "pixel_values")


def test_statistics_and_interpolation_are_the_preprocessors() -> None:
    config = types.SimpleNamespace()
    stated = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2] * 3, "resample": 3}
    spec = image_input(config, stated, "x")
    assert (spec.mean, spec.std, spec.interpolation) == ((0.5, 0.4, 0.3), (0.2,) * 3, "bicubic")
    plain = image_input(config, {**stated, "do_normalize": False}, "x")
    assert (plain.mean, plain.std) == ((0.0,) * 3, (1.0,) * 3)
    assert image_input(config, {}, "x").mean == parse_input("3x8x8").mean
