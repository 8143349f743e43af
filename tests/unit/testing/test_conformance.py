"""The conformance suite, run as its user does: it passes what is sound and names what is not."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from greenbatch.exporter import Origin, export_module
from greenbatch.exporter.precisions.export import export_lower
from greenbatch.models.weights.load import WeightsApplied, load_weights
from tests.fakes.networks import SPEC, Convolutional
from tests.unit.runners.backends.test_third_party import install, page_example

Suite = Callable[..., subprocess.CompletedProcess[str]]

_COMPUTE = "self._outputs = self._network.run(self._names, self._inputs)"
_IMAGES = "self._inputs = task.inputs()"
_FIRST = "self._outputs[0] = self._outputs[0]"
# Of each check, a change to the page's example that it must see.
FAULTS = {
    "test_its_packages_can_be_imported": [('("onnx.reference",)', '("onnx.nowhere",)')],
    "test_its_options_take_their_own_values": [("= {}, (", "= {'a': Exception('b')}, (")],
    "test_this_machine_can_run_it": [("return None  #", "return 'it is not here'  #")],
    "test_its_trial_runs": [('return {"cpu": 1}', "return {}")],
    "test_its_trial_runs_in_a_process_of_its_own": [
        ('return {"cpu": 1}', "import sys; return {'cpu': 'pytest' in sys.modules or 1 / 0}")
    ],
    "test_its_logits_agree_with_onnx_runtime": [
        (
            _IMAGES,
            (
                f"{_IMAGES}; name = next(iter(self._inputs)); "
                "self._inputs[name] = self._inputs[name][:1].repeat(len(task.images), 0)"
            ),
        )
    ],
    "test_outputs_is_a_copy": [("value.copy()", "value")],
    "test_running_again_gives_the_same": [(_COMPUTE, f"{_COMPUTE}; {_FIRST} * np.random.rand()")],
    "test_the_batch_is_left_as_it_was": [
        (_COMPUTE, f"{_COMPUTE}; next(iter(self._inputs.values()))[...] *= 1.00001")
    ],
    "test_it_says_where_it_runs": [('{"cpu": task.manifest.nodes}', "{}")],
    "test_with_a_fallback_allowed_it_says_whether_it_fell_back": [
        ('("onnx.reference",), False', '("onnx.reference",), None')
    ],
    "test_it_tells_what_is_in_force": [('"spinning": None, ', "")],
    "test_what_is_in_force_does_not_change_while_it_runs": [
        (_COMPUTE, f"{_COMPUTE}; self.settings = dict(self.settings, threads=id(object()))"),
    ],
    "test_a_lower_precision_is_kept_or_refused": [
        ('!= "fp32"', '== "int8"'),
        ("str(task.artifact)", "str(task.artifact.with_name('tiny-fp32.onnx'))"),
    ],
    "test_a_cache_changes_nothing_but_the_time": [
        (_COMPUTE, f"{_COMPUTE}; {_FIRST} * (1 + len(self._cached))"),
        (
            "self.placement =",
            (
                "self._cached = list(task.cache.iterdir()) if task.cache else []; "
                "task.cache and (task.cache / 'made').touch(); self.placement ="
            ),
        ),
    ],
}
# It checks greenbatch's own refusal.
UNBROKEN = {"test_a_setting_that_it_does_not_have_is_refused"}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small network in fp32 and fp16."""
    folder = tmp_path_factory.mktemp("artifacts")
    module = Convolutional()
    load_weights(module, SPEC, "random", 0)
    export_module(module, SPEC, folder, Origin(WeightsApplied("random", "seed 0"), "0" * 64))
    export_lower(SPEC.name, "fp16", folder)
    return folder


@pytest.fixture
def suite(tmp_path: Path, artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """A function that installs backends, name to code, and runs the suite on them elsewhere."""

    def run(codes: dict[str, str]) -> subprocess.CompletedProcess[str]:
        names = [f"{name}-cpu" for name in codes]
        points = {f"{name}-cpu": f"{name}_backend:Reference" for name in codes}
        install(tmp_path / "site", monkeypatch, "reference", points)
        for name, code in codes.items():
            (tmp_path / "site" / f"{name}_backend.py").write_text(code)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        command = [sys.executable, "-m", "pytest", "--pyargs", "greenbatch.testing", "-q", "-rA"]
        chosen = [f"--backend={name}" for name in names]
        path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [*command, *chosen, f"--artifacts={artifacts}", f"--model={SPEC.name}", "--tb=line"],
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def ended(printed: str, word: str) -> dict[str, set[str]]:
    """Return the checks that ended so, by the runtime that they checked."""
    found = defaultdict(set)
    pattern = rf"^{word} \S*::(\w+)\[(\w+)-cpu"
    for check, runtime in re.findall(pattern, printed, re.MULTILINE):
        found[runtime].add(check)
    return found


@pytest.mark.slow
def test_the_pages_backend_passes(suite: Suite) -> None:
    code, _, _ = page_example()
    ran = suite({"reference": code})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ended(ran.stdout, "PASSED")["reference"] == FAULTS.keys() | UNBROKEN


@pytest.mark.slow
def test_each_check_sees_the_fault_that_it_is_for(suite: Suite) -> None:
    code, _, _ = page_example()
    codes = {}
    for check, changes in FAULTS.items():
        broken = code
        for old, new in changes:
            assert old in broken, f"{check}: the page has no {old!r}"
            broken = broken.replace(old, new)
        codes[check] = broken
    ran = suite(codes)
    failed = ended(ran.stdout, "FAILED")
    assert {check for check in FAULTS if check not in failed[check]} == set(), ran.stdout


@pytest.mark.slow
def test_a_run_that_names_no_backend_says_so(suite: Suite) -> None:
    assert "--backend mine-cpu" in suite({}).stdout


@pytest.mark.slow
def test_a_run_of_other_tests_has_no_such_option(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_nothing(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "--backend", "torch-cpu", "test_other.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "unrecognized arguments: --backend" in ran.stderr
