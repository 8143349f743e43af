"""Attribution: shares add up to the window, energies to the net energy, parts are held to both."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.analysis.findings.layer_attribution import BETWEEN, attribute
from greenbatch.cli.output import layers
from greenbatch.records import EnergyFigure, EnergySource, IdleFigure
from greenbatch.records.layers import (
    PROFILED,
    WHOLE,
    LayerBlock,
    LayerRun,
    LayerWindow,
    OperatorTime,
    Part,
)

BUSY_W, IDLE_W = 30.0, 10.0
BATCH = 4
PARTS = (
    Part(
        number=1, reads="x", writes="a", nodes=2, first_layer="features.0", last_layer="features.1"
    ),
    Part(number=2, reads="a", writes="y", nodes=1, first_layer="head", last_layer="head"),
)
COUNTER = EnergySource.COUNTER


def window(
    what: str,
    batch_s: float,
    *,
    power_w: float = BUSY_W,
    source: EnergySource = COUNTER,
    block: int,
) -> LayerWindow:
    """100 batches at a power."""
    duration_s = 100 * batch_s
    figure = EnergyFigure(
        domain="package-0",
        source=source,
        energy_j=power_w * duration_s,
        uncertainty_j=0.01 * power_w * duration_s,
    )
    return LayerWindow(
        what=what,
        block=block,
        position=0,
        duration_s=duration_s,
        iterations=100,
        settled=True,
        energy=(figure,),
    )


def operator(name: str, kind: str, layer: str, part: int, batch_s: float) -> OperatorTime:
    return OperatorTime(
        name=name, operator=kind, layer=layer, part=part, calls=100, time_s=100 * batch_s
    )


def block(number: int, scale: float = 1.0, *others: LayerWindow) -> LayerBlock:
    """The whole takes 100 ms a batch, 110 ms with the profiler, 99 of them in operators."""
    windows = {
        WHOLE: window(WHOLE, 0.100 * scale, block=number),
        PROFILED: window(PROFILED, 0.110 * scale, block=number),
        "part-1": window("part-1", 0.070 * scale, block=number),
        "part-2": window("part-2", 0.035 * scale, block=number),
    } | {other.what: other for other in others}
    return LayerBlock(
        block=number,
        windows=tuple(windows.values()),
        idle=tuple(
            IdleFigure(domain="package-0", source=COUNTER, power_w=IDLE_W, uncertainty_w=0.0)
            for _ in range(2)
        ),
        operators=(
            operator("c1", "Conv", "features.0", 1, 0.055 * scale),
            operator("r1", "Relu", "features.1", 1, 0.011 * scale),
            operator("fc", "Gemm", "head", 2, 0.033 * scale),
        ),
    )


def run(*blocks: LayerBlock, parts: tuple[Part, ...] = PARTS) -> LayerRun:
    return LayerRun(
        model="tiny",
        backend="onnxruntime-cpu",
        precision="fp32",
        batch_size=BATCH,
        threads=1,
        seed=0,
        artifact_sha256="0",
        started_at="2026-01-01T00:00:00+00:00",
        protocol={},
        parts=parts,
        blocks=blocks,
    )


THREE = run(block(0), block(1, 1.1), block(2, 0.9))


def test_shares_of_operators_and_of_the_time_between_add_up_to_the_window() -> None:
    found = attribute(THREE)
    for rows in (found.operators, found.by_operator(), found.by_layer(), found.by_layer(1)):
        assert sum(row.share.centre for row in rows) == pytest.approx(1, abs=1e-12)
        assert rows[-1].name == BETWEEN
        assert rows[-1].share.centre == pytest.approx(0.1)
    assert [row.share.centre for row in found.operators] == pytest.approx([0.5, 0.1, 0.3, 0.1])


def test_energy_is_the_net_energy_without_the_profiler_by_share_of_time() -> None:
    found = attribute(THREE)
    net_j = (BUSY_W - IDLE_W) * 0.1 / BATCH
    assert found.net.energy_j == pytest.approx(net_j)
    assert found.net.source == "measured"
    rows = {row.name: row for row in found.operators}
    assert rows["c1"].energy_j == pytest.approx(0.5 * net_j)
    assert sum(row.energy_j or 0 for row in found.operators) == pytest.approx(net_j)
    assert rows["c1"].time_s == pytest.approx(0.5 * found.time_s.centre)


def test_what_a_share_may_be_wrong_by_is_metering_and_the_parts_deviation() -> None:
    found = attribute(THREE)
    assert found.check
    first, second = found.check.parts
    # attributed 66 of 99, measured 70 of 105: the same
    assert first.deviation == pytest.approx(0, abs=1e-9)
    late = [block(i, 1.0, window("part-2", 0.07, block=i)) for i in range(3)]
    apart = attribute(run(*late))
    assert apart.check
    first, second = apart.check.parts
    assert second.energy_share
    assert second.energy_share.centre == pytest.approx(0.5)
    assert second.deviation == pytest.approx(1 - (1 / 3) / 0.5)
    row = next(row for row in apart.operators if row.name == "fc")
    assert row.energy_j
    assert row.energy_uncertainty_j == pytest.approx(
        0.3 * (apart.net.uncertainty_j or 0) + row.energy_j * second.deviation
    )


def test_the_profilers_share_is_the_ratio_of_neighbouring_windows() -> None:
    found = attribute(THREE)
    assert found.profiler_time.centre == pytest.approx(1.1)
    assert found.profiler_time.low == pytest.approx(1.1)  # what drifts between blocks cancels
    assert found.profiler_energy
    assert found.profiler_energy.centre == pytest.approx(1.1)


def test_parts_together_are_held_to_the_whole_in_time_and_net_energy() -> None:
    hot = [block(i, 1.0, window("part-2", 0.035, power_w=50.0, block=i)) for i in range(3)]
    check = attribute(run(*hot)).check
    assert check
    assert check.time.centre == pytest.approx(1.05)
    assert check.energy
    assert check.energy.centre == pytest.approx((20 * 0.070 + 40 * 0.035) / (20 * 0.100))


def test_net_energy_that_is_lost_in_its_uncertainty_is_not_compared() -> None:
    faint = [block(i, 1.0, window(WHOLE, 0.1, power_w=IDLE_W * 1.001, block=i)) for i in range(3)]
    check = attribute(run(*faint)).check
    assert check
    assert check.energy is None
    assert check.reason
    assert "too little to compare" in check.reason


def test_a_sensor_that_is_off_alike_everywhere_does_not_keep_parts_from_being_compared() -> None:
    def off(figure: EnergyFigure, duration_s: float) -> EnergyFigure:
        common_j = 30.0 * duration_s
        return replace(figure, uncertainty_j=common_j + 0.01, common_j=common_j)

    blocks = [
        replace(
            b,
            idle=tuple(replace(i, uncertainty_w=8.0, common_w=8.0) for i in b.idle),
            windows=tuple(
                replace(w, energy=tuple(off(f, w.duration_s) for f in w.energy)) for w in b.windows
            ),
        )
        for b in THREE.blocks
    ]
    check = attribute(run(*blocks)).check
    assert check
    assert check.energy, check.reason


def test_without_a_meter_there_are_times_and_a_reason() -> None:
    bare = [
        replace(b, idle=(), windows=tuple(replace(w, energy=()) for w in b.windows))
        for b in THREE.blocks
    ]
    found = attribute(run(*bare))
    assert found.net.energy_j is None
    assert {row.energy_j for row in found.operators} == {None}
    assert found.check
    assert found.check.energy is None
    assert found.check.parts[0].deviation == pytest.approx(0, abs=1e-9)  # of time, then
    assert "net energy not known: no meter was read" in layers.headline(found)


def test_an_estimate_and_a_measured_idle_power_do_not_meet() -> None:
    mixed = block(0, 1.0, window(WHOLE, 0.1, source=EnergySource.ESTIMATED, block=0))
    found = attribute(run(mixed))
    assert found.net.energy_j is None
    assert found.net.reason == "of energy and idle power of package-0 one is estimated"


def test_an_estimate_is_named_wherever_its_energy_stands() -> None:
    estimated = [
        replace(
            b,
            idle=tuple(replace(each, source=EnergySource.ESTIMATED) for each in b.idle),
            windows=tuple(
                replace(
                    w, energy=tuple(replace(f, source=EnergySource.ESTIMATED) for f in w.energy)
                )
                for w in b.windows
            ),
        )
        for b in THREE.blocks
    ]
    found = attribute(run(*estimated))
    assert "(estimated)" in layers.headline(found)
    assert any("(estimated)" in sentence for sentence in layers.sentences(found))
    assert json.loads(layers.layers_as_json(found, None))["energy_source"] == "estimated"


def test_one_repetition_has_shares_but_no_interval() -> None:
    found = attribute(run(block(0)))
    assert found.operators[0].share.low is None
    assert found.by_layer()[0].share.low is None
    assert json.loads(layers.layers_as_json(found, None))["check"]["time_ratio"]["low"] is None


def test_json_and_csv_hold_every_operator(tmp_path: Path) -> None:
    found = attribute(THREE)
    result = json.loads(layers.layers_as_json(found, 1))
    assert result["schema_version"] == 1
    assert [row["name"] for row in result["by_layer"]] == ["features", "head", BETWEEN]
    path = tmp_path / "rows.csv"
    layers.write_csv(found, path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1)
    assert {row["energy_source"] for row in rows} == {"measured"}


def test_a_network_that_was_not_cut_says_why() -> None:
    whole = replace(run(block(0), parts=()), uncut="it runs as one operator, and one cannot be cut")
    found = attribute(whole)
    assert found.check is None
    assert any("one cannot be cut" in sentence for sentence in layers.sentences(found))


def test_the_tables_tell_the_window_its_rows_and_what_they_rest_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    layers.show(attribute(THREE), 1)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith("tiny on onnxruntime-cpu, fp32, batch 4: per image 24.9 ms")
    for line in (
        "features 2 60.0% 14.9 ms 300 mJ ± ",
        "between operators 10.0% 2.49 ms 50 mJ ± ",
        "the window 100.0% 24.9 ms 500 mJ",
        "1 features.0 .. features.1 66.7% 66.7% 66.7%",
        "with the profiler a batch takes 110.0% (110.0% to 110.0%) of its time without it",
        "attributed by their share of the time, not measured: ± is what metering leaves, and how",
        "take together 105.0% (105.0% to 105.0%) of its time and 105.0% (105.0% to 105.0%) of its",
    ):
        assert line in printed, printed


def test_the_page_works_offline_and_has_a_bar_for_each_layer(tmp_path: Path) -> None:
    layers.write_page(attribute(THREE), tmp_path / "page.html", None)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count('<td class="name">features.0</td>') == 1
    assert page.count('<td class="name">head</td>') == 1
    assert "per image 24.9\xa0ms" in page
    assert "features.0 .. features.1" in page
    assert max(float(width) for width in re.findall(r"width:([0-9.]+)%\"></i>", page)) == 100


def test_a_name_with_tags_is_text_on_the_page(tmp_path: Path) -> None:
    hostile = replace(THREE, model="<script>alert(1)</script>")
    layers.write_page(attribute(hostile), tmp_path / "page.html", None)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
