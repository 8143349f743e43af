"""``gb layers`` on this machine's CPU, as a user types it, under meters of known power."""

import csv
import json
from pathlib import Path

import pytest

from tests.conftest import Gb
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve
from tests.thorough import needs_thorough

PACKAGE_W = 50.0
QUICK = ("--profile", "quick", "--repetitions", 2, "--batch-size", 2)


@pytest.mark.alone
@pytest.mark.slow
def test_shares_add_up_and_net_energy_is_nothing_where_idle_draws_the_same(
    gb: Gb, artifacts: Path, tmp_path: Path
) -> None:
    powercap = Powercap(tmp_path / "sys")
    powercap.add("intel-rapl:0", "package-0")
    with powercap.running({"intel-rapl:0": PowerCurve(PACKAGE_W)}):
        ran = gb(
            *("layers", "shufflenet_v2_x0_5", *QUICK, "--check", 2, "--weights", "random"),
            *("--meter", "rapl", "--artifacts", artifacts, "--json"),
            *("--csv", tmp_path / "rows.csv", "--raw", tmp_path / "raw.json"),
            env=powercap.environment(),
        )
    found = json.loads(ran.stdout)
    for rows in ("operators", "by_operator", "by_layer"):
        assert sum(row["share"] for row in found[rows]) == pytest.approx(1, abs=1e-9)
        assert all(row["share"] >= 0 for row in found[rows]), rows
    raw = json.loads((tmp_path / "raw.json").read_text())
    for block in raw["blocks"]:
        assert {window["what"] for window in block["windows"]} == {
            *("whole", "profiled", "part-1", "part-2")
        }
        for window in block["windows"]:
            truth_j = PACKAGE_W * window["duration_s"]
            assert window["energy"][0]["energy_j"] == pytest.approx(truth_j, rel=0.03)
    assert found["energy_source"] == "measured"
    gross_j = PACKAGE_W * found["time_s"]["value"]
    assert abs(found["energy_net_j"]) < 0.05 * gross_j
    assert found["check"]["time_ratio"]["value"] > 0
    with (tmp_path / "rows.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(found["operators"])
    assert any(
        row["layer"] == "conv1.0" and row["operator"] == "Conv" for row in found["operators"]
    )


@needs_thorough
@pytest.mark.slow
def test_torch_reports_its_modules_and_its_check_says_that_it_was_not_cut(
    gb: Gb, artifacts: Path
) -> None:
    printed = gb(
        *("layers", "shufflenet_v2_x0_5", *QUICK, "--runtime", "torch", "--weights", "random"),
        *("--meter", "none", "--artifacts", artifacts),
    ).stdout
    assert "aten::conv2d" in printed
    assert "between operators" in printed
    assert "net energy not known: no meter was read" in printed.replace("\n", " ")
    assert "it was not checked by parts" in printed
