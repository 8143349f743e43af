"""Units on the workers of a Dask cluster: one that runs already, or one on this machine.

A unit is a task that is pinned to its worker and depends on the unit before. The futures are
published under the fleet's name, so the units go on when the client leaves; the next client takes
back those that have not begun. Records come as events of the scheduler while a unit runs.
"""

import contextlib
import math
import os
import queue
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, TypeVarTuple

import msgspec

from greenbatch.errors import FleetError, GreenbatchError, first_line
from greenbatch.runners.fleet.artifact_store import CHUNK_BYTES, ArtifactStore
from greenbatch.runners.fleet.executors import Seen
from greenbatch.runners.fleet.machines import MachineFacts, look
from greenbatch.runners.fleet.messages import Assignment, Ended, FileRef, encode
from greenbatch.runners.fleet.session import end_measuring, measure_unit

if TYPE_CHECKING:
    from distributed import Client, Future

_CONNECT_S = 10.0
_HEARTBEAT_S = 20.0
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "10s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.work-stealing": False,
    "distributed.comm.timeouts.tcp": "60s",
}
"""Settings of Dask under which a worker takes next to nothing beside a measurement."""
_PERIODS_MS = {
    "profile": 0,
    "profile-cycle": 0,
    "tick": 0,
    "ticks": 0,
    "find-missing": 60_000,
    "monitor": 10_000,
    "memory_monitor": 10_000,
}
"""The same for workers that run already; 0: not at all."""


Given = TypeVarTuple("Given")
Answer = TypeVar("Answer")


class _PeriodicCallback(Protocol):
    """What is used of Tornado's class of that name."""

    callback: Callable[[], object]
    callback_time: float

    def stop(self) -> None: ...


class _Server(Protocol):
    """What is used of Dask's workers and nannies."""

    periodic_callbacks: Mapping[str, _PeriodicCallback]


class DaskCluster:
    """Units on the workers of a scheduler; see `greenbatch.runners.fleet.executors.Executor`.

    Args:
        client: Connected to the scheduler.
        fleet: Identifies the fleet.
        closing: What ends with this executor.
        own: Whether the cluster ends with this process.
    """

    name = "dask"
    come_s = 60.0
    awaited = 0

    def __init__(
        self, client: "Client", fleet: str, closing: contextlib.ExitStack, *, own: bool = False
    ) -> None:
        self._client = client
        self._fleet = fleet
        self._closing = closing
        self._own = own
        self._topic = f"greenbatch-{fleet}"
        self._inbox: queue.Queue[bytes] = queue.Queue()
        self._seen: dict[str, tuple[str, Seen]] = {}  # by worker address: machine and facts
        self._address: dict[str, str] = {}  # by machine
        self._futures: dict[str, list[tuple[str, Future[bytes]]]] = {}
        self._runs_on: dict[str, str] = {}  # machine: address of the worker of its units
        self._number = 0
        self._withdraw_published()
        client.subscribe_topic(self._topic, self._on_event)
        for _, event in client.get_events(self._topic) or ():
            self._take_event(event)

    @classmethod
    @contextlib.contextmanager
    def connected(cls, address: str, fleet: str) -> Iterator[Self]:
        """Use the workers of a scheduler that runs.

        Raises:
            FleetError: There is none, or it does not answer.
        """
        from distributed import Client

        with contextlib.ExitStack() as owned:
            try:
                client = Client(address, timeout=_CONNECT_S, set_as_default=False)
            except (OSError, ValueError) as error:
                raise FleetError(
                    f"no Dask scheduler answers at {address} ({first_line(error)}); start one with "
                    "'dask scheduler', or correct --scheduler"
                ) from error
            owned.callback(client.close, timeout=5)
            executor = cls(client, fleet, owned)
            try:
                yield executor
            finally:
                executor.close()

    @classmethod
    @contextlib.contextmanager
    def local(cls, environments: Sequence[Mapping[str, str]], fleet: str) -> Iterator[Self]:
        """Start a scheduler in this process and workers on this machine.

        Args:
            environments: Variables of each worker, on top of this process's.
            fleet: Identifies the fleet.
        """
        import dask
        from distributed import Client, Nanny, Scheduler, SpecCluster

        with contextlib.ExitStack() as owned:
            owned.enter_context(dask.config.set(QUIET))
            workers = {
                number: {
                    "cls": Nanny,
                    "options": {
                        "nthreads": 1,
                        "memory_limit": 0,
                        "env": dict(variables),
                        "config": QUIET,
                        "host": "127.0.0.1",
                        "silence_logs": "CRITICAL",
                    },
                }
                for number, variables in enumerate(environments)
            }
            scheduler = {
                "cls": Scheduler,
                "options": {"host": "127.0.0.1", "dashboard": False, "dashboard_address": None},
            }
            cluster = SpecCluster(scheduler=scheduler, workers=workers, silence_logs="CRITICAL")
            owned.callback(cluster.close, timeout=10)
            client = Client(cluster, set_as_default=False)
            owned.callback(client.close, timeout=5)
            executor = cls(client, fleet, owned, own=True)
            try:
                yield executor
            finally:
                executor.close()

    @property
    def link(self) -> str:
        """The address of Dask's dashboard; empty where it is off."""
        if self._own:
            return ""
        services = self._client.scheduler_info().get("services", {})
        return str(self._client.dashboard_link) if "dashboard" in services else ""

    def machines(self) -> dict[str, Seen]:
        """Return the machines of the workers that are connected; see `Executor`."""
        addresses = self._workers()
        new = [address for address in addresses if address not in self._seen]
        for address, answer in self._ask(new).items():
            self._seen[address] = answer
            self._hush(address)
        self._address = {}
        found: dict[str, Seen] = {}
        boots: dict[str, str] = {}
        for address in addresses:
            name, seen = self._seen[address]
            if seen.facts and boots.setdefault(name, seen.facts.boot) != seen.facts.boot:
                seen = Seen(None, f"two machines are named {name}; set GB_MACHINE on each")
            if name not in found:  # a second worker of a machine is not needed
                found[name] = seen
                self._address[name] = address
        return found

    def lacking(self, machine: str, files: Sequence[FileRef], folder: Path) -> list[FileRef]:
        """Return the files that a machine does not have; see `Executor`."""
        return self._on(machine, _lacking, tuple(files), str(folder))

    def send_file(self, machine: str, file: FileRef, path: Path) -> None:
        """Send a file to a machine in pieces; see `Executor`."""
        with path.open("rb") as source:
            offset = 0
            while True:
                data = source.read(CHUNK_BYTES)
                if offset and not data:
                    return
                self._on(machine, _add, file, data, offset)
                offset += len(data)
                if len(data) < CHUNK_BYTES:
                    return

    def submit(self, machine: str, assignments: Sequence[Assignment]) -> None:
        """Have a machine measure units one after another; see `Executor`."""
        chain = self._futures.setdefault(machine, [])
        before = chain[-1][1] if chain else None
        for assignment in assignments:
            self._number += 1
            stamp = f"{time.time_ns():x}-{self._number}"
            future = self._client.submit(
                _measure,
                encode(assignment),
                self._topic,
                before,
                key=f"{self._topic}-{machine}-{assignment.unit}-{stamp}",
                workers=[self._address[machine]],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
            future.add_done_callback(self._on_done(machine, assignment.unit))
            chain.append((assignment.unit, future))
            before = future
        self._runs_on[machine] = self._address[machine]
        self._publish()

    def lost(self) -> list[str]:
        """Return the machines whose worker is gone; see `Executor`."""
        connected = self._workers()
        return [
            machine
            for machine, chain in self._futures.items()
            if self._runs_on[machine] not in connected
            and any(not future.done() for _, future in chain)
        ]

    def withdraw(self, machine: str) -> list[str]:
        """Take back the units of a machine that have not begun; see `Executor`."""
        running = self._processing()
        chain = self._futures.pop(machine, [])
        kept = [each for each in chain if each[1].key in running]
        waiting = [each for each in chain if each not in kept and not each[1].done()]
        if kept:
            self._futures[machine] = kept
        self._client.cancel([future for _, future in waiting], force=True)
        return [unit for unit, _ in waiting]

    def receive(self, timeout_s: float) -> list[bytes]:
        """Return the messages that came; see `Executor`."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._inbox.get(timeout=timeout_s))
            while True:
                found.append(self._inbox.get_nowait())
        if not found and self._client.status not in ("running", "newly-created"):
            raise self._gone()
        return found

    def cancel(self) -> None:
        """End what runs, and take back the rest; see `Executor`."""
        for machine in [*self._futures]:
            self.withdraw(machine)
        self._withdraw_published()
        self._client.run(_end_processes, self._fleet, on_error="ignore")

    def close(self) -> None:
        """Leave; units on workers that this process did not start go on."""
        self._closing.close()

    def _workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers that are connected."""
        if self._client.status not in ("running", "newly-created"):
            raise self._gone()
        return tuple(self._client.scheduler_info(n_workers=-1)["workers"])

    def _gone(self) -> FleetError:
        address = getattr(self._client.scheduler, "address", "")
        return FleetError(
            f"the Dask scheduler {address} does not answer any more; what was measured is kept"
        )

    def _ask(self, addresses: Sequence[str]) -> dict[str, tuple[str, Seen]]:
        """Have workers describe their machines; the name of one that cannot is its address."""
        if not addresses:
            return {}
        answers = self._client.run(_look, workers=list(addresses), on_error="return")
        found = {}
        for address, answer in answers.items():
            if isinstance(answer, bytes):
                facts = msgspec.json.decode(answer, type=MachineFacts)
                found[address] = (facts.name, Seen(facts))
            else:
                found[address] = (address, Seen(None, _why_unfit(answer)))
        return found

    def _hush(self, address: str) -> None:
        """Have a worker and its nanny do less in the background."""
        for nanny in (False, True):
            with contextlib.suppress(Exception):  # a worker without a nanny
                self._client.run(_quieten, workers=[address], nanny=nanny, on_error="ignore")

    def _on(self, machine: str, function: Callable[[*Given], Answer], *arguments: *Given) -> Answer:
        """Call a function on a machine's worker."""
        try:
            answer: Answer = self._client.submit(
                function,
                *arguments,
                workers=[self._address[machine]],
                allow_other_workers=False,
                pure=False,
            ).result(timeout=120)
        except (OSError, TimeoutError, CancelledError) as error:
            raise FleetError(f"{machine} does not answer: {first_line(error)}") from error
        return answer

    def _on_event(self, event: tuple[float, object]) -> None:
        _, message = event
        self._take_event(message)

    def _take_event(self, message: object) -> None:
        if isinstance(message, bytes):
            self._inbox.put(message)

    def _on_done(self, machine: str, unit: str) -> "Callable[[Future[bytes]], None]":
        def put(future: "Future[bytes]") -> None:
            if future.status == "finished":
                self._inbox.put(future.result())
            elif future.status == "error":
                reason = f"its task failed: {first_line(future.exception())}"
                ended = Ended(machine=machine, unit=unit, outcome="failed", reason=reason)
                self._inbox.put(encode(ended))

        return put

    def _processing(self) -> set[str]:
        with contextlib.suppress(Exception):
            return {key for keys in self._client.processing().values() for key in keys}
        return set()

    def _publish(self) -> None:
        """Keep the futures alive on the scheduler, whatever becomes of this client."""
        if self._own:
            return
        every = [future for chain in self._futures.values() for _, future in chain]
        self._client.publish_dataset(every, name=self._topic, override=True)

    def _withdraw_published(self) -> None:
        """Take back what an earlier client submitted and has not begun."""
        with contextlib.suppress(KeyError):
            futures = self._client.get_dataset(self._topic)
            running = self._processing()
            waiting = [each for each in futures if not each.done() and each.key not in running]
            self._client.cancel(waiting, force=True)
            self._client.unpublish_dataset(self._topic)


def _why_unfit(answer: object) -> str:
    if lacking := re.search(r"No module named ['\"](\w+)", str(answer)):
        return f"its worker lacks the module {lacking[1]}; install greenbatch[fleet] there"
    if isinstance(answer, GreenbatchError):
        return str(answer)
    reason = first_line(answer) if isinstance(answer, Exception) else repr(answer)
    return f"its worker failed: {reason}"


# What follows runs on the workers.


def _look() -> bytes:
    return msgspec.json.encode(look())


def _lacking(files: Sequence[FileRef], folder: str) -> list[FileRef]:
    return ArtifactStore().lacking(files, folder)


def _add(file: FileRef, data: bytes, offset: int) -> None:
    ArtifactStore().add(file, data, offset)


def _measure(line: bytes, topic: str, before: object) -> bytes:
    """Measure a unit beside the worker; ``before`` only has it wait for another one."""
    from distributed import get_worker

    worker = get_worker()
    return measure_unit(line, lambda message: worker.log_event(topic, message), _environment())


def _environment() -> dict[str, str]:
    """Return the variables of this process without those that Dask's nanny set.

    It sets OMP_NUM_THREADS and its like to 1, which would decide how many threads are measured.
    """
    import dask

    found = dict(os.environ)
    for name, value in dask.config.get("distributed.nanny.pre-spawn-environ").items():
        if found.get(name) == str(value):
            del found[name]
    return found


def _end_processes(fleet: str) -> None:
    end_measuring(fleet)


def _quieten(dask_worker: _Server) -> None:
    """Have the background work of a worker or a nanny rest for longer."""
    for name, period_ms in _PERIODS_MS.items():
        if callback := dask_worker.periodic_callbacks.get(name):
            if period_ms:
                callback.callback_time = period_ms
            else:
                callback.stop()
    # The scheduler sets the period of the heartbeat anew with each answer.
    heartbeat = dask_worker.periodic_callbacks.get("heartbeat")
    if heartbeat and not isinstance(heartbeat.callback, _Seldom):
        heartbeat.callback = _Seldom(heartbeat.callback)


class _Seldom:
    """Calls what it wraps at most every `_HEARTBEAT_S`; a scheduler waits 5 minutes for one."""

    def __init__(self, wrapped: Callable[[], object]) -> None:
        self._wrapped = wrapped
        self._called_s = -math.inf

    def __call__(self) -> object:
        if time.monotonic() - self._called_s < _HEARTBEAT_S:
            return None
        self._called_s = time.monotonic()
        return self._wrapped()
