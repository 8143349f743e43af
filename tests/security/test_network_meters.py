"""A meter that reads an address: consent, credentials for their host alone, bounded answers."""

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from greenbatch.design.study import make_study
from greenbatch.design.training_study import make_training_study
from greenbatch.errors import MeterUnavailable, RunError, UsageError
from greenbatch.runners.metering import MeterLost, MeterOptions
from greenbatch.runners.metering.adapters.wall import WallMeter
from greenbatch.runners.run.directory import RunDirectory, TrainingDirectory
from greenbatch.workflows import inference, training
from tests.fakes.plug import FakePlug, shelly
from tests.fakes.raw_server import OK, dribble, serving

pytest.importorskip("jmespath")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a .netrc."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def plug() -> Iterator[FakePlug]:
    with FakePlug(lambda t_s: shelly(60.0, 0.0)) as running:
        yield running


def _open(url: str, words: str = "power=apower", **environ: str) -> WallMeter:
    return WallMeter.open(MeterOptions(argument=f"{url}#{words}", environ=environ))


def test_a_password_goes_to_its_own_host_alone(plug: FakePlug) -> None:
    _open(plug.url, GB_WALL_AUTH="plug.local=ada:secret other=bob:x")
    assert plug.authorizations == [None]
    plug.credentials = "ada:se=c:ret"
    _open(plug.url, GB_WALL_AUTH="plug.local=x:y 127.0.0.1=ada:se=c:ret")


@pytest.mark.parametrize("old", ["ada:secret", "ada:sec=ret", "secret"])
def test_credentials_without_a_host_are_sent_nowhere(plug: FakePlug, old: str) -> None:
    with pytest.raises(UsageError, match="write GB_WALL_AUTH=HOST=USER:PASSWORD") as caught:
        _open(plug.url, GB_WALL_AUTH=old)
    assert old not in str(caught.value)
    assert plug.authorizations == []


def test_credentials_of_netrc_go_to_their_host_and_its_default_to_none(
    plug: FakePlug, home: Path
) -> None:
    netrc = home / ".netrc"
    netrc.touch(0o600)
    netrc.write_text("machine plug.local login x password y\ndefault login d password e\n")
    _open(plug.url)
    assert plug.authorizations == [None]
    netrc.write_text("machine 127.0.0.1 login ada password secret\n")
    plug.credentials = "ada:secret"
    _open(plug.url)
    netrc.write_text("machine\n")
    with pytest.raises(MeterUnavailable, match=r"cannot read ~/\.netrc: "):
        _open(plug.url)


def test_a_password_within_a_url_stands_there_as_a_placeholder(plug: FakePlug) -> None:
    url = f"{plug.url}&auth_key={{password}}"
    with pytest.raises(MeterUnavailable, match=r"it wants the password of 127\.0\.0\.1"):
        _open(url)
    assert plug.paths == []
    meter = _open(url, GB_WALL_AUTH="127.0.0.1=:k/1&x=2")
    assert plug.paths == ["/status?id=0&auth_key=k%2F1%26x%3D2"]
    assert plug.authorizations == [None]
    assert "k/1" not in repr(meter.domains)
    assert "{password}" in meter.domains[0].device


@pytest.mark.parametrize(
    "query", ["auth_key=abc123", "id=0&apikey=abc123", "Token=abc123", "x=1;sig=abc123"]
)
def test_a_secret_written_into_a_url_is_refused_without_repeating_it(
    plug: FakePlug, query: str
) -> None:
    with pytest.raises(UsageError, match=r"write \w+=\{password\} and set GB_WALL_AUTH") as caught:
        _open(f"{plug.url}&{query}")
    assert "abc123" not in str(caught.value)
    assert plug.paths == []


@pytest.mark.slow
@pytest.mark.parametrize("part", ["status", "headers", "body"])
def test_a_server_that_dribbles_exceeds_the_deadline(part: str) -> None:
    with (
        serving(lambda: dribble(part), pause_s=0.2) as url,
        pytest.raises(MeterUnavailable, match=r"no answer within 1 s; give it more by timeout="),
    ):
        _open(url, "power=w&timeout=1")


def test_a_host_that_accepts_and_never_answers_exceeds_the_deadline() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(MeterUnavailable, match=r"no answer within 0\.2 s"),
    ):
        _open(f"http://127.0.0.1:{server.getsockname()[1]}/", "power=w&timeout=0.2")


def test_an_https_server_that_never_shakes_hands_exceeds_the_deadline() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(MeterUnavailable, match=r"no answer within 0\.2 s"),
    ):
        _open(f"https://127.0.0.1:{server.getsockname()[1]}/", "power=w&timeout=0.2")


DEEP = b"[" * 100_000 + b"]" * 100_000
ANSWERS: dict[str, tuple[Callable[[], Iterable[bytes]], str]] = {
    "endless": (lambda: (OK + b"\r\n", *repeat(b" " * 65536, 64)), "longer than 1 MiB"),
    "deep": (lambda: (OK + b"\r\n", DEEP), "nested too deep"),
    "not HTTP": (lambda: (b"SSH-2.0-\x1b[2J\r\n",), r"BadStatusLine: 'SSH-2\.0-\\x1b"),
    "nothing": (lambda: (), "RemoteDisconnected"),
    "huge number": (lambda: (OK + b"\r\n", b'{"w": 1' + b"0" * 400 + b"}"), "is inf W"),
    "keys": (lambda: (OK + b"\r\n", b'{"\\u001b[31m": 1}'), r"it holds '\\x1b\[31m'"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_hostile_answer_is_one_sentence(kind: str) -> None:
    answer, words = ANSWERS[kind]
    with serving(answer) as url, pytest.raises(MeterUnavailable, match=words) as caught:
        _open(url, "power=w")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/", "file:///etc/passwd", "ftp://x/"])
def test_no_redirect_is_followed(plug: FakePlug, target: str) -> None:
    plug.redirect = target
    with pytest.raises(MeterUnavailable, match="302, a redirect, which is not followed"):
        _open(plug.url)
    assert len(plug.paths) == 1


def test_a_server_that_dribbles_in_mid_run_is_a_missing_reading_with_a_reason(
    plug: FakePlug,
) -> None:
    meter = _open(plug.url, "power=apower&timeout=0.3")
    plug.hold_s = 1.0
    with pytest.raises(MeterLost, match=r"no answer within 0\.3 s"):
        meter.read()


def test_no_request_leaves_where_a_run_cannot_be_resumed_here(
    plug: FakePlug, tmp_path: Path
) -> None:
    path = _begun(tmp_path / "run", plug)
    file = path / "environment.json"
    file.write_text(json.dumps({"matters": {"cpu": "another one"}}))
    with pytest.raises(RunError, match=r"cannot resume .*: cores_granted was None"):
        inference.resume(path, trust=True)
    assert plug.paths == []


def test_no_request_leaves_where_trainings_cannot_be_resumed_here(
    plug: FakePlug, tmp_path: Path
) -> None:
    study = make_training_study({"models": ["simple-cnn"], "meters": [f"wall:{plug.url}#power=p"]})
    path = tmp_path / "run"
    with TrainingDirectory.create(path, study, {"matters": {"cpu": "another one"}}):
        pass
    with pytest.raises(RunError, match=r"cannot resume .*: cores_granted was None"):
        training.resume_training(path, trust=True)
    assert plug.paths == []


def test_a_network_meter_that_a_study_names_needs_consent() -> None:
    consent = pytest.importorskip("greenbatch.runners.run.consent")
    members = {"meters": ["auto", "wall:http://plug.local/#power=w"]}
    (named,) = consent.code_of(members)
    assert "wall:http://plug.local/#power=w" in named


def _begun(path: Path, plug: FakePlug) -> Path:
    study = make_study(
        {
            "models": ["alexnet"],
            "backends": ["torch-cpu"],
            "batch_sizes": [1],
            "meters": [f"wall:{plug.url}#power=apower"],
        }
    )
    with RunDirectory.create(path, study, {"matters": {}}):
        return path
