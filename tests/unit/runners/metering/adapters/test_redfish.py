"""A server's management controller through the wall meter, against a simulated one."""

import hashlib
import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from greenbatch.errors import MeterUnavailable, UsageError
from greenbatch.records import EnergySource
from greenbatch.runners.metering import MeterOptions, Recorder
from greenbatch.runners.metering.adapters.redfish import RedfishNumbers, numbers
from greenbatch.runners.metering.adapters.wall import WallMeter
from tests.fakes.plug import FakePlug, redfish_metrics, redfish_power

pytest.importorskip("jmespath")

pytestmark = pytest.mark.alone

POWER_W = 344.0
OTHER = {"Name": "CPU Sub-system Power", "PowerConsumedWatts": 120}


def _open(plug: FakePlug, resource: str, fragment: str = "", **environ: str) -> WallMeter:
    argument = f"{plug.root}/redfish/v1/{resource}#{fragment}"
    return WallMeter.open(MeterOptions(argument=argument, environ=environ))


@pytest.mark.parametrize(
    ("resource", "answer"),
    [
        ("Chassis/1/Power", redfish_power(POWER_W)),
        ("Chassis/1/EnvironmentMetrics", redfish_metrics(POWER_W, 1e9)),
        (
            "Chassis/1/Sensors/TotalPower",
            {"@odata.type": "#Sensor.v1_8_0.Sensor", "Reading": POWER_W, "ReadingUnits": "W"},
        ),
    ],
)
def test_the_power_of_a_server_is_found_by_the_type_of_the_resource(
    resource: str, answer: dict[str, Any]
) -> None:
    with FakePlug(lambda _: answer) as bmc:
        bmc.credentials = "root:calvin"
        meter = _open(
            bmc, resource, "interval=0.05&counts=yes", GB_WALL_AUTH="127.0.0.1=root:calvin"
        )
        with Recorder([meter]) as recorder:
            time.sleep(0.3)
            t0_s = time.perf_counter()
            time.sleep(0.5)
            t1_s = time.perf_counter()
            recorder.settle(t1_s)
            (figure,) = recorder.energy(t0_s, t1_s)
    assert figure.counts
    assert figure.source is EnergySource.INTEGRATED
    assert figure.energy_j == pytest.approx(POWER_W * (t1_s - t0_s), rel=1e-6)
    assert "PowerSupplies" not in meter.domains[0].device
    assert set(bmc.paths) == {f"/redfish/v1/{resource}"}, "no link is followed"


def test_a_counter_in_joules_is_read_as_such() -> None:
    def answer(t_s: float) -> dict[str, Any]:
        metrics = redfish_metrics(POWER_W, 0)
        return {**metrics, "EnergyJoules": {"Reading": round(POWER_W * t_s, 1)}}

    with FakePlug(answer, refresh_s=0.05) as bmc:
        meter = _open(bmc, "Chassis/1/EnvironmentMetrics", "interval=0.02")
        (reading,) = meter.read().values()
        assert reading.energy_j == pytest.approx(POWER_W * time.perf_counter(), rel=0.01)
    assert meter.domains[0].source is EnergySource.COUNTER
    assert reading.power_w == POWER_W


def test_units_of_sensors_are_those_of_the_schema() -> None:
    sensor = {"@odata.type": "#Sensor.v1_8_0.Sensor", "Reading": 3}
    kilowatt_hours = numbers({**sensor, "ReadingUnits": "kW.h"}, "URL")
    assert kilowatt_hours == RedfishNumbers(None, "Reading", 3.6e6)
    assert numbers({**sensor, "ReadingUnits": "J"}, "URL").unit_j == 1.0
    with pytest.raises(MeterUnavailable, match="without a power"):
        numbers({**sensor, "ReadingUnits": "Cel"}, "URL")


def test_of_several_members_none_is_guessed() -> None:
    answer = redfish_power(POWER_W)
    answer["PowerControl"].append(OTHER)
    with FakePlug(lambda _: answer) as bmc:
        with pytest.raises(MeterUnavailable) as caught:
            _open(bmc, "Chassis/1/Power")
        meter = _open(bmc, "Chassis/1/Power", "power=PowerControl[0].PowerConsumedWatts")
        assert meter.read()["wall"].power_w == POWER_W
    assert "[0] 'System Input Power', [1] 'CPU Sub-system Power'" in str(caught.value)
    assert "power=PowerControl[0].PowerConsumedWatts" in str(caught.value)


def test_a_host_that_is_off_has_no_power_and_not_0() -> None:
    state = {"power_w": None}
    with FakePlug(lambda _: redfish_power(state["power_w"])) as bmc:
        with pytest.raises(MeterUnavailable, match="is the host on"):
            _open(bmc, "Chassis/1/Power")
        state["power_w"] = POWER_W  # type: ignore[assignment]
        meter = _open(bmc, "Chassis/1/Power")
        state["power_w"] = None
        reading = meter.read()["wall"]
    assert reading.power_w is None
    assert "PowerConsumedWatts" in str(reading.reason)


def test_a_controller_without_a_sensor_states_0_w_and_is_refused() -> None:
    with FakePlug(lambda _: redfish_power(0)) as bmc, pytest.raises(MeterUnavailable, match="0 W"):
        _open(bmc, "Chassis/1/Power")


def test_a_chassis_names_its_links() -> None:
    chassis = {
        "@odata.type": "#Chassis.v1_24_0.Chassis",
        "EnvironmentMetrics": {"@odata.id": "/redfish/v1/Chassis/1/EnvironmentMetrics"},
        "Power": {"@odata.id": "/redfish/v1/Chassis/1/Power"},
    }
    with FakePlug(lambda _: chassis) as bmc, pytest.raises(MeterUnavailable) as caught:
        _open(bmc, "Chassis/1")
    assert "type Chassis" in str(caught.value)
    assert "/redfish/v1/Chassis/1/EnvironmentMetrics or /redfish/v1/Chassis/1/Power" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "answer",
    [
        [],
        7,
        {"@odata.type": 3},
        {"PowerControl": [1]},
        {"@odata.type": "#Sensor.v1_8_0.Sensor", "ReadingUnits": ["W"]},
        {"@odata.type": "#EnvironmentMetrics.v1_3_0.EnvironmentMetrics", "PowerWatts": 7},
    ],
)
def test_anything_else_is_one_sentence(answer: object) -> None:
    with FakePlug(lambda _: answer) as bmc, pytest.raises(MeterUnavailable, match="write power="):
        _open(bmc, "Chassis/1/Power")


def test_how_often_a_controller_measures_can_be_stated() -> None:
    with FakePlug(lambda _: redfish_power(POWER_W)) as bmc:
        (domain,) = _open(bmc, "Chassis/1/Power", "refresh=10").domains
    assert domain.tick_s == domain.lag_s == 10.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody vouches for, in the name of another host, with its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here to make a certificate")
    file = tmp_path_factory.mktemp("tls") / "bmc.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subject = ["-nodes", "-days", "30", "-subj", "/CN=idrac-SVCTAG"]
    subprocess.run(
        [*command, *subject, "-keyout", str(file), "-out", str(file)],
        check=True,
        capture_output=True,
    )
    return file


def test_a_certificate_of_its_own_is_trusted_by_its_fingerprint_alone(certificate: Path) -> None:
    pem = certificate.read_text()
    pem = pem[pem.index("-----BEGIN CERTIFICATE") :]
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    environ = {"GB_WALL_AUTH": "127.0.0.1=root:calvin"}
    with FakePlug(lambda _: redfish_power(POWER_W), certificate=certificate) as bmc:
        with pytest.raises(MeterUnavailable, match=r"cannot trust .*fingerprint=") as caught:
            _open(bmc, "Chassis/1/Power", **environ)
        assert "self-signed" in str(caught.value)
        wrong = "0" * 64
        with pytest.raises(MeterUnavailable, match="nothing was sent"):
            _open(bmc, "Chassis/1/Power", f"fingerprint={wrong}", **environ)
        assert bmc.authorizations == []
        colons = ":".join(digest[i : i + 2] for i in range(0, 64, 2)).upper()
        meter = _open(bmc, "Chassis/1/Power", f"fingerprint={colons}", **environ)
        assert meter.read()["wall"].power_w == POWER_W


@pytest.mark.parametrize("url", ["http://bmc/redfish/v1/C", "https://bmc/redfish/v1/C"])
def test_a_fingerprint_is_64_digits_of_an_https_url(url: str) -> None:
    digits = "abcd" if url.startswith("https") else "0" * 64
    with pytest.raises(UsageError, match="wanted the SHA-256"):
        WallMeter.open(MeterOptions(argument=f"{url}#fingerprint={digits}"))
