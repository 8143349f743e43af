"""int8 on a processor with AVX2 and nothing newer, which qemu emulates.

Artifacts are exported here; the emulated process runs them and no more, for torch takes it minutes.
"""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from greenbatch.exporter import export_model
from greenbatch.exporter.precisions import int8
from greenbatch.exporter.precisions.calibration import draw_images
from greenbatch.models.agreement import arithmetic_fault, difference, fault
from greenbatch.models.artifacts import Artifact, load_artifact
from tests.cpus import logits
from tests.fakes.networks import Attention, Convolutional, exported

pytestmark = pytest.mark.emulated

EMULATOR = ("qemu-x86_64", "-cpu", "Haswell")
SATURATING = "signed, 8 bits"  # what was written up to schema 2 of manifests
IMAGES = 16
STUDY_MODEL = "shufflenet_v2_x0_5"  # the one of the study's that saturates most
NETWORKS = (STUDY_MODEL, "convolutional", "attention")


@dataclass(frozen=True)
class Emulated:
    """What was computed on the emulated processor, by network and form.

    Attributes:
        instructions: That it showed.
        got: Logits there.
        exact: Logits of the same graph computed in float32 here.
        fp32: Logits of the fp32 artifact here, by network.
    """

    instructions: str
    got: dict[tuple[str, str], NDArray[np.float32]]
    exact: dict[tuple[str, str], NDArray[np.float32]]
    fp32: dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    """Export each network in each form, and run all of them on the emulated processor."""
    if platform.machine() != "x86_64" or shutil.which(EMULATOR[0]) is None:
        reason = f"needs {EMULATOR[0]} on an x86-64 machine: apt-get install qemu-user"
        if os.environ.get("CI") or os.environ.get("GB_NEEDS_EMULATOR"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("emulated")
    got, exact, fp32 = {}, {}, {}
    for network in NETWORKS:
        artifact = export(tmp_path_factory.mktemp(network), network)
        learnt, judged = draw_images(artifact.manifest.input)
        some = judged.pixels[:IMAGES]
        np.save(folder / f"{network}.npy", some)
        fp32[network] = logits.logits_of(artifact.path, some, network)
        for index, form in enumerate((SATURATING, *int8.WEIGHTS)):
            path = folder / f"{network}.{index}.onnx"
            if form == SATURATING:
                int8.write_int8(artifact.path, path, network, learnt, reduce_range=False)
            else:
                int8.write_int8(artifact.path, path, network, learnt, weights=form)
            exact[network, form] = logits.logits_of(path, some, network, optimise=False)
            got[network, form] = np.empty(0, np.float32)
    command = [*EMULATOR, sys.executable, logits.__file__, str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for network, form in got:
        index = (SATURATING, *int8.WEIGHTS).index(form)
        got[network, form] = np.load(folder / f"{network}.{index}.npy")
    return Emulated(ran.stdout.strip(), got, exact, fp32)


def export(folder: Path, network: str) -> Artifact:
    """Export a network with random weights."""
    if network == STUDY_MODEL:
        export_model(network, folder, weights="random")
        return load_artifact(folder, network)
    return exported(folder, {"convolutional": Convolutional, "attention": Attention}[network]())


def test_the_emulated_processor_has_avx2_and_nothing_newer(emulated: Emulated) -> None:
    assert emulated.instructions == "x86_64 avx2"


def test_signed_weights_of_8_bits_saturate_there_and_are_refused(emulated: Emulated) -> None:
    key = STUDY_MODEL, SATURATING
    found = difference(emulated.exact[key], emulated.got[key])
    refused = arithmetic_fault(found, STUDY_MODEL, "gb export it")
    assert refused is not None
    assert "most likely products saturate in 16 bits" in refused
    assert refused.endswith("'gb export it'")


@pytest.mark.parametrize("weights", int8.WEIGHTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_an_artifact_holds_there(emulated: Emulated, network: str, weights: str) -> None:
    key = network, weights
    got = emulated.got[key]
    assert arithmetic_fault(difference(emulated.exact[key], got), network, "") is None
    assert fault(difference(emulated.fp32[network], got), "int8") is None
