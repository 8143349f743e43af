"""Inputs as a user writes them."""

import pytest

from greenbatch.models.sources.input_option import parse_inputs, spelled


@pytest.mark.parametrize(
    "texts",
    [
        ["3x224x224"],
        ["224x224x3:uint8"],
        ["image=3x64x64", "scale=2x1:float32:0.5"],
        ["image=3x64x64:float16", "ratio=scalar:int64:-1", "mask=4"],
    ],
)
def test_inputs_are_written_as_they_were_read(texts: list[str]) -> None:
    spec = parse_inputs(texts)
    assert spec is not None
    assert list(spelled(spec)) == texts
