"""Numbers of threads as a factor: one holds for all backends, several are settings of each."""

from collections.abc import Collection, Mapping

from greenbatch.design.field_types import listed
from greenbatch.design.known import Known
from greenbatch.records.cells import THREADS

_OWN_NAMES = ("intra_op_num_threads", "inference_num_threads", "num_threads", "num_of_threads")
"""What runtimes and providers call it."""


def with_threads(members: Mapping[str, object], known: Known | None) -> dict[str, object]:
    """Make several numbers of threads a setting of each backend that computes on the CPU.

    Args:
        members: Of an unchecked study.
        known: Says which backends compute on the CPU; ``None``: their names do.

    Raises:
        ValueError: No backend computes on the CPU, or its threads are set already.
    """
    found, numbers = dict(members), members.get(THREADS)
    if not isinstance(numbers, list | tuple):
        return found
    if len(numbers) == 1:
        return found | {THREADS: numbers[0]}
    if wrong := [one for one in numbers if type(one) is not int or one < 1]:
        raise ValueError(f"threads has {wrong[0]!r}; wanted whole numbers of 1 or more")
    if not numbers:
        raise ValueError("threads has no value; give one, or leave it out")
    backends = listed(members, "backends")
    on_cpu = [name for name in backends if (known.on_cpu(name) if known else _named_cpu(name))]
    if not on_cpu:
        raise ValueError(
            f"threads has {len(numbers)} values, and none of {', '.join(backends) or 'no backends'}"
            " computes on the CPU; give one number, or a backend on the CPU"
        )
    settings = members.get("settings") or {}
    if not isinstance(settings, Mapping):
        return found  # refused where settings are checked
    settings = dict(settings)
    keys = [f"{name}.{THREADS}" for name in on_cpu]
    if twice := [key for key in keys if key in settings]:
        raise ValueError(f"threads and settings ({twice[0]}) both set threads; leave one out")
    return found | {THREADS: 0, "settings": settings | {key: list(numbers) for key in keys}}


def check_one_name(settings: Collection[str]) -> None:
    """Check that no backend's threads are set under two names.

    Args:
        settings: Names of settings, ``BACKEND.NAME``.

    Raises:
        ValueError: One's are.
    """
    for key in settings:
        backend, _, name = key.partition(".")
        if name.rpartition(".")[2].lower() in _OWN_NAMES and f"{backend}.{THREADS}" in settings:
            raise ValueError(
                f"{key} and the threads of {backend} set the same; leave one of them out"
            )


def _named_cpu(backend: str) -> bool:
    return backend.endswith("-cpu")
