"""Networks that are trained: their layers are as published, and every one of them learns."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn

from greenbatch.errors import UnknownNameError, UnsupportedCell
from greenbatch.runners.training.child import building
from greenbatch.runners.training.child.architectures import hidden_widths
from greenbatch.runners.training.data import datasets
from greenbatch.runners.training.design import networks
from greenbatch.runners.training.design.hyperparameters import optimizer
from tests.thorough import needs_thorough

DIGITS = (1, 8, 8)
CIFAR = (3, 32, 32)
DELREY = ("timm:mobilenetv2_050", "nasnet-mobile", "timm:legacy_xception", "resnet50", "vgg16")


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Sixty-four digits (N, 1, 8, 8) and their labels (N)."""
    split = datasets.load(
        "digits",
        Path("unused"),
        image_size=None,
        train_images=64,
        validation_images=10,
        seed=0,
    )
    images, labels = split.train.take(torch.arange(64))
    return split.train.ready(split.train.ready.shares(images)), labels


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    return nn.functional.interpolate(images, (side, side), mode="bilinear")


def losses(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int, rate: str = "0.001"
) -> list[float]:
    """Train on one batch over and over; return the loss of each step."""
    torch.manual_seed(0)  # of dropout
    adam = optimizer({"learning_rate": rate}, network.parameters())
    history = []
    for _ in range(steps):
        adam.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        history.append(loss.item())
    return history


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(part, kind) for part in network.modules())


@pytest.mark.slow
@pytest.mark.parametrize("factors", list(product((3, 7), (1, 4), (0, 1))))
def test_each_of_the_eight_variants_of_the_layer_study_learns_the_digits(
    digits: tuple[torch.Tensor, torch.Tensor], factors: tuple[int, int, int]
) -> None:
    linear, convolutions, relu = factors
    settings = {
        "linear_layers": str(linear),
        "conv_layers": str(convolutions),
        "relu": str(relu),
    }
    network = building.build("simple-cnn", settings, DIGITS, 10, seed=0)
    assert count(network, nn.Linear) == linear
    assert count(network, nn.Conv2d) == convolutions
    assert count(network, nn.ReLU) == relu * convolutions
    assert count(network, nn.MaxPool2d) == min(convolutions, 3)  # 8x8, 4x4, 2x2, 1x1
    history = losses(network, *digits, steps=30, rate="0.005")
    assert history[-1] < 0.5 * history[0]


@pytest.mark.parametrize("factors", list(product((3, 7), (1, 4))))
def test_the_layer_study_has_the_published_layers_on_images_of_32x32(
    factors: tuple[int, int],
) -> None:
    linear, convolutions = factors
    settings = {"linear_layers": str(linear), "conv_layers": str(convolutions)}
    network = building.build("simple-cnn", settings, CIFAR, 10, seed=0)
    filters = [part.out_channels for part in network.modules() if isinstance(part, nn.Conv2d)]
    widths = [part.out_features for part in network.modules() if isinstance(part, nn.Linear)]
    assert filters == [9, 27, 81, 243][:convolutions]
    assert widths == [*[1536, 768, 384, 192, 96, 48][: linear - 1], 10]
    assert count(network, nn.MaxPool2d) == convolutions
    assert network(torch.randn(2, *CIFAR)).shape == (2, 10)


def test_hidden_layers_get_narrower_in_halves_or_in_equal_steps_and_never_below_the_classes() -> (
    None
):
    assert hidden_widths((1, 28, 28), 10, 4, "halving") == [392, 196, 98]
    assert hidden_widths((3, 32, 32), 10, 3, "linear") == [2048, 1024]
    assert hidden_widths(DIGITS, 10, 7, "halving") == [32, 16, 10, 10, 10, 10]
    assert hidden_widths(DIGITS, 10, 3, "100") == [100, 100]
    assert hidden_widths(DIGITS, 10, 1, "halving") == []


def test_a_dense_network_is_linear_unless_relu_is_set(
    digits: tuple[torch.Tensor, torch.Tensor],
) -> None:
    images, _ = digits

    def bent(relu: str) -> float:
        network = building.build("dense", {"relu": relu}, DIGITS, 10, seed=0).eval()
        zero = network(torch.zeros_like(images))
        both = network(images) + network(-images)  # of a linear map: twice its value at 0
        return float((both - 2 * zero).abs().max().detach())

    assert bent("0") < 1e-5
    assert bent("1") > 1e-2


def test_dropout_makes_training_differ_from_evaluation() -> None:
    images = torch.ones(4, *DIGITS)
    for name, text in (("dense", "0.5"), ("simple-cnn", "0.5")):
        network = building.build(name, {"dropout": text}, DIGITS, 10, seed=0)
        assert count(network, nn.Dropout) == 2
        network.eval()
        assert torch.equal(network(images), network(images))
        network.train()
        assert not torch.equal(network(images), network(images))


@pytest.mark.parametrize("name", ["dense", "shufflenet_v2_x0_5"])
def test_the_seed_makes_the_weights_and_leaves_the_global_state_alone(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        network = building.build(name, {}, (1, 32, 32), 10, seed)
        return torch.cat([part.flatten() for part in network.parameters()])

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = weights(1)
    assert torch.equal(torch.rand(1), expected)
    torch.rand(7)
    assert torch.equal(weights(1), first)
    assert not torch.equal(weights(2), first)


@pytest.mark.slow
def test_one_channel_is_given_to_all_three_and_the_first_layer_stays_as_published() -> None:
    name = "shufflenet_v2_x0_5"
    grey = building.build(name, {}, (1, 64, 64), 10, seed=5)
    colour = building.build(name, {}, (3, 64, 64), 10, seed=5)
    assert parameters(grey) == parameters(colour)
    images = torch.rand(8, 1, 64, 64)  # in training mode, or of random weights nothing is left
    torch.testing.assert_close(grey(images), colour(images.repeat(1, 3, 1, 1)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("shufflenet_v2_x0_5", 32),
        ("mobilenet_v2", 32),
        ("resnet18", 32),
        ("squeezenet1_1", 32),
        ("googlenet", 32),
        ("timm:resnet10t", 32),
    ],
)
def test_published_networks_learn_the_digits(
    digits: tuple[torch.Tensor, torch.Tensor], name: str, side: int
) -> None:
    images, labels = (part[:16] for part in digits)
    network = building.build(name, {"dropout": "0"}, (1, side, side), 10, seed=0)
    history = losses(network, resized(images, side), labels, steps=6)
    assert history[-1] < 0.95 * history[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*DELREY[:2], *(pytest.param(name, marks=needs_thorough) for name in DELREY[2:])]
)
def test_the_networks_of_del_rey_learn_the_digits_at_a_size_of_64(
    digits: tuple[torch.Tensor, torch.Tensor], name: str
) -> None:
    images, labels = (part[:8] for part in digits)
    network = building.build(name, {"head": "delrey"}, (1, 64, 64), 10, seed=0)
    history = losses(network, resized(images, 64), labels, steps=5, rate="0.0003")
    assert history[-1] < 0.9 * history[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published"),
    [("mobilenet_v2", 3504872), ("squeezenet1_1", 1235496), ("nasnet-mobile", 5289978)],
)
def test_with_a_thousand_classes_a_network_has_as_many_parameters_as_published(
    name: str, published: int
) -> None:
    assert parameters(building.build(name, {}, (3, 64, 64), 1000, seed=0)) == published


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "body", "layers"),
    [
        ("timm:mobilenetv2_050", 687680, [(1280, 512), (512, 10)]),
        ("timm:legacy_xception", 20806952, [(2048, 1024), (1024, 10)]),
        ("resnet50", 23508032, [(2048, 1024), (1024, 512), (512, 10)]),
        ("vgg16", 14714688, [(512, 10)]),
        ("nasnet-mobile", 4232978, [(1056, 512), (512, 10)]),
    ],
)
def test_the_heads_of_del_rey_stand_behind_the_published_bodies(
    name: str, body: int, layers: list[tuple[int, int]]
) -> None:
    network = building.build(name, {"head": "delrey"}, (3, 64, 64), 10, seed=0)
    linear = [part for part in network.modules() if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in linear] == layers
    assert parameters(network) - sum(map(parameters, linear)) == body


def test_what_follows_the_cells_that_are_left_out_gets_the_outputs_of_the_two_before_them() -> None:
    network = building.build("nasnet-mobile", {}, (3, 64, 64), 10, seed=0).eval()
    made: dict[str, torch.Tensor] = {}
    got: dict[str, tuple[torch.Tensor, ...]] = {}

    def note(name: str) -> None:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            made[name], got[name] = output, inputs

        network.get_submodule(name).register_forward_hook(hook)

    for name in ("cell_2", "cell_3", "reduction_cell_0", "cell_8", "cell_9", "reduction_cell_1"):
        note(name)
    network(torch.rand(1, 3, 64, 64))
    for stack, cells in enumerate((("cell_3", "cell_2"), ("cell_9", "cell_8"))):
        for given, cell in zip(got[f"reduction_cell_{stack}"], cells, strict=True):
            assert torch.equal(given, made[cell])


def shares(network: nn.Module) -> Iterator[float]:
    return (part.p for part in network.modules() if isinstance(part, nn.Dropout))


@pytest.mark.slow
def test_dropout_is_set_where_a_network_has_it_and_else_before_its_last_layer() -> None:
    shape = (3, 32, 32)
    assert set(shares(building.build("mobilenet_v2", {}, shape, 10, 0))) == {0.2}
    assert set(shares(building.build("mobilenet_v2", {"dropout": "0.7"}, shape, 10, 0))) == {0.7}
    assert list(shares(building.build("resnet18", {}, shape, 10, 0))) == []
    network = building.build("resnet18", {"dropout": "0.7"}, shape, 10, 0)
    assert list(shares(network)) == [0.7]
    images = torch.rand(2, *shape)
    network.eval()
    with torch.no_grad():
        assert torch.equal(network(images), network(images))
        next(part for part in network.modules() if isinstance(part, nn.Dropout)).train()
        assert not torch.equal(network(images), network(images))


@pytest.mark.parametrize(
    ("name", "shape", "cause"),
    [
        (
            "squeezenet1_1",
            (1, 8, 8),
            r"^squeezenet1_1 cannot take images of 1x8x8 \(.+ too small\)",
        ),
        (
            "maxvit_t",
            (3, 100, 100),
            r"^maxvit_t cannot take images of 3x100x100 \(.+\); give anoth",
        ),
        ("resnet18", (4, 32, 32), "resnet18 takes images of 1 or 3 channels, not of 4"),
    ],
)
def test_images_that_a_network_cannot_take_are_told_in_a_sentence(
    name: str, shape: tuple[int, int, int], cause: str
) -> None:
    with pytest.raises(UnsupportedCell, match=cause):
        building.build(name, {}, shape, 10, seed=0)


def test_an_unknown_network_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown network 'resnet51'; did you mean 'resnet5"):
        networks.find("resnet51")
    with pytest.raises(UnknownNameError, match="unknown network 'timm:'"):
        networks.find("timm:")
    with pytest.raises(UnknownNameError, match="unknown timm network 'xception7'; did you mean"):
        building.build("timm:xception7", {}, CIFAR, 10, seed=0)


def test_every_network_that_is_named_is_found_without_importing_torch() -> None:
    code = (
        "import sys; from greenbatch.runners.training.design import networks, hyperparameters; "
        "from greenbatch.runners.training.data import datasets;"
        "[hyperparameters.check(networks.find(name).name, {}) for name in networks.names()];"
        "[datasets.find(name) for name in datasets.names()];"
        "print([n for n in ('torch', 'torchvision', 'timm', 'sklearn') if n in sys.modules])"
    )
    history = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert history.stdout.strip() == "[]"


def test_dense_linear_is_dense_with_widths_in_equal_steps() -> None:
    settings = {"linear_layers": "4"}
    names = (("dense-linear", settings), ("dense", {**settings, "width": "linear"}))
    widths = [
        [
            part.out_features
            for part in building.build(name, given, CIFAR, 10, seed=0).modules()
            if isinstance(part, nn.Linear)
        ]
        for name, given in names
    ]
    assert widths[0] == widths[1] == [2304, 1536, 768, 10]
