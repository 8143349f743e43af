"""A spoilt ``.onnx`` is proved, or refused in one sentence; nothing else happens."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenbatch.errors import GreenbatchError
from greenbatch.exporter.rebatch.rewrite import make_dynamic
from tests.thorough import examples
from tests.unit.exporter.rebatch import test_outputs as outputs
from tests.unit.exporter.rebatch import test_structure as structure

NUMBERS = (0, 1, -1, 2, 3, 7, 16, 300, -5)  # no larger: a Loop of 2**40 steps ends for nobody
WORDS = ("", "image", "flat", "x", "y", "é", "Reshape", "Add", "Identity", "MatMul", "If", "Shape")
KINDS = ("several", "detector", "quantised", *structure.FREED)


@cache
def sound(kind: str, batch: int) -> bytes:
    """A file that is sound."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if kind in structure.FREED:
            path = structure.written(folder, kind, structure.FREED[kind], batch)
        elif kind == "detector":
            path = outputs.detector(folder, batch)
        else:
            body = outputs.SEVERAL if kind == "several" else outputs.QOPERATOR
            constants = {**outputs.WHOLE, "anchors": outputs.ANCHORS}
            path = outputs.written(folder, outputs.IMAGE, body, batch, **constants)
        return path.read_bytes()


def messages(message: Any) -> Iterator[Any]:
    """All messages in a message."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for member in (value,) if hasattr(value, "ListFields") else value:
                yield from messages(member)


def with_other_bytes(data: bytes, rng: random.Random) -> bytes:
    """Change, drop or add some bytes."""
    spoilt = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        place, byte = rng.randrange(len(spoilt)), rng.randrange(256)
        how = rng.choice("ccda")
        spoilt[place : place + (how != "a")] = b"" if how == "d" else bytes([byte])
    return bytes(spoilt)


def with_another_field(data: bytes, rng: random.Random) -> bytes:
    """Change one field of one message."""
    model = onnx.load_model_from_string(data)
    message = rng.choice([each for each in messages(model) if each.ListFields()])
    field, value = rng.choice(message.ListFields())
    if isinstance(value, int):
        with suppress(ValueError):  # an enumeration takes its own numbers only
            setattr(message, field.name, rng.choice(NUMBERS))
    elif isinstance(value, str):
        setattr(message, field.name, rng.choice(WORDS))
    elif isinstance(value, bytes):
        setattr(message, field.name, rng.choice([value[:-1], value + b"\0", b""]))
    elif isinstance(value, float) or hasattr(value, "ListFields"):
        message.ClearField(field.name)
    elif rng.random() < 0.3:
        del value[rng.randrange(len(value))]
    elif field.message_type is not None:
        value.add().CopyFrom(rng.choice(value))
    elif isinstance(value[0], int | str):
        value[rng.randrange(len(value))] = rng.choice(
            NUMBERS if isinstance(value[0], int) else WORDS
        )
    spoilt: bytes = model.SerializeToString()
    return spoilt


@pytest.mark.slow
@settings(
    max_examples=examples(40, 1000),
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(kind=st.sampled_from(KINDS), batch=st.integers(1, 2), seed=st.integers(0, 2**32))
def test_a_spoilt_file_is_proved_or_refused_in_a_sentence(kind: str, batch: int, seed: int) -> None:
    if (kind, batch) == ("squeeze of all axes", 1):
        batch = 2
    rng = random.Random(seed)
    spoil = rng.choice([with_other_bytes, with_another_field, with_another_field])
    data = spoil(sound(kind, batch), rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(data)
        said = ""
        try:
            make_dynamic(path, Path(folder) / "free.onnx")
        except GreenbatchError as error:
            said = str(error)
        assert "\n" not in said
        assert (";" in said) == bool(said)
        assert (Path(folder) / "free.onnx").exists() == (not said)
