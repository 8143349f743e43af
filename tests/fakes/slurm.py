"""A real Slurm on this host: munged, slurmctld and a slurmd for each node, as root.

Debian's slurm-wlm can run several slurmd on one host, each under the name of a node.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
_SBIN = "/usr/sbin:/sbin"


def is_installed() -> bool:
    """Whether the daemons are here, and may be started."""
    return os.geteuid() == 0 and all(_daemon(name) for name in DAEMONS)


def _daemon(name: str) -> str | None:
    return shutil.which(name, path=os.environ["PATH"] + os.pathsep + _SBIN)


class Slurm:
    """A cluster whose files lie in a folder.

    Attributes:
        folder: Of configuration, state and logs.
        nodes: Names of the nodes; each has two CPUs, and an own port.
    """

    def __init__(self, folder: Path, nodes: Sequence[str]) -> None:
        self.folder = folder
        self.nodes = tuple(nodes)
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("munge", "state", *(f"spool-{node}" for node in nodes)):
            (folder / name).mkdir(parents=True)
        (folder / "munge").chmod(0o700)
        key = folder / "munge/key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._socket = folder / "munge/socket"
        self.configuration = folder / "slurm.conf"
        self.configuration.write_text(self._text())

    def _text(self) -> str:
        host = socket.gethostname()
        lines = [
            "ClusterName=test",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={_free_port()}",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            f"AuthInfo=socket={self._socket}",
            f"StateSaveLocation={self.folder}/state",
            f"SlurmdSpoolDir={self.folder}/spool-%n",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid",
            f"SlurmdPidFile={self.folder}/slurmd-%n.pid",
            f"SlurmctldLogFile={self.folder}/slurmctld.log",
            f"SlurmdLogFile={self.folder}/slurmd-%n.log",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU",
            "SchedulerParameters=sched_interval=1,batch_sched_delay=0",
            "MinJobAge=300",
            "KillWait=2",
            "ReturnToService=2",
            "SlurmdTimeout=30",
            "MpiDefault=none",
        ]
        lines += [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=1 "
            "State=UNKNOWN Feature=simulated"
            for node in self.nodes
        ]
        lines.append(f"PartitionName=lab Nodes={','.join(self.nodes)} Default=YES State=UP")
        return "\n".join(lines) + "\n"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make Slurm's commands use this cluster."""
        return {"SLURM_CONF": str(self.configuration)}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the daemons."""
        with ExitStack() as stack:
            stack.callback(self._stop)
            munge = self.folder / "munge"
            self._start(
                "munged",
                *("--foreground", "--force", f"--socket={self._socket}"),
                *(f"--key-file={munge}/key", f"--pid-file={munge}/pid"),
                *(f"--log-file={munge}/log", f"--seed-file={munge}/seed"),
            )
            self._wait(self._socket.exists, "munged")
            self._start("slurmctld", "-D", "-f", str(self.configuration))
            for node in self.nodes:
                self._start("slurmd", "-D", "-f", str(self.configuration), "-N", node)
            self._wait(self._is_idle, "slurm")
            yield

    def command(self, *words: str) -> str:
        """Run a command of Slurm; return what it prints, errors too."""
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.environment},
        )
        return done.stdout + done.stderr

    def _is_idle(self) -> bool:
        states = self.command("sinfo", "--noheader", "--Node", "--format=%T").split()
        return states == ["idle"] * len(self.nodes)

    def _start(self, name: str, *arguments: str) -> None:
        daemon = _daemon(name)
        assert daemon
        with (self.folder / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                [daemon, *arguments],
                stdout=out,
                stderr=out,
                env={**os.environ, **self.environment},
            )
        self._daemons[f"{name}{arguments[-1]}"] = process

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + 60
        while not ready():
            assert time.monotonic() < end_s, f"{what} does not start: {self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        """Return the ends of the logs."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-1500:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def _stop(self) -> None:
        self.command("scancel", "--quiet", "--full", "--user=root")
        for process in reversed(self._daemons.values()):
            process.terminate()
        for process in self._daemons.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
