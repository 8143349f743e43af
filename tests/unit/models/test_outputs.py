"""What a network returns is tensors by name, or is refused by the place of what is none."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch

from greenbatch.errors import ExportError
from greenbatch.models.outputs import flatten


class Pair(NamedTuple):
    """A named tuple."""

    boxes: torch.Tensor
    scores: torch.Tensor | None = None


@dataclass
class Answer:
    """A dataclass."""

    logits: torch.Tensor
    loss: torch.Tensor | None = None
    extra: Any = None


@dataclass
class Output(OrderedDict[str, Any]):
    """Built as `transformers.utils.ModelOutput`: a mapping and a dataclass; None is no key."""

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    hidden_states: Any = None

    def __post_init__(self) -> None:
        for name in ("last_hidden_state", "pooler_output", "hidden_states"):
            if (member := getattr(self, name)) is not None:
                self[name] = member


A, B, C = torch.zeros(2, 5), torch.zeros(2, 3, 4), torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (A, ["logits"]),
        (A.half(), ["logits"]),
        (A.long(), ["output"]),
        (B, ["output"]),
        (torch.zeros(()), ["output"]),
        ((A, B), ["output_0", "output_1"]),
        ([A], ["output_0"]),
        ((A, None, B), ["output_0", "output_2"]),
        ({"scores": A, "boxes": B}, ["scores", "boxes"]),
        ({"out": A, "aux": None}, ["out"]),
        ({0: A, 1: B}, ["0", "1"]),
        (Pair(A, B), ["boxes", "scores"]),
        (Pair(A), ["boxes"]),
        (Answer(A), ["logits"]),
        (Answer(A, extra={"mask": B, "ids": (C, None)}), ["logits", "extra.mask", "extra.ids.0"]),
        (
            Output(A, hidden_states=(B, B)),
            ["last_hidden_state", *(f"hidden_states.{i}" for i in "01")],
        ),
        (
            [{"boxes": A, "labels": C}, {"boxes": A}],
            ["output_0.boxes", "output_0.labels", "output_1.boxes"],
        ),
        ((A, [B, Pair(A, C)]), ["output_0", "output_1.0", "output_1.1.boxes", "output_1.1.scores"]),
        ({"a.b": A, "a": {"b": B}, "a.b_2": C}, ["a.b", "a.b_2", "a.b_2_2"]),
        ({1: A, "1": B}, ["1", "1_2"]),
        ({"": A}, ["_"]),
    ],
)
def test_tensors_are_named_by_where_they_stand(value: object, names: list[str]) -> None:
    assert list(flatten(value)) == names


def test_each_name_leads_to_its_own_tensor() -> None:
    found = flatten({"scores": A, "more": (None, B, {"ids": C})})
    assert found["scores"] is A
    assert found["more.1"] is B
    assert found["more.2.ids"] is C


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (3, "a value of type int"),
        ("text", "a value of type str"),
        (Answer, "a value of type type"),
        ({"boxes": A, "count": 3}, "the member 'count' of type int"),
        (Answer(A, extra=[A, "cat"]), "the member 'extra.1' of type str"),
        ((A, {"names": {"cat"}}), "the member '1.names' of type set"),
        ((A, A.numpy()), "the member '1' of type numpy.ndarray"),
        ((A, A.to_sparse()), "the member '1' of layout torch.sparse_coo"),
        (A.to_sparse(), "a value of layout torch.sparse_coo"),
        ((), r"returns no tensor \(tuple\)"),
        ({"loss": None}, r"returns no tensor \(dict\)"),
        (None, r"returns no tensor \(NoneType\)"),
    ],
)
def test_what_is_no_tensor_is_refused_by_its_place(value: object, place: str) -> None:
    with pytest.raises(ExportError, match=f"net returns {place}|net {place}") as e:
        flatten(value, "net")
    assert "; wrap it in a module" in str(e.value)


def test_an_endless_nesting_is_refused() -> None:
    knot: list[Any] = [A]
    knot.append(knot)
    with pytest.raises(ExportError, match="nested deeper than 32 levels"):
        flatten(knot)


@pytest.mark.slow
def test_names_are_found_while_a_network_is_traced() -> None:
    class Net(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found = flatten({"scores": images.mean((2, 3)), "map": (images, None)})
            assert list(found) == ["scores", "map.0"]
            return tuple(found.values())

    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(Net(), (torch.zeros(2, 3, 4, 4),), dynamic_shapes=(batch,))
    assert [t.shape for t in program.module()(torch.zeros(3, 3, 4, 4))] == [(3, 3), (3, 3, 4, 4)]
