"""A spoilt run gives a result or one sentence, and nothing outside of it is touched.

``GB_FUZZ_RUNS`` says how many runs are spoilt (``make fuzz``: 300); without it there are few, the
same each time.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import greenbatch
from greenbatch.cli.compare import NOT_DECIDED
from tests.fakes import sandbox, spoilt_runs, training_runs
from tests.fakes.served_run import served_run
from tests.fakes.traced_run import traced_run
from tests.thorough import THOROUGH, examples

pytestmark = pytest.mark.slow
RUNS = int(os.environ.get("GB_FUZZ_RUNS", "0"))
KINDS = ("traced", "served", "training", "factorial", "search", "golden")
_GOLDEN = Path(__file__).parents[1] / "golden"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound run of each kind, and another one that is like it."""
    folder = tmp_path_factory.mktemp("sound")
    traced_run(folder / "traced", models=("alexnet", "shufflenet_v2_x0_5"), batch_sizes=(1, 4))
    served_run(folder / "served", policies=("greedy:1", "fixed:4"))
    training_runs.plain_run(folder / "training")
    training_runs.factorial_run(folder / "factorial", blocks=3)
    training_runs.search_run(folder / "search")
    shutil.copytree(_GOLDEN / "run-settings", folder / "golden")
    for kind in KINDS:
        other = shutil.copytree(folder / kind, folder / f"{kind}-other")
        lines = (other / "journal.jsonl").read_bytes().splitlines(keepends=True)
        (other / "journal.jsonl").write_bytes(b"".join(lines[:-1]))
        if kind in ("traced", "training"):  # these come with a dataset, the others without
            greenbatch.open(folder / kind)
    return folder


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Counts what became of the commands, and prints it at the end."""
    counts: Counter[str] = Counter()
    yield counts
    print("\nfuzzed runs:", ", ".join(f"{what} {n}" for what, n in sorted(counts.items())))


@given(
    kind=st.sampled_from(KINDS),
    mutations=st.lists(
        st.sampled_from(sorted(spoilt_runs.MUTATIONS)), min_size=1, max_size=2, unique=True
    ),
    seed=st.integers(0, 2**32),
)
@settings(
    max_examples=RUNS or examples(1, 25),
    derandomize=not RUNS,
    phases=[Phase.generate],  # a failure prints its seed; making it smaller would take hours
    suppress_health_check=list(HealthCheck),
    database=None,
)
def test_a_spoilt_run_gives_a_result_or_one_sentence_and_touches_nothing_else(
    sound: Path, tally: Counter[str], kind: str, mutations: list[str], seed: int
) -> None:
    sandbox.forks()
    check(sound, tally, kind, mutations, seed)


def check(sound: Path, tally: Counter[str], kind: str, mutations: list[str], seed: int) -> None:
    """Spoil a copy of a run, open it by every command, and look at what they did."""
    draw = Random(seed)
    with sandbox.house() as house:
        run = house.inbox / "run"
        shutil.copytree(sound / kind, run)
        shutil.copytree(sound / f"{kind}-other", house.inbox / "sound")
        said = [
            mutate(run, house.home, draw)
            for name, mutate in spoilt_runs.MUTATIONS.items()
            for _ in range(mutations.count(name))
        ]
        tally["runs"] += 1
        before = house.snapshot()
        for arguments in _commands(kind):
            outcome = house.gb(*arguments)
            details = f"{kind} {seed} {said}: gb {' '.join(arguments)}\n{outcome.stderr[-2000:]}"
            tally[f"exit {outcome.code}"] += 1
            assert outcome.code in (0, 1, 2, 3, NOT_DECIDED), details
            assert "Traceback" not in outcome.stderr, details
            assert not _CONTROL.search(outcome.stdout + outcome.stderr), details
            assert "secret-of-the-decoy" not in outcome.stdout + outcome.stderr, details
            if outcome.code in (2, 3):
                said_so = [line for line in outcome.stderr.splitlines() if line.startswith("gb: ")]
                errors = [line for line in said_so if not line.startswith("gb: warning: ")]
                assert len(errors) == 1, details
                assert outcome.stderr.rstrip().endswith(errors[0]), details
            assert house.snapshot() == before, details
            assert not house.ran.exists(), details


def _commands(kind: str) -> list[tuple[str, ...]]:
    """Return the command lines that a run of this kind is opened with."""
    traffic = ("--rate", "20", "--p99", "500ms")
    resume: tuple[str, ...] = ("bench", "--resume", "run")
    if kind in ("training", "factorial", "search"):
        resume = ("study", "run", "run/study.yaml", "--dry-run")
    return [
        ("report", "run"),
        ("compare", "sound", "run"),
        ("merge", "sound", "run", "--out", "merged.nc", "--apart"),
        ("recommend", "run", *traffic),
        resume,
    ]


def test_a_sound_run_of_each_kind_is_opened_by_each_command(sound: Path) -> None:
    # else the test above would hold for a command that refuses everything
    sandbox.forks()
    worked: Counter[str] = Counter()
    kinds = KINDS if THOROUGH else ("served", "search", "golden")
    for kind in kinds:
        with sandbox.house() as house:
            shutil.copytree(sound / kind, house.inbox / "run")
            shutil.copytree(sound / f"{kind}-other", house.inbox / "sound")
            for arguments in _commands(kind):
                outcome = house.gb(*arguments)
                assert "Traceback" not in outcome.stderr, outcome
                worked[arguments[0]] += outcome.code in (0, 1, NOT_DECIDED)
    assert worked["report"] == len(kinds)
    assert worked["compare"] >= len(kinds) // 2, worked
    assert worked["merge"] >= len(kinds) // 2, worked
    assert worked["recommend"] >= 1, worked
