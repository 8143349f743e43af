"""Records refuse what cannot be; the journal's lines survive a crash and show an alteration."""

import json
from typing import Any

import pytest

from greenbatch.errors import ArtifactError, JournalError
from greenbatch.records import (
    AS_RECORDED,
    Cell,
    EnergyFigure,
    EnergySource,
    Flag,
    IdleFigure,
    Manifest,
    Status,
    Traffic,
    WeightsRecord,
    encode,
    parse,
    parse_manifest,
)
from tests.fakes.records import IDLE, repetition


@pytest.mark.parametrize(
    "changes",
    [{"batch_size": 0}, {"batch_size": -1}, {"precision": "fp8"}, {"io": "disk"}, {"model": ""}],
)
def test_a_cell_refuses_factors_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Cell(**({"model": "alexnet", "backend": "torch-cpu"} | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"energy_j": None},
        {"energy_j": -1.0},
        {"energy_j": float("nan")},
        {"uncertainty_j": None},
        {"source": EnergySource.MISSING},
        {"source": EnergySource.MISSING, "energy_j": None, "reason": None},
    ],
)
def test_an_energy_figure_refuses_a_value_that_does_not_go_with_its_source(
    changes: dict[str, Any],
) -> None:
    members = {
        "domain": "gpu-0",
        "source": EnergySource.COUNTER,
        "energy_j": 1.0,
        "uncertainty_j": 0.1,
    }
    with pytest.raises(ValueError, match="gpu-0"):
        EnergyFigure(**(members | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"duration_s": None},
        {"images": 79},
        {"iterations": 0, "images": 0},
        {"latency_s": {}},
        {"flags": ("lucky",)},
        {"status": Status.OOM},
    ],
)
def test_a_repetition_refuses_to_be_ok_without_a_window_or_failed_without_a_reason(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"."):
        repetition(**changes)


def test_flags_make_a_mask() -> None:
    assert repetition().mask == Flag.UNSTEADY | Flag.DISTURBED
    assert Flag(5).names == ("unsteady", "disturbed")


def test_the_second_way_of_measuring_is_compared_with_the_first() -> None:
    figure = EnergyFigure(
        domain="gpu-0",
        source=EnergySource.COUNTER,
        energy_j=100.0,
        uncertainty_j=1.0,
        other_source=EnergySource.INTEGRATED,
        other_energy_j=94.0,
    )
    assert figure.disagreement == pytest.approx(-0.06)


def test_records_survive_the_journal() -> None:
    journal = parse(encode(repetition()) + encode(IDLE))
    assert journal.repetitions == (repetition(),)
    assert journal.idles == (IDLE,)
    assert journal.torn is None


def test_a_torn_last_line_is_left_out_wherever_it_was_torn() -> None:
    whole, last = encode(IDLE), encode(repetition())
    for length in range(1, len(last)):
        journal = parse(whole + last[:length])
        assert journal.repetitions == ()
        assert journal.valid_bytes == len(whole)
        assert journal.torn is not None
        assert "line 2" in journal.torn


def test_an_altered_number_is_noticed() -> None:
    altered = encode(repetition()).replace(b'"energy_j":4.0', b'"energy_j":3.0')
    with pytest.raises(JournalError, match="line 1: it was changed or damaged"):
        parse(altered + encode(IDLE))


def test_a_later_schema_is_refused_by_name() -> None:
    from greenbatch.records.journal import _canonical, _checksum

    members = {"schema": 99, "kind": "repetition"}
    line = _canonical(members | {"checksum": _checksum(members)}) + b"\n"
    with pytest.raises(JournalError, match="schema 99 is not known"):
        parse(line + encode(IDLE))


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"schema": 7}), '{"schema": 1}'])
def test_a_damaged_manifest_is_one_sentence_with_the_cure(text: str) -> None:
    with pytest.raises(ArtifactError, match=r"cannot read the manifest a\.json: .*gb export"):
        parse_manifest(text, "a.json")


def test_a_manifest_of_schema_2_opens_and_does_not_say_where_it_was_proved() -> None:
    manifest = Manifest(
        model="alexnet",
        precision="int8",
        file="alexnet-int8.onnx",
        sha256="0" * 64,
        size_bytes=1,
        opset=20,
        nodes=1,
        parameters=1,
        inputs=(),
        outputs=(),
        weights=WeightsRecord(kind="random", detail="seed 0", file="", sha256=""),
        parity=(),
        recipe="",
        exported_at="",
        export_s=0.0,
        proved_with="x86_64 avx2",
    )
    assert parse_manifest(manifest.to_json(), "a.json") == manifest
    members = json.loads(manifest.to_json())
    del members["proved_with"]
    old = parse_manifest(json.dumps(members | {"schema": 2}), "a.json")
    assert (old.schema, old.proved_with) == (2, "")


def test_a_servers_traffic_is_read_as_it_was_written() -> None:
    traffic = Traffic("poisson", "greedy:4", "50")
    cell = Cell("a", "b", scenario="server", batch_size=4, traffic=traffic.pairs)
    assert cell.served == traffic
    assert traffic.rate_hz == 50.0
    assert Traffic("replay:x", "greedy:4", AS_RECORDED).rate_hz is None
    with pytest.raises(ValueError, match="a on b at batch 1 has no traffic"):
        Cell("a", "b").served  # noqa: B018


@pytest.mark.parametrize("common", [-0.1, 0.3, float("nan")])
def test_the_common_part_of_an_uncertainty_is_a_part_of_it(common: float) -> None:
    with pytest.raises(ValueError, match=r"common part .* wanted 0 to 0\.2"):
        EnergyFigure(
            domain="gpu-0",
            source=EnergySource.COUNTER,
            energy_j=4.0,
            uncertainty_j=0.2,
            common_j=common,
        )
    with pytest.raises(ValueError, match=r"common part .* wanted 0 to 0\.2"):
        IdleFigure(
            domain="gpu-0",
            source=EnergySource.COUNTER,
            power_w=4.0,
            uncertainty_w=0.2,
            common_w=common,
        )
