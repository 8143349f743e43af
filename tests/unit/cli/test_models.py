"""``gb models``: the list of what can be measured, and its filters."""

import json
import re
from typing import Any

import pytest

from greenbatch.cli import main
from greenbatch.cli.models import parse_count
from greenbatch.errors import UsageError
from greenbatch.models import STUDY, find, names


def gb(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run ``gb models`` in this process; return its exit code, output and errors."""
    with pytest.raises(SystemExit) as exit_:
        main(["models", *arguments])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code, out, errors = gb(capsys, *arguments, "--json")
    assert (code, errors) == (0, "")
    entries: list[dict[str, Any]] = json.loads(out)
    return entries


def test_json_states_all_facts_of_all_models(capsys: pytest.CaptureFixture[str]) -> None:
    entries = listed(capsys)
    assert [entry["name"] for entry in entries] == list(names())
    (vit,) = (entry for entry in entries if entry["name"] == "vit_h_14")
    assert vit["weights"] == "IMAGENET1K_SWAG_LINEAR_V1"
    assert (vit["family"], vit["year"], vit["parameters"]) == ("vit", 2020, 632_045_800)
    assert (vit["flops"], vit["top1"]) == (167.295e9, 85.708)
    assert vit["input"]["shape"] == [3, 224, 224]
    assert vit["input"]["interpolation"] == "bicubic"


def test_filters_narrow_the_list_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert [entry["name"] for entry in listed(capsys, "--study")] == list(STUDY)
    both = listed(capsys, "--family", "vit", "--family", "googlenet")
    assert {entry["family"] for entry in both} == {"googlenet", "vit"}
    assert len(both) == 6
    exact = str(find("resnet50").parameters)  # the limit itself is within
    small = listed(capsys, "--family", "resnet", "--max-parameters", exact)
    assert [entry["name"] for entry in small] == ["resnet18", "resnet34", "resnet50"]
    studied = listed(capsys, "--study", "--max-parameters", "10M")
    assert [entry["name"] for entry in studied] == ["densenet121", "shufflenet_v2_x0_5"]


def test_the_other_families_are_listed_by_name_or_all_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "fcn_resnet50" not in {entry["name"] for entry in listed(capsys)}
    detectors = listed(capsys, "--family", "detection")
    assert {entry["family"] for entry in detectors} == {"detection"}
    assert all("detections" in entry["about"] for entry in detectors)
    assert len(listed(capsys, "--family", "all")) == len(names("all")) >= 121
    code, out, _ = gb(capsys, "--family", "video")
    assert (code, "3x16x112x112" in out) == (0, True)


def test_filters_that_leave_nothing_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, errors = gb(capsys, "--family", "vgg", "--max-parameters", "1M")
    assert (code, out) == (0, "")
    assert errors.startswith("gb: no model matches")
    assert listed(capsys, "--family", "vgg", "--max-parameters", "1M") == []


def test_a_wrong_family_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, errors = gb(capsys, "--family", "resnets")
    assert (code, out) == (2, "")
    assert errors == "gb: unknown family 'resnets'; did you mean 'resnet'?\n"


@pytest.mark.parametrize(
    ("text", "count"),
    [("30M", 30e6), ("30e6", 30e6), ("25_000_000", 25e6), (" 2.5m ", 2.5e6), ("1B", 1e9)],
)
def test_a_number_of_parameters_is_written_as_one_likes(text: str, count: float) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "M", "30MM", "thirty", "-1M", "0", "nan", "inf", "1e999"])
def test_what_is_no_number_of_parameters_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--max-parameters is '.*', which is not a positive"):
        parse_count(text)


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_the_table_is_whole_on_a_terminal_of_80_columns_and_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for terminal in (True, False):
        monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
        code, out, _ = gb(capsys)
        assert code == 0
        assert ("\x1b" in out) == terminal
        lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
        rows = [line.split() for line in lines[2:]]
        assert [row[0] for row in rows] == list(names())
        assert " ".join(rows[0]) == "alexnet alexnet 2012 61.10 M 0.71 G 56.52 % 3x224x224"
        narrow = terminal and columns < 90
        assert max(map(len, lines)) == (80 if narrow else 86)  # gaps of one column, or of two
        assert "…" not in out
