"""What a run keeps, and so what is published with it, holds no secret and nobody's name."""

import json
import platform
import socket
from pathlib import Path

import pytest
import yaml

import greenbatch
from greenbatch.design.files import read_study
from greenbatch.design.study import make_study
from greenbatch.errors import UsageError
from greenbatch.privacy import contracted, expanded, is_secret, masked
from greenbatch.records import Cell, EnergyFigure, EnergySource, Status, encode, parse
from greenbatch.runners.doctor import machine
from greenbatch.runners.metering import Metering
from greenbatch.runners.metering.opening import network_meters
from greenbatch.runners.run import environment
from greenbatch.runners.run.directory import differences
from tests.fakes import nvml, runs
from tests.fakes.records import repetition

UUID = "GPU-1a2b3c4d-0000-1111-2222-333344445555"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "people/ada"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wall:http://p/?id=0&auth_key=SECRET#power=w", "wall:http://p/?id=0&auth_key=***#power=w"),
        ("http://p/?a=1;token=SECRET", "http://p/?a=1;token=***"),
        ("http://p/?api%5Fkey=SECRET&x=1", "http://p/?api%5Fkey=***&x=1"),
        ("http://ada:SECRET@p/?id=0", "http://***@p/?id=0"),
        ("http://p/?auth_key={password}", "http://p/?auth_key={password}"),
        ("cannot read '/home/ada/x.png': gone", "cannot read '~/x.png': gone"),
        ("/Users/ada, /root and /root/.cache", "~, ~ and ~/.cache"),
        ("/mnt/root/x and /sys/home/x and /rooted", "/mnt/root/x and /sys/home/x and /rooted"),
        (f"nvml: gpu-0 (Example {UUID})", "nvml: gpu-0 (Example GPU-1a2b3c4d)"),
    ],
)
def test_secrets_homes_and_serials_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert masked(expected) == expected


def test_parameters_that_say_nothing_secret_stay() -> None:
    assert not any(map(is_secret, ("id", "cmnd", "channel", "outlet", "power", "signal", "unit")))
    assert all(map(is_secret, ("auth_key", "apiKey", "access_token", "pwd", "sig", "x-signature")))


def test_prose_in_the_journal_names_no_home_folder_and_the_cell_stays_itself(home: Path) -> None:
    figure = EnergyFigure(domain="wall", source=EnergySource.MISSING, reason=f"{home}/a is gone")
    record = repetition(
        cell=Cell("alexnet", "torch-cpu", settings=(("library", f"{home}/l.so"),)),
        status=Status.ERROR,
        reason=f"cannot read {home}/images/x.png: /home/bob/y",
        energy=(figure,),
        settings={"CACHE_DIR": f"{home}/.cache"},
    )
    (kept,) = parse(encode(record)).repetitions
    assert kept.reason == "cannot read ~/images/x.png: ~/y"
    assert kept.energy[0].reason == "~/a is gone"
    assert kept.settings == {"CACHE_DIR": "~/.cache"}
    assert kept.cell == record.cell, "a resume looks for it"


def test_the_environment_holds_neither_the_hosts_name_nor_whole_uuids(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "node", lambda: "ada-laptop")
    absent = {"wall": f"cannot read http://p/?key=SECRET: {home}/x", "nvml": f"{UUID!r} hides all"}
    study = make_study({"backends": ["torch-cpu"], "batch_sizes": [8], "models": ["alexnet"]})
    with nvml.no_library():
        described = json.dumps(environment.describe(study, Metering((), absent)))
    for secret in ("ada", "SECRET", UUID, socket.gethostname() + '"'):
        assert secret not in described
    assert "GPU-1a2b3c4d" in described


def test_a_machine_has_an_id_that_tells_it_from_its_twins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(host: str, number: str) -> str:
        monkeypatch.setattr(platform, "node", lambda: host)
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc/machine-id").write_text(f"{number}\n")
        return machine.look(tmp_path / "sys", tmp_path, {}).id

    a = found("node-1", "0123456789abcdef0123456789abcdef")
    assert found("node-1", "0123456789abcdef0123456789abcdef") == a
    assert len({a, found("node-2", "0" * 32), found("node-1", "0" * 32)}) == 3
    assert len(a) == 8


def test_a_machine_is_named_by_its_user() -> None:
    assert machine.look(environ={}).name is None
    assert machine.look(environ={"GB_MACHINE": "lab-3"}).name == "lab-3"
    for wrong in ("a\x1b[31m", "x" * 41, "<b>"):
        with pytest.raises(UsageError, match=r"GB_MACHINE is .*; wanted up to 40 letters"):
            machine.look(environ={"GB_MACHINE": wrong})


def test_a_study_keeps_paths_without_the_home_folder_and_finds_them_again(home: Path) -> None:
    members = {"backends": ["torch-cpu"], "batch_sizes": [8], "models": ["alexnet"]}
    study = make_study({**members, "artifacts_dir": f"{home}/artifacts", "weights": f"{home}/w.pt"})
    file = home / "study.yaml"
    file.write_text(study.to_yaml())
    assert str(home) not in file.read_text()
    again = read_study(file)
    assert (again.artifacts_dir, again.weights) == (f"{home}/artifacts", f"{home}/w.pt")
    assert again == study
    assert expanded(contracted(f"{home}x/y")) == f"{home}x/y"


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_a_report_of_an_older_run_masks_what_its_files_hold(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path / "run")
    described = runs.environment(gpus=[{"name": "Example", "uuid": UUID}])
    (run / "environment.json").write_text(json.dumps(described))
    study = yaml.safe_load((run / "study.yaml").read_text())
    study["meters"] = ["wall:http://p/?auth_key=SECRET#power=w"]
    (run / "study.yaml").write_text(yaml.safe_dump(study))
    dataset = greenbatch.open(run)
    page = greenbatch.report(run).page
    kept = "".join([json.dumps(dataset.attrs), page.read_text()])
    kept += (page.parent / "report.md").read_text()
    assert "SECRET" not in kept
    assert UUID not in kept
    assert "GPU-1a2b3c4d" in kept


def test_a_run_from_before_uuids_were_shortened_is_the_same_run() -> None:
    before = {"matters": {"domains": [f"nvml: gpu-0 (Example {UUID})"]}}
    assert differences(before, {"matters": {"domains": [f"nvml: gpu-0 ({masked(UUID)})"]}}) != []
    same = {"matters": {"domains": [masked(f"nvml: gpu-0 (Example {UUID})")]}}
    assert differences(before, same) == []


def test_what_a_network_meter_is_called_in_a_question_holds_no_secret() -> None:
    names = ["auto", "rapl", "estimate", "wall:http://h/?key=SECRET#power=p", "supply:BAT0", "amd"]
    assert network_meters(names) == ["wall:http://h/?key=***#power=p", "supply:BAT0"]
