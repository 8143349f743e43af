"""A message survives the wire; one that is not whole is refused by its sender and its receiver."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from operator import methodcaller
from typing import Any

import pytest

from greenbatch.errors import MessageError
from greenbatch.records import Status
from greenbatch.runners.child import handle, messages
from greenbatch.runners.child.handle import ChildFailed, ChildProcess
from greenbatch.runners.child.messages import (
    Ended,
    Fits,
    Loaded,
    Measured,
    MeasureRepetition,
    Message,
    Order,
    Probed,
    Ready,
    TryBatch,
    Warm,
    decode,
    encode,
)
from greenbatch.runners.layers import messages as layers
from greenbatch.runners.training import messages as training
from tests.fakes.messages import FROM_CHILD, FROM_PARENT, LOAD, MEASURED

EVERY = (*FROM_PARENT, *FROM_CHILD)


def kind_of(message: Message) -> str:
    return type(message).__name__


def changed(message: Message, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the line of a message after a change to its fields."""
    members = json.loads(encode(message))
    change(members["fields"])
    return json.dumps(members).encode() + b"\n"


def test_the_examples_are_all_messages_there_are() -> None:
    parts = {"Message", "Request", "Finished"}
    kinds = {
        name
        for module in (messages, training, layers)
        for name, found in vars(module).items()
        if isinstance(found, type) and issubclass(found, Message)
    }
    assert {kind_of(message) for message in EVERY} == kinds - parts


@pytest.mark.parametrize("message", EVERY, ids=kind_of)
def test_each_message_survives_the_wire(message: Message) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line, Ready, type(message)) == message


@pytest.mark.parametrize("message", EVERY, ids=kind_of)
def test_a_field_that_is_missing_unknown_or_of_another_type_is_refused(message: Message) -> None:
    for name in (each.name for each in fields(message)):
        missing = changed(message, methodcaller("pop", name))
        with pytest.raises(MessageError, match=f"{kind_of(message)}: {name} is missing"):
            decode(missing, type(message))
        typed = changed(message, methodcaller("update", {name: [[]]}))
        with pytest.raises(MessageError, match=rf"{kind_of(message)}: {name}\b"):
            decode(typed, type(message))
    extra = changed(message, lambda fields: fields.update(energy=1))
    with pytest.raises(MessageError, match=f"{kind_of(message)}: energy is unknown"):
        decode(extra, type(message))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"Segmentation fault\n", "got 'Segmentation fault.*', wanted Warm or Ended as JSON"),
        (b"\xff\xfe\n", "wanted Warm or Ended as JSON"),
        (b"[" * 100_000 + b"\n", "wanted Warm or Ended as JSON"),
        (b"[1]\n", "wanted Warm or Ended as JSON"),
        (b'{"kind": "Ended", "fields": {}}\n', "wanted Warm or Ended as JSON"),
        (encode(Ended()).replace(b"1", b"2", 1), "version 2, wanted 1; install greenbatch again"),
        (encode(Ready()), "got the message 'Ready', wanted Warm or Ended"),
        (encode(Warm(window_s=2.0)).replace(b"2.0", b"NaN"), "window_s is nan: .* finite number"),
        (encode(Warm(window_s=2.0)).replace(b"2.0", b"1e999"), "window_s is inf"),
        (encode(Warm(window_s=2.0)).replace(b"2.0", b'"2"'), "window_s is '2': .* valid number"),
        (encode(Warm(window_s=2.0)).replace(b"2.0", b"true"), "window_s is True"),
        (encode(Ended()).replace(b"{}", b"null"), "got an invalid Ended: None"),
    ],
)
def test_nonsense_is_one_sentence_with_what_came_and_what_was_wanted(
    line: bytes, sentence: str
) -> None:
    with pytest.raises(MessageError, match=sentence) as refused:
        decode(line, Warm, Ended)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_time_that_runs_backwards_is_refused() -> None:
    with pytest.raises(MessageError, match=r"window is \[12\.1, 10\.0\]: .* ends before it begins"):
        decode(changed(MEASURED, lambda fields: fields["window"].reverse()), Measured)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (Warm(window_s=math.nan), "cannot send Warm: window_s is nan"),
        (Probed(reason=5), "cannot send Probed"),  # type: ignore[arg-type]
        (replace(MEASURED, settings={"x": object()}), "cannot send Measured"),  # type: ignore[dict-item]
        (replace(MEASURED, pid=1.5), "cannot send Measured"),  # type: ignore[arg-type]
    ],
)
def test_who_sends_a_message_checks_it(message: Message, sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence) as refused:
        encode(message)
    assert "\n" not in str(refused.value)


def child_that_sends(monkeypatch: pytest.MonkeyPatch, *lines: bytes) -> ChildProcess:
    """Start a stand-in for the child, which sends these lines whatever it is sent."""
    code = f"import sys\nfor line in {lines!r}: sys.stdout.buffer.write(line)\n"
    code += "sys.stdout.flush(); sys.stdin.read()"
    monkeypatch.setattr(handle, "python_command", lambda *_: [sys.executable, "-S", "-c", code])
    return ChildProcess(60.0)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"Segmentation fault\n",
        b"\n",
        b"x" * 20_000 + b"\n",
        encode(Fits()),
        encode(Loaded()).replace(b"1", b"2", 1),
        changed(MEASURED, lambda fields: fields.pop("agreement")),
        changed(MEASURED, lambda fields: fields.update(energy_j=1.0)),
        changed(MEASURED, lambda fields: fields.update(cpu_s=math.nan)),
    ],
    ids=["text", "nothing", "long", "other", "version", "missing", "extra", "nan"],
)
def test_a_child_that_sends_nonsense_fails_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, nonsense: bytes
) -> None:
    monkeypatch.setattr(handle, "_LONGEST_LINE_BYTES", 10_000)
    request = next(each for each in FROM_PARENT if isinstance(each, MeasureRepetition))
    lines = (encode(Ready()), encode(Loaded()), nonsense)
    with child_that_sends(monkeypatch, *lines) as child, pytest.raises(ChildFailed) as failure:
        child.finish(request, Measured)
    assert failure.value.status is Status.ERROR
    assert failure.value.reason.startswith("the process sent an invalid message while measuring: ")
    assert "\n" not in failure.value.reason
    assert len(failure.value.reason) < 300


def test_a_child_that_sends_messages_is_heard_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    request = next(each for each in FROM_PARENT if isinstance(each, MeasureRepetition))
    sent = (Ready(), Loaded(), Warm(window_s=2.0), Ended(), MEASURED)
    heard: list[Message] = []
    with child_that_sends(monkeypatch, *map(encode, sent)) as child:
        assert child.finish(request, Measured, heard.append) == MEASURED
    assert heard == [*sent[1:-1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([b"measure, please\n"], "got 'measure, please.*', wanted Order as JSON"),
        ([encode(Ready())], "got the message 'Ready', wanted Order"),
        ([encode(Order(job="batch", backend="torch-gpu"))], "unknown backend 'torch-gpu'"),
        ([encode(Order(job="btach", backend="onnxruntime-cpu"))], "did you mean 'batch'"),
        (
            [
                encode(Order(job="batch", backend="onnxruntime-cpu")),
                changed(TryBatch(load=LOAD), lambda fields: fields["load"].pop("seed")),
            ],
            "got an invalid TryBatch: load.seed is missing",
        ),
        (
            [
                encode(Order(job="batch", backend="onnxruntime-cpu")),
                changed(TryBatch(load=LOAD), lambda fields: fields.update(hurry=True)),
            ],
            "got an invalid TryBatch: hurry is unknown",
        ),
        (
            [
                encode(Order(job="batch", backend="onnxruntime-cpu")),
                encode(TryBatch(load=LOAD)).replace(b"1", b"0", 1),
            ],
            "got a message of version 0, wanted 1",
        ),
    ],
    ids=["text", "other", "backend", "job", "missing", "extra", "version"],
)
def test_a_child_that_is_asked_nonsense_answers_with_one_sentence_and_ends(
    lines: list[bytes], sentence: str
) -> None:
    with ChildProcess(60.0) as child:
        assert child._process.stdin is not None
        child._process.stdin.write(b"".join(lines))
        child._process.stdin.flush()
        if len(lines) > 1:
            child.event(Ready)
        with pytest.raises(ChildFailed, match=sentence) as failure:
            child.event(Fits)
        assert child._process.wait(60.0) == 1
        child._errors.seek(0)
        assert b"Traceback" not in child._errors.read()
    assert "\n" not in failure.value.reason
