"""A network that learns: its optimiser, its precision, and all that a checkpoint holds of it."""

import contextlib
import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypedDict

from greenbatch.runners.training.child.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from greenbatch.runners.training.child.feeding import Feeder

_AUTOCAST = {"amp-fp16": "float16", "amp-bf16": "bfloat16"}


class RandomState(TypedDict):
    """Where torch's generators of random numbers stand."""

    cpu: "torch.Tensor"
    cuda: "list[torch.Tensor]"


class SavedState(TypedDict):
    """What a checkpoint holds of a `TrainingState`, as torch gives it."""

    network: "dict[str, torch.Tensor]"
    optimizer: dict[str, object]
    scaler: dict[str, object]


@dataclass
class TrainingState:
    """A network with its optimiser, on one device.

    Attributes:
        network: In fp32.
        optimizer: Of its parameters.
        scaler: Keeps small gradients of fp16 from vanishing; it does nothing in other precisions.
        precision: One of `greenbatch.records.TRAINING_PRECISIONS`.
        device: Where it all is.
        still: Parts that stay in evaluation mode while the others learn.
    """

    network: "torch.nn.Module"
    optimizer: "torch.optim.Optimizer"
    scaler: "torch.amp.GradScaler"
    precision: str
    device: "torch.device"
    still: "list[torch.nn.Module]" = field(default_factory=list)

    def learn(self) -> None:
        """Put the network in training mode, all but what stays still."""
        self.network.train()
        for part in self.still:
            part.eval()

    def reduce_rate(self, factor: float) -> None:
        """Multiply the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] *= factor

    def step(self, images: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        """Learn from a batch; return its mean loss, shape (), on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = self._loss(self.network(images), labels)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def validate(
        self, feeder: "Feeder", scores: Scores, pulse: "Callable[[int], object] | None" = None
    ) -> None:
        """Pass over images without learning from them.

        Args:
            feeder: Of the images.
            scores: Takes loss and answers.
            pulse: Called with the number of images of each batch.
        """
        import torch

        self.network.eval()
        with torch.inference_mode():
            for images, labels in feeder.in_order():
                with self._autocast():
                    logits = self.network(images)
                    loss = self._loss(logits, labels)
                scores.add_loss(loss, len(labels))
                scores.add_answers(logits, labels)
                if pulse is not None:
                    pulse(len(labels))
        self.learn()

    def macs(self, shape: tuple[int, int, int]) -> int | None:
        """Count multiplications, each with an addition, for an image (C, H, W) that infers.

        Those of convolutions, matrix products and attention, as torch counts them; ``None`` where
        it counts none.
        """
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        self.network.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.network(torch.zeros(1, *shape, device=self.device))
        self.learn()
        return counter.get_total_flops() // 2 or None

    def twin(self) -> Self:
        """Return a copy that learns by itself."""
        network, optimizer, still = copy.deepcopy((self.network, self.optimizer, self.still))
        scaler = _scaler(self.precision, self.device)
        scaler.load_state_dict(self.scaler.state_dict())
        return type(self)(network, optimizer, scaler, self.precision, self.device, still)

    def wait(self) -> None:
        """Wait for the device to end all that it was given."""
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)

    def state(self) -> SavedState:
        """Return what a checkpoint holds."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: SavedState) -> None:
        """Take the place of the one whose `state` this was."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _loss(self, logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        import torch

        return torch.nn.functional.cross_entropy(logits.float(), labels)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        import torch

        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = getattr(torch, _AUTOCAST[self.precision])
        return torch.autocast(self.device.type, dtype=dtype)


def make_training_state(
    network: "torch.nn.Module",
    settings: dict[str, str],
    precision: str,
    device: "torch.device",
) -> TrainingState:
    """Put a network on its device and give it the optimiser that the settings ask for."""
    from greenbatch.runners.training.design import hyperparameters

    network = network.to(device).train()
    optimizer = hyperparameters.optimizer(settings, network.parameters())
    return TrainingState(network, optimizer, _scaler(precision, device), precision, device)


def _scaler(precision: str, device: "torch.device") -> "torch.amp.GradScaler":
    import torch

    return torch.amp.GradScaler(device.type, enabled=precision == "amp-fp16")


def random_state(device: "torch.device") -> RandomState:
    """Return where torch's generators of random numbers stand."""
    import torch

    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: RandomState, device: "torch.device") -> None:
    """Set torch's generators to where they stood."""
    import torch

    torch.set_rng_state(state["cpu"].cpu())
    for each in state["cuda"]:
        torch.cuda.set_rng_state(each.cpu(), device)
