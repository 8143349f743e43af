"""How children are started: forked from a server that has imported what they need, or afresh.

An interpreter and the imports of a runtime take from half a second to several, each time alike. A
fork of a process that has done it takes some milliseconds. Where a fork is not safe, or not wanted,
each child is a fresh interpreter, and the reason is known.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal, Self, TypeAlias

from greenbatch.errors import MessageError
from greenbatch.processes import python_command
from greenbatch.runners.child.fork_messages import (
    LARGEST_BYTES,
    Buried,
    Died,
    Fork,
    Forked,
    Serving,
)
from greenbatch.runners.child.handle import ChildProcess, Running, environment_with, kill_group
from greenbatch.runners.child.messages import MessageT, decode, encode

Isolation: TypeAlias = Literal["fork", "spawn"]

_SERVER_TIMEOUT_S = 120.0
_FORK_TIMEOUT_S = 10.0
_CLOSE_S = 5.0


class ServerFailed(Exception):
    """A fork server does not fork; the message is the reason."""


class UnsafeFork(ServerFailed):
    """A fork would not be safe, now and later."""


class ForkServer:
    """A process that forks children for one backend, in one environment.

    Args:
        backend: Its name.
        environment: All variables of the server and of its children.

    Raises:
        UnsafeFork: It must not be forked.
        ServerFailed: It does not answer.
    """

    def __init__(self, backend: str, environment: Mapping[str, str]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close
        with theirs:
            self._process = subprocess.Popen(
                python_command(
                    "greenbatch.runners.child.fork_server", backend, str(theirs.fileno())
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            if reason := self.receive(Serving, _SERVER_TIMEOUT_S).reason:
                raise UnsafeFork(reason)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def fork(self, stdin: int, stdout: int, stderr: int) -> int:
        """Fork a child with these descriptors; return its process id.

        Raises:
            UnsafeFork: It must not be forked any more.
            ServerFailed: It does not answer.
        """
        request = encode(Fork(cores=sorted(os.sched_getaffinity(0))))
        try:
            socket.send_fds(self._channel, [request], [stdin, stdout, stderr])
        except OSError as error:
            raise ServerFailed(self._end()) from error
        reply = self.receive(Forked, _FORK_TIMEOUT_S)
        if reply.pid is None:
            raise UnsafeFork(reply.reason or "the fork server gave no reason")
        return reply.pid

    def receive(self, kind: type[MessageT], timeout_s: float | None) -> MessageT:
        """Wait for a message.

        Raises:
            ServerFailed: The server ended, takes too long or sent something else.
        """
        self._channel.settimeout(timeout_s)
        try:
            line = self._channel.recv(LARGEST_BYTES)
        except (TimeoutError, BlockingIOError):
            raise ServerFailed(f"the fork server sent nothing for {timeout_s:g} s") from None
        except OSError:
            line = b""
        if not line:
            raise ServerFailed(self._end())
        try:
            return decode(line, kind)
        except MessageError as error:
            raise ServerFailed(f"the fork server sent an invalid message: {error}") from error

    def bury(self) -> None:
        """Let the server free the number of a child that has ended."""
        with contextlib.suppress(OSError):  # it has ended, and its children with it
            self._channel.send(encode(Buried()))

    def close(self) -> None:
        """End the server, and its child if there is one."""
        self._channel.close()
        try:
            self._process.wait(timeout=_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _end(self) -> str:
        """Say how the server ended."""
        try:
            code = self._process.wait(timeout=_CLOSE_S)
        except subprocess.TimeoutExpired:
            return "the fork server closed its channel"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f"; its last words: {lines[-1][:300]}" if lines else ""
        return f"the fork server ended ({code}){last}"


class _Fork(Running):
    """A forked child, seen from the process that asked for it."""

    def __init__(self, server: ForkServer, errors: int) -> None:
        self._server = server
        self._code: int | None = None
        (stdin, ours), (theirs, stdout) = os.pipe(), os.pipe()
        self.stdin, self.stdout = os.fdopen(ours, "wb"), os.fdopen(theirs, "rb")
        try:
            self.pid = server.fork(stdin, stdout, errors)
        except ServerFailed:
            self.stdin.close()
            self.stdout.close()
            raise
        finally:
            os.close(stdin)
            os.close(stdout)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return its exit code; ``None`` where it has not ended in time, or nobody knows."""
        if self._code is None:
            try:
                self._code = self._server.receive(Died, timeout_s).code
            except ServerFailed:
                return None
            self._server.bury()
        return self._code

    def kill(self) -> None:
        """Kill it, with all that it started."""
        if self._code is None and self._server.lives:  # else it has ended with its server
            kill_group(self.pid)
            self.wait(_CLOSE_S)


class Starter:
    """Starts children, and keeps the fork servers that it does it with; a context manager.

    A server has the environment that its children are to have from their first instruction on:
    libraries read some of it while they are imported. So there is one for each backend and each
    environment.

    Args:
        isolation: ``fork``: where it is safe. ``spawn``: each child is a fresh interpreter.
    """

    def __init__(self, isolation: Isolation = "fork") -> None:
        self._servers: dict[tuple[str, tuple[tuple[str, str], ...]], ForkServer] = {}
        self._refusals: dict[str, str] = {}
        self._fixed = "" if isolation == "fork" else "spawn"
        if isolation == "fork" and sys.platform != "linux":
            self._fixed = f"spawn: no fork servers on {sys.platform}"
        self.servers_s = 0.0
        """How long servers took to start, in s."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.close()

    def start(
        self,
        backend: str,
        timeout_s: float,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> ChildProcess:
        """Start a child for a job on a backend.

        Args:
            backend: Its name.
            timeout_s: From now, for all that is asked of it.
            environment: Variables that it gets beside those of this process.

        Returns:
            It; its ``isolation`` says how it was started.
        """
        if self._fixed:
            return ChildProcess(timeout_s, environment=environment, isolation=self._fixed)
        whole = environment_with(environment)
        key = (backend, tuple(sorted(whole.items())))
        while backend not in self._refusals:
            known = self._servers.get(key)
            try:
                fork = partial(_Fork, self._server(key, whole))
                return ChildProcess(timeout_s, begin=fork, isolation="fork")
            except ServerFailed as failure:
                self._drop(key)
                if known is None or isinstance(failure, UnsafeFork):
                    self._refusals[backend] = str(failure)
        isolation = f"spawn: {self._refusals[backend]}"
        return ChildProcess(timeout_s, environment=environment, isolation=isolation)

    def _server(
        self, key: tuple[str, tuple[tuple[str, str], ...]], environment: Mapping[str, str]
    ) -> ForkServer:
        if key in self._servers and not self._servers[key].lives:
            self._drop(key)  # somebody killed it
        if key not in self._servers:
            began_s = time.perf_counter()
            self._servers[key] = ForkServer(key[0], environment)
            self.servers_s += time.perf_counter() - began_s
        return self._servers[key]

    def _drop(self, key: tuple[str, tuple[tuple[str, str], ...]]) -> None:
        if server := self._servers.pop(key, None):
            server.close()
