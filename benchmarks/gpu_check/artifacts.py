"""The second step: the five study models, exported in fp32 and fp16 with random weights."""

from collections.abc import Iterator

from benchmarks.gpu_check import children
from benchmarks.gpu_check.lines import Line, failed, not_run
from benchmarks.gpu_check.steps import Check

PRECISIONS = ("fp32", "fp16")
FOLDER = "artifacts"


def lines(check: Check, limit_s: float) -> Iterator[Line]:
    """Export, and load each artifact."""
    from greenbatch.errors import GreenbatchError
    from greenbatch.models.artifacts import has_manifest, load_artifact

    names = [f"{model} in {precision}" for model in check.models for precision in PRECISIONS]
    if not check.backends:
        for name in names:
            yield not_run(name, check.no_gpu or "no backend works on this GPU")
        return
    folder = check.scratch / FOLDER
    arguments = ["-m", "greenbatch.cli", "export", *check.models, "--weights", "random"]
    arguments += ["--precision", "fp16", "--out", str(folder)]
    ended = children.run(arguments, check.log("export"), limit_s)
    for model in check.models:
        for precision in PRECISIONS:
            name = f"{model} in {precision}"
            if not has_manifest(folder, model, precision):
                reason = ended.reason or "gb export made none"
                late = ended.code is None or ended.lacks_package
                yield not_run(name, reason) if late else failed(name, reason)
                continue
            try:
                artifact = load_artifact(folder, model, precision)
            except GreenbatchError as error:
                yield failed(name, str(error))
                continue
            check.artifacts.setdefault(model, []).append(precision)
            took = f"{artifact.manifest.export_s:.0f} s"
            yield Line(name, values={"exported in": took})
