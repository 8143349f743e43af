"""From a model's name to where its time and energy go: what ``gb layers`` does."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from greenbatch.errors import UsageError
from greenbatch.workflows.inference import Listener, check_backends, meters_for, plan
from greenbatch.workflows.study_artifacts import export_models

if TYPE_CHECKING:
    from greenbatch.design.options import BenchOptions, StudyOptions
    from greenbatch.records import Manifest
    from greenbatch.records.layers import LayerRun

PARTS = 4
"""Number of parts that a network is cut into by default."""


def measure_layers(
    model: str,
    *,
    runtime: str = "onnxruntime",
    provider: str = "cpu",
    precision: str = "fp32",
    batch_size: int = 8,
    parts: int | None = None,
    artifacts_dir: Path = Path("artifacts"),
    listener: Listener | None = None,
    **members: Unpack["StudyOptions"],
) -> "LayerRun":
    """Export a model if it is not yet, and measure where its time and energy go.

    Args:
        model: A name in the registry or of an artifact, or what a user's own network comes from.
        runtime: ``onnxruntime`` or ``torch``.
        provider: ``cpu``.
        precision: Of the artifact.
        batch_size: Images per batch.
        parts: Into how many parts it is cut for the check; 0: it is not. `PARTS` where the runtime
            runs an ONNX graph.
        artifacts_dir: Where artifacts are, or will be made.
        listener: Is called with each step and the progress.
        members: Of the study: ``repetitions``, ``profile``, ``meters``, ...; see
            `greenbatch.design.options.StudyOptions`.

    Raises:
        UnknownNameError: A model, runtime or provider is not known.
        UsageError: The request is invalid.
        BackendUnavailable: The backend cannot run here.
        MeasurementError: Nothing could be measured, or another run is measuring on this machine.
    """
    from greenbatch.records import artifact_key
    from greenbatch.runners.host.cores import thread_count
    from greenbatch.runners.host.machine_lock import machine_for
    from greenbatch.runners.layers.session import LayerPlan, measure

    listener = listener or Listener()
    options: BenchOptions = {
        "precisions": [precision],
        **members,
        "runtimes": [runtime],
        "providers": [provider],
        "batch_sizes": [batch_size],
        "artifacts_dir": artifacts_dir,
        "out": "layers",  # only a name: nothing is written there
        "input": (),
        "network": "",
    }
    study, _ = plan([model], **options)
    (cell,) = study.cells()
    wanted = LayerPlan(
        cell=cell,
        parts=(PARTS if runtime == "onnxruntime" else 0) if parts is None else parts,
        repetitions=study.repetitions,
        threads=thread_count(study.threads),
        seed=study.seed,
        protocol=study.rules,
        source=study.sources.get(cell.model, ""),
    )
    with machine_for(f"layers of {cell.model}", share=None, on_step=listener.on_step):
        check_backends(study, listener)
        with meters_for(study) as metering:
            artifact = export_models(study, listener)[artifact_key(cell.model, cell.precision)]
            require_one_way(artifact.manifest)
            return measure(wanted, artifact, metering, listener.on_step)


def require_one_way(manifest: "Manifest") -> None:
    """Refuse a network that is no way from one tensor to one of fixed size: it cannot be cut.

    Raises:
        UsageError: It is none.
    """
    ends = (*manifest.inputs, *manifest.outputs)
    if len(ends) != 2 or ends[1].counted:
        named = ", ".join(f"{end.name} {' x '.join(map(str, end.dims))}" for end in ends)
        raise UsageError(
            f"{manifest.model} has the inputs and outputs {named}; gb layers is for networks of "
            "one input and one output of fixed size, measure it with gb bench"
        )
