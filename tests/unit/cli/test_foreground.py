"""A command in the foreground: each signal reaches it once, and its exit code is kept."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from greenbatch.cli.foreground import CannotRun, check_command, run

pytestmark = pytest.mark.slow
RUN = (
    *(sys.executable, "-c"),
    "import sys; from greenbatch.cli.foreground import run; sys.exit(run(sys.argv[1:]))",
)
WRAPPED = [
    *("INT", "QUIT", "TERM", "HUP", "USR1", "USR2", "ALRM", "WINCH", "CONT", "ABRT"),
    str(signal.SIGRTMIN + 3),
]


def number_of(name: str) -> int:
    return int(name) if name.isdecimal() else getattr(signal, f"SIG{name}")


def started(
    script: str, ignored: Sequence[int] = (), command: Sequence[str] = RUN
) -> subprocess.Popen[str]:
    """Start a shell script in the foreground of a process, and wait until it says 'ready'."""

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    process = subprocess.Popen(
        [*command, "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=ignore,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


WAIT = "i=0; while [ $i -lt 40 ]; do sleep 0.02; i=$((i+1)); done; echo $n; exit 7"


@pytest.mark.parametrize("name", WRAPPED)
def test_a_signal_reaches_the_command_once_and_its_exit_code_is_kept(name: str) -> None:
    process = started(f"n=0; trap 'n=$((n+1))' {name}; echo ready; {WAIT}")
    process.send_signal(number_of(name))
    assert process.communicate(timeout=30)[0] == "1\n"
    assert process.returncode == 7


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "USR1", "USR2"])
def test_the_exit_code_of_a_command_that_a_signal_ended_is_128_and_its_number(name: str) -> None:
    process = started("echo ready; exec sleep 60")
    process.send_signal(number_of(name))
    process.communicate(timeout=30)
    assert process.returncode == 128 + number_of(name)


@pytest.mark.parametrize("name", ["INT", "QUIT", "TERM", "HUP", "USR1"])
def test_what_was_ignored_from_the_start_stays_ignored_in_the_command(name: str) -> None:
    number = number_of(name)
    script = f"grep SigIgn /proc/self/status >&2; echo ready; n=0; {WAIT}"
    process = started(script, ignored=[number])
    os.killpg(process.pid, number)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (stdout, process.returncode) == ("0\n", 7)
    assert int(stderr.split()[1], 16) >> (number - 1) & 1


def test_the_exit_code_is_kept_where_the_parent_ignores_the_ends_of_its_children() -> None:
    process = started("echo ready; exit 7", ignored=[signal.SIGCHLD])
    process.communicate(timeout=30)
    assert process.returncode == 7


def test_what_the_command_sends_to_its_parent_does_not_come_back() -> None:
    process = started(f"n=0; trap 'n=$((n+1))' USR1; echo ready; kill -USR1 $PPID; {WAIT}")
    assert process.communicate(timeout=30)[0] == "0\n"


def on_terminal(script: str) -> tuple[int, int]:
    """Run a script as a job in the foreground of a terminal; return the job and the terminal."""
    job, terminal = pty.fork()
    if not job:
        os.execv(RUN[0], [*RUN, "sh", "-c", script])
    until(terminal, b"ready")
    return job, terminal


def until(terminal: int, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        seen += os.read(terminal, 1024)
    return seen


def test_ctrl_c_on_a_terminal_reaches_the_command_once() -> None:
    wait = WAIT.replace("$n", "count=$n=")
    job, terminal = on_terminal(f"n=0; trap 'n=$((n+1))' INT; echo ready; {wait}")
    os.write(terminal, b"\x03")
    assert b"count=1=" in until(terminal, b"=\r\n")
    assert os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]) == 7
    os.close(terminal)


def test_a_job_can_be_stopped_and_continued() -> None:
    process = started(f"n=0; echo ready; {WAIT}")  # its group has a parent in another session
    process.send_signal(signal.SIGTSTP)  # nobody could continue it: the system ignores it
    assert process.communicate(timeout=30)[0] == "0\n"
    # A job of this process's own session can be continued.
    job = subprocess.Popen(
        [*RUN, "sh", "-c", f"n=0; echo ready; {WAIT}"],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert job.stdout is not None
    job.stdout.readline()
    job.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(job.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    (child,) = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    end = time.monotonic() + 10
    while state_of(child) != "T" and time.monotonic() < end:
        time.sleep(0.01)
    assert state_of(child) == "T"
    job.send_signal(signal.SIGCONT)
    assert job.communicate(timeout=30)[0] == "0\n"
    assert job.returncode == 7


def state_of(process: str) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def script(path: Path, text: bytes) -> str:
    path.write_bytes(text)
    path.chmod(0o755)
    return str(path)


def test_a_script_without_an_interpreter_is_run_by_sh(tmp_path: Path) -> None:
    assert run([script(tmp_path / "plain", b"exit $1\n"), "9"]) == 9
    assert run([script(tmp_path / "empty", b"")]) == 0


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (b"#!/bin/sh\r\nexit 0\r\n", 127, r"interpreter '/bin/sh\\r' is not there; .* CR LF"),
        (b"#!/opt/none/python9 -E\n", 127, r"interpreter '/opt/none/python9' is not there"),
        (b"#!/etc/passwd\n", 126, r"interpreter '/etc/passwd' is not executable"),
        (b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\xf3\0" + bytes(200), 126, "no program for this mach"),
        (b"MZ\x90\0\3\0\0\0", 126, "no program for this machine"),
    ],
)
def test_what_the_system_does_not_start_is_one_cause(
    tmp_path: Path, text: bytes, code: int, words: str
) -> None:
    command = script(tmp_path / "it", text)
    check_command(command)
    with pytest.raises(CannotRun, match=words) as refusal:
        run([command])
    assert refusal.value.exit_code == code


def test_arguments_that_are_too_long_are_one_cause() -> None:
    with pytest.raises(CannotRun, match="argument list too long") as refusal:
        run(["true", "x" * 3_000_000])
    assert refusal.value.exit_code == 126


def test_what_is_no_command_is_refused_as_by_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.txt").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path.parent)
    for name, code, words in (
        ("", 127, "its name is empty"),
        ("no-such-command", 127, "there is no such command"),
        (tmp_path.name, 127, "there is no such command"),  # a folder here is no command
        ("data.txt", 126, "data.txt is not executable"),
        (f"./{tmp_path.name}", 126, "it is a folder"),
        (f"{tmp_path}/data.txt", 126, "it is not executable"),
        (f"{tmp_path}/data.txt/x", 127, "there is no such command"),
        (f"{tmp_path}/loop", 126, "symbolic links"),
        ("./" + "x" * 300, 126, "name too long"),
    ):
        with pytest.raises(CannotRun, match=words) as refusal:
            check_command(name)
        assert refusal.value.exit_code == code
