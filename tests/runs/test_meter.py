"""``gb meter``: the energy of any command, on simulated hardware whose power is known."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Gb
from tests.fakes import nvml
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.alone


needs_compiler = pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def gpu(tmp_path: Path, library: Path) -> nvml.FakeNvml:
    return nvml.FakeNvml(tmp_path / "gpu", library, low_w=200)


@needs_compiler
def test_sleep_under_200_w_is_200_w_times_its_duration(gb: Gb, gpu: nvml.FakeNvml) -> None:
    completed = gb("meter", "--json", "--meter", "nvml", "--", "sleep", 3, env=gpu.environment())
    result = json.loads(completed.stdout)
    assert result["schema_version"] == 1
    assert result["command"] == ["sleep", "3"]
    assert result["exit_code"] == 0
    assert result["duration_s"] >= 3
    (domain,) = result["domains"]
    truth_j = 200 * result["duration_s"]
    assert domain["domain"] == "gpu-0"
    assert domain["source"] == "counter"
    assert domain["counted"]
    assert domain["reason"] is None
    assert domain["energy_j"] == pytest.approx(truth_j, rel=5e-3)
    assert abs(domain["energy_j"] - truth_j) <= domain["uncertainty_j"]
    assert domain["power_mean_w"] == pytest.approx(200, rel=5e-3)
    assert domain["power_max_w"] == pytest.approx(200, rel=5e-3)
    assert result["total_energy_j"] == domain["energy_j"]


@needs_compiler
def test_a_lost_gpu_is_missing_with_the_reason_and_the_package_is_not(
    gb: Gb, gpu: nvml.FakeNvml, tmp_path: Path
) -> None:
    tree = Powercap(tmp_path / "sys")
    tree.add("intel-rapl:0", "package-0")
    lose = f"sleep 0.5; echo lost_from_s 0 >> {gpu.path}; sleep 0.5"
    with tree.running({"intel-rapl:0": PowerCurve(50.0)}):
        completed = gb(
            *("meter", "--json", "--", "sh", "-c", lose),
            env=gpu.environment() | tree.environment(),
        )
    result = json.loads(completed.stdout)
    lost, package = result["domains"]
    assert lost["domain"] == "gpu-0"
    assert lost["source"] is None
    assert lost["energy_j"] is None
    assert "GPU is lost" in lost["reason"]
    assert package["energy_j"] == pytest.approx(50 * result["duration_s"], rel=0.02)
    assert result["total_energy_j"] is None
    assert "GPU is lost" in result["total_reason"]


@needs_compiler
def test_the_table_goes_to_standard_error_and_the_commands_output_is_its_own(
    gb: Gb, gpu: nvml.FakeNvml
) -> None:
    completed = gb(
        "meter", "--meter", "nvml", "--", "echo", "hello", "--json", env=gpu.environment()
    )
    assert completed.stdout == "hello --json\n"
    assert "echo: 0." in completed.stderr
    assert "gpu-0" in completed.stderr
    assert "counter" in completed.stderr


@needs_compiler
def test_a_trace_holds_every_read(gb: Gb, gpu: nvml.FakeNvml, tmp_path: Path) -> None:
    command = ("meter", "--meter", "nvml", "--interval", 0.01, "--output", tmp_path / "energy.txt")
    for name in ("trace.csv", "trace.npz"):
        gb(*command, "--trace", tmp_path / name, "--", "sleep", 0.5, env=gpu.environment())
    with (tmp_path / "trace.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 40
    assert {row["domain"] for row in rows} == {"gpu-0"}
    assert all(float(row["power_w"]) == pytest.approx(200) for row in rows)
    energies_j = [float(row["energy_j"]) for row in rows]
    assert energies_j == sorted(energies_j)
    with np.load(tmp_path / "trace.npz") as arrays:
        assert arrays["gpu-0_t_s"][0] <= 0 < arrays["gpu-0_t_s"][1]
    assert "gpu-0" in (tmp_path / "energy.txt").read_text()


def test_the_exit_code_is_the_commands(gb: Gb) -> None:
    gb("meter", "--meter", "none", "--", "sh", "-c", "exit 7", expect=7)
    gb("meter", "--meter", "none", "--", "sh", "-c", "kill -9 $$", expect=128 + 9)
    missing = gb("meter", "--", "no-such-command", expect=127)
    assert missing.stderr == "gb: cannot run 'no-such-command': there is no such command\n"


def test_the_energy_of_an_interrupted_command_is_still_told(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "greenbatch.cli", "meter", "--json", "--meter", "estimate"),
            *("--", "sh", "-c", f"touch {tmp_path}/begun; exec sleep 60"),
        ],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C on a terminal: to both
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    result = json.loads(stdout)
    assert result["exit_code"] == 128 + signal.SIGINT
    assert result["domains"][0]["source"] == "estimated"
    assert result["domains"][0]["energy_j"] > 0


def test_no_option_is_wrong_in_silence(gb: Gb, tmp_path: Path) -> None:
    for options, words in (
        (["--meter", "nvlm"], "unknown meter 'nvlm'; did you mean 'nvml'?"),
        (["--interval", "0"], "interval_s is 0.0; wanted more than 0 s"),
        (["--trace", "trace.txt"], "--trace trace.txt ends in '.txt'; wanted .csv or .npz"),
        (["--output", tmp_path / "no" / "a.txt"], "does not exist; make"),
    ):
        completed = gb("meter", *options, "--", "true", expect=2)
        assert words in completed.stderr
        assert completed.stderr.count("\n") == 1


SH = f"{sys.executable} -m greenbatch.cli meter --meter none"


@pytest.mark.parametrize("end", [">/dev/full", ">&-", "| true"])
@pytest.mark.parametrize("code", [0, 7])
def test_a_result_that_standard_output_does_not_take_is_on_standard_error(
    end: str, code: int
) -> None:
    line = f"({SH} --json -- sh -c 'sleep 0.3; exit {code}'; echo code=$? >&2) {end}"
    completed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    text, _, rest = completed.stderr.rpartition("}\n")
    assert json.loads(text + "}")["exit_code"] == code
    sentence, ended = rest.splitlines()
    assert sentence.startswith("gb: cannot write to standard output: ")
    assert sentence.endswith("; the result is on standard error")
    assert ended == f"code={code or 2}"


@pytest.mark.parametrize("end", ["2>/dev/full", "2>&-"])
def test_a_result_that_standard_error_does_not_take_is_on_standard_output(end: str) -> None:
    line = f"{SH} -- sh -c 'exit 7' {end}"
    completed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert "sh: 0." in completed.stdout
    assert completed.returncode == 7


def test_a_result_or_trace_whose_file_cannot_be_written_is_still_shown(tmp_path: Path) -> None:
    for options, words in (
        (("--output", "/dev/full"), "gb: cannot write /dev/full: the disk is full"),
        (("--trace", tmp_path / "gone" / "a.csv"), f"gb: cannot write {tmp_path}/gone/a.csv: "),
    ):
        (tmp_path / "gone").mkdir(exist_ok=True)
        completed = subprocess.run(
            [*SH.split(), *options, "--", "rm", "-r", tmp_path / "gone"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "rm: 0." in completed.stderr
        assert completed.stderr.splitlines()[-1].startswith(words)
        assert completed.returncode == 2


def test_no_output_at_all_is_an_exit_code() -> None:
    line = f"{SH} -- true >/dev/full 2>/dev/full"
    completed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stdout + completed.stderr) == (2, "")


def test_what_the_system_does_not_start_is_one_sentence(gb: Gb, tmp_path: Path) -> None:
    script = tmp_path / "lost.py"
    script.write_text("#!/opt/none/python9\n")
    script.chmod(0o755)
    completed = gb("meter", "--meter", "none", "--", script, expect=127)
    assert completed.stderr.startswith(
        f"gb: cannot run '{script}': its interpreter '/opt/none/pyth"
    )
    assert completed.stderr.count("\n") == 1


def test_the_command_under_nohup_outlives_its_terminal() -> None:
    line = f"trap '' HUP; exec {SH} -- sh -c 'kill -HUP $$ $PPID; sleep 0.2; echo alive'"
    completed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stdout) == (0, "alive\n")
