"""The table of backends: names are paired, found or refused, and each can be imported."""

import pytest

from greenbatch.errors import UnknownNameError
from greenbatch.runners import backends


def test_runtimes_and_providers_pair_into_backends() -> None:
    assert backends.pair(["onnxruntime", "torch"], ["cpu", "cuda"]) == [
        "onnxruntime-cpu",
        "torch-cpu",
        "onnxruntime-cuda",
        "torch-cuda",
    ]


@pytest.mark.parametrize(
    ("runtimes", "providers", "sentence"),
    [
        (["onnx"], ["cpu"], "unknown runtime 'onnx'; did you mean 'onnxruntime'"),
        (["torch"], ["rocket"], "unknown provider 'rocket'; choose one of cpu, cuda"),
    ],
)
def test_unknown_runtimes_and_providers_are_named(
    runtimes: list[str], providers: list[str], sentence: str
) -> None:
    with pytest.raises(UnknownNameError, match=sentence):
        backends.pair(runtimes, providers)


def test_every_backend_of_the_table_can_be_imported() -> None:
    for spec in backends.BACKENDS.values():
        assert callable(backends.resolve(spec).unavailable)
