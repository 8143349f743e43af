"""Code that a study names runs only where the user wrote it, allowed it or began the run."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.design.study import Study, make_study
from greenbatch.design.training_study import make_training_study
from greenbatch.errors import FileError, StudyError, UsageError
from greenbatch.models.sources.load import load
from greenbatch.models.sources.parse import Source
from greenbatch.records import Repetition, parse
from greenbatch.runners.run import consent
from greenbatch.runners.run.caches import compiled_code, of_cell
from greenbatch.user_folders import private_folder, runtime_folder
from tests.fakes.hostile import NETWORK, gb_in, imported, plant
from tests.fakes.runs import realistic_records, study, write_run
from tests.thorough import needs_thorough

NAMED = "the callable evilmod:build (network cool)"
STUDY = """
models: [cool]
sources: {cool: "evilmod:build"}
backends: [onnxruntime-cpu]
batch_sizes: [1]
repetitions: 1
profile: quick
meters: [none]
"""
QUICK = ("--provider", "cpu", "--profile", "quick", "--repetitions", 1, "--batch-sizes", "1,2")


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A folder with a study and two runs that name a module which lies beside them."""
    plant(tmp_path, "evilmod", code="def build():\n    raise SystemExit('built')\n")
    (tmp_path / "s.yaml").write_text(STUDY)
    members = study(["cool"], sources={"cool": "evilmod:build"})
    write_run(tmp_path / "base", realistic_records(models=["cool"]), members)
    write_run(tmp_path / "new", realistic_records(models=["cool"], spoil=_slower), members)
    return tmp_path


def _slower(repetition: Repetition) -> Repetition:
    """Another measurement, and no copy of it."""
    return replace(repetition, duration_s=1.01 * (repetition.duration_s or 0.0))


def own_study(**members: object) -> Study:
    """A study of a network of one's own."""
    return make_study(
        {
            "models": ["cool"],
            "backends": ["onnxruntime-cpu"],
            "batch_sizes": [1],
            "sources": {"cool": "evilmod:build"},
            **members,
        }
    )


# Commands that only read ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "report base",
        pytest.param("report base --json", marks=needs_thorough),
        "compare base new",
        "merge base new --out merged.nc",
        "recommend base --rate 10 --p99 1s",
        "study show s.yaml",
        "study show base/study.yaml",
        "study run s.yaml --dry-run",
        "bench --study s.yaml --dry-run",
        "bench --study base/study.yaml --dry-run",
        "bench evilmod:build --provider cpu --dry-run",
    ],
)
def test_reading_a_run_or_a_study_imports_nothing_that_it_names(
    stranger: Path, arguments: str
) -> None:
    ran = gb_in(stranger, *arguments.split())
    assert imported(stranger) == ""
    assert "Traceback" not in ran.stderr
    # That the run has no server, for `recommend`, is an answer too.
    assert ran.returncode == 0 or (arguments.startswith("recommend") and ran.stderr)


# Commands that measure --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "study run s.yaml",
        "study run s.yaml --set repetitions=2",
        "bench --study s.yaml",
        "bench --study base/study.yaml --out again",
        "bench --resume base",
    ],
)
def test_code_that_a_study_or_a_run_names_is_refused_with_its_name_and_the_cure(
    stranger: Path, arguments: str
) -> None:
    ran = gb_in(stranger, *arguments.split())
    assert imported(stranger) == ""
    assert ran.returncode == 2
    assert ran.stderr.startswith("gb: the ")
    assert ran.stderr.endswith(
        f" names what would run on this machine or be contacted from it: {NAMED}; look at it "
        "first, and if you trust it, add --trust (in Python: trust=True)\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["study", "run", "s.yaml", "--trust"], marks=needs_thorough),
        ["bench", "--study", "s.yaml", "--trust"],
        ["bench", "evilmod:build", "--provider", "cpu", "--meter", "none"],
        pytest.param(
            ["study", "run", "plain.yaml", "--set", "sources={cool: 'evilmod:build'}"],
            marks=needs_thorough,
        ),
    ],
)
def test_what_the_user_allows_or_writes_on_the_command_line_runs(
    stranger: Path, arguments: list[str]
) -> None:
    (stranger / "plain.yaml").write_text(STUDY.replace('sources: {cool: "evilmod:build"}', ""))
    ran = gb_in(stranger, *arguments)
    assert imported(stranger) != ""
    assert "calling evilmod:build raises SystemExit: built" in ran.stderr


def test_a_source_that_reads_like_an_option_is_refused(stranger: Path) -> None:
    with pytest.raises(StudyError, match="cool comes from '--help', which reads like an option"):
        own_study(sources={"cool": "--help"})


def test_all_that_is_imported_loaded_or_contacted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "fakes/backends"))
    named = consent.code_of(
        {
            "sources": {
                "a": "nets:build",
                "b": "timm:resnet18",
                "c": "net.onnx",
                "d": "d.pt2",
                "e": 3,
            },
            "backends": ["onnxruntime-cpu", "wrong-cpu", "unknown-cpu"],
            "meters": ["auto", "rapl", "wall:http://plug"],
            "settings": {
                "onnxruntime-tensorrt.provider.trt_extra_plugin_lib_paths": ["/tmp/evil.so"],
                "onnxruntime-qnn.provider.backend_path": "evil.so",
                "onnxruntime-cpu.allow_spinning": [0, 1],
                "onnxruntime-cuda.provider.gpu_mem_limit": "1.5",
            },
        }
    )
    assert named[0] == "the callable nets:build (network a)"
    assert named[-2:] == (
        "the file /tmp/evil.so (onnxruntime-tensorrt.provider.trt_extra_plugin_lib_paths)",
        "the file evil.so (onnxruntime-qnn.provider.backend_path)",
    )
    assert named[1:-2] == (
        "the installed backend wrong-cpu",
        "the meter wall:http://plug, which sends requests to that address",
    )
    assert consent.code_of(make_training_study({"models": ["dense"]})) == ()


# Runs that the user began -----------------------------------------------------------------------


def test_a_run_begun_here_is_known_but_no_copy_of_it_and_none_that_was_edited(
    tmp_path: Path,
) -> None:
    design, run = own_study(), tmp_path / "run"
    write_run(run, ())
    with pytest.raises(UsageError, match="evilmod:build"):
        consent.require(design, "the run", run=run)
    assert consent.remember(run, design) is None
    consent.require(design, "the run", run=run)
    shutil.copytree(run, tmp_path / "copy")
    with pytest.raises(UsageError, match="evilmod:build"):
        consent.require(design, "the run", run=tmp_path / "copy")
    edited = own_study(sources={"cool": "evilmod:other"})
    with pytest.raises(UsageError, match="evilmod:other"):
        consent.require(edited, "the run", run=run)


def test_a_note_that_cannot_be_made_is_no_consent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state/greenbatch").mkdir(parents=True)
    (tmp_path / "state/greenbatch").chmod(0o777)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    problem = consent.remember(tmp_path, own_study())
    assert problem is not None
    assert "may be written by other users" in problem
    with pytest.raises(UsageError, match="--trust"):
        consent.require(own_study(), "the run", run=tmp_path)


@needs_thorough
@pytest.mark.slow
def test_an_own_run_resumes_without_consent_and_reads_no_cache_in_it(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETWORK)
    gb_in(tmp_path, "export", "nets:build", "--input", "3x32x32", "--out", "artifacts")
    (tmp_path / "s.yaml").write_text(
        "models: [nets_build]\nsources: {nets_build: 'nets:build'}\nbackends: [torch-cpu]\n"
        "batch_sizes: [1, 2]\nrepetitions: 1\nprofile: quick\nprotocol: {window_s: 0.2}\n"
    )
    ran = gb_in(tmp_path, "bench", "--study", "s.yaml", "--trust", "--out", "run")
    assert ran.returncode == 0, ran.stderr
    journal = tmp_path / "run/journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    (tmp_path / "run/cache").mkdir()
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    refused = gb_in(tmp_path, "bench", "--resume", "copy")
    assert refused.returncode == 2
    assert "the callable nets:build" in refused.stderr
    ran = gb_in(tmp_path, "bench", "--resume", "run")
    assert ran.returncode == 0, ran.stderr
    assert "run/cache is not read" in ran.stderr
    assert len(parse(journal.read_bytes()).repetitions) == 2


# What is compiled -------------------------------------------------------------------------------


def interrupted(
    run: Path, design: Study, on_step: Callable[[str], None] = lambda sentence: None
) -> None:
    """Compile something in a new run, and be interrupted."""
    with compiled_code(run, design, resumed=False, on_step=on_step) as folder:
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
        of_cell(folder, "../../cell").mkdir()
        raise KeyboardInterrupt


def test_compiled_code_is_kept_outside_the_run_until_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    run, steps = tmp_path / "run", list[str]()
    planted = run / "cache" / "cell"
    planted.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        interrupted(run, own_study(), steps.append)
    assert steps == [f"{run / 'cache'} is not read: compiled code is kept outside of runs"]
    with compiled_code(run, own_study(), resumed=True) as folder:
        assert folder.parent == tmp_path / "home/greenbatch/compiled"
        assert list(folder.iterdir()) == [of_cell(folder, "../../cell")]
    assert not folder.exists()
    assert planted.exists()


def test_a_new_run_and_another_design_find_nothing_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for _ in range(2):  # the second is a new run at the place of the first
        with pytest.raises(KeyboardInterrupt):
            interrupted(tmp_path, own_study())
    with compiled_code(tmp_path, own_study(seed=1), resumed=True) as other:
        assert list(other.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: folder.chmod(0o770), "may be written by other users"),
        (lambda folder: os.chown(folder, 12345, -1), "belongs to user 12345"),
        (lambda folder: (folder.rmdir(), folder.symlink_to("/tmp")), "is a link"),
    ],
)
def test_a_folder_that_others_can_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: object, said: str
) -> None:
    assert callable(spoil)
    folder = private_folder(tmp_path, "greenbatch")
    try:
        spoil(folder)
    except PermissionError:
        pytest.skip("only root can give a folder away")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with (
        pytest.raises(FileError, match=said),
        compiled_code(tmp_path / "run", own_study(), resumed=True),
    ):
        pass
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(FileError, match=said):
        runtime_folder()


def test_without_a_home_folder_compiled_code_is_kept_for_the_session_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    steps: list[str] = []
    with compiled_code(tmp_path, own_study(), resumed=False, on_step=steps.append) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    assert "a temporary one takes its place" in steps[0]


# Callables --------------------------------------------------------------------------------------


def test_an_installed_module_comes_before_one_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "yaml", code=NETWORK)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"comes before \./yaml\.py, which needs another name"):
        load(Source("python", "yaml:build"))
    assert imported(tmp_path) == ""
