"""Is a cell on a GPU as it should be? Its status, energy, placement, UUID, idle and net."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from benchmarks.gpu_check.lines import Line, failed, not_run

if TYPE_CHECKING:
    from greenbatch.records import EnergyFigure, Idle, Repetition

_CPU = "CPUExecutionProvider"
NO_UUID = "not reported by the process"
_ALIKE = 0.05  # of counter and integrated power, as the flag meter_disagrees
_NEGATIVE = 0.05  # of the gross energy: by so much the idle power may have been too high
_DENSE = ("vit_b_16", "convnext_base")
_FASTER = 1.5  # fp16 on tensor cores is several times as fast as fp32 without TF32
_DENSE_BATCH = 32


def name(model: str, backend: str, precision: str, batch_size: int) -> str:
    """Name a cell."""
    return f"{model} on {backend} in {precision} at batch {batch_size}"


def judge(repetition: "Repetition", idle_w: Mapping[str, float]) -> Line:
    """Return the line of a cell.

    Args:
        repetition: Of a backend on a CUDA device.
        idle_w: Idle power of its backend by domain, in W.
    """
    from greenbatch.records import Status

    cell = repetition.cell
    what = name(cell.model, cell.backend, cell.precision, cell.batch_size)
    if repetition.status in (Status.UNSUPPORTED, Status.NOT_RUN):
        return not_run(what, str(repetition.reason), on_gpu=True)
    if repetition.status is not Status.OK:
        return failed(what, str(repetition.reason), on_gpu=True)
    figure = gpu_figure(repetition)
    values = _values(repetition, figure, idle_w)
    faults = [*_faults(repetition, figure, idle_w)]
    if faults:
        return failed(what, "; ".join(faults), on_gpu=True, values=values)
    return Line(what, values=values, on_gpu=True)


def gpu_figure(repetition: "Repetition") -> "EnergyFigure | None":
    """Return the energy of the GPU that counts; ``None`` where there is none."""
    counted = [f for f in repetition.energy if f.domain.startswith("gpu") and f.counts]
    return next((f for f in counted if f.energy_j is not None), counted[0] if counted else None)


def idle_powers_w(idles: "Iterable[Idle]") -> dict[str, dict[str, float]]:
    """Return the lowest idle power that was measured by backend and domain, in W."""
    found: dict[str, dict[str, float]] = {}
    for idle in idles:
        powers = found.setdefault(idle.backend, {})
        for figure in idle.figures:
            if figure.power_w is not None:
                powers[figure.domain] = min(figure.power_w, powers.get(figure.domain, float("inf")))
    return found


def times_s(repetitions: "Iterable[Repetition]") -> dict[str, dict[str, float]]:
    """Return the time of an image, in s, of each model and backend at the large batch."""
    found: dict[str, dict[str, float]] = {}
    for each in repetitions:
        if each.cell.batch_size == _DENSE_BATCH and each.duration_s and each.images:
            key = f"{each.cell.model} on {each.cell.backend}"
            found.setdefault(key, {})[each.cell.precision] = each.duration_s / each.images
    return found


def tensor_cores(found: Mapping[str, Mapping[str, float]]) -> Iterator[Line]:
    """Check that fp16 is much faster than fp32 where matrix products take the time.

    Args:
        found: As `times_s` returns it.
    """
    for key, by_precision in found.items():
        if not key.startswith(_DENSE) or len(by_precision) < 2:
            continue
        ratio = by_precision["fp32"] / by_precision["fp16"]
        what, values = f"tensor cores: {key}", {"fp16 against fp32": f"{ratio:.1f} times as fast"}
        if ratio < _FASTER:
            reason = f"fp16 is {ratio:.2f} times as fast as fp32, wanted {_FASTER} or more"
            yield failed(what, reason, on_gpu=True, values=values)
        else:
            yield Line(what, values=values, on_gpu=True)


def _values(
    repetition: "Repetition", figure: "EnergyFigure | None", idle_w: Mapping[str, float]
) -> dict[str, str]:
    from greenbatch.records import total_energy

    assert repetition.duration_s
    assert repetition.images
    values = {"ms/image": f"{repetition.duration_s / repetition.images * 1e3:.3f}"}
    if figure is not None and figure.energy_j is not None:
        per_image = 1e3 / repetition.images
        stated = f" ±{(figure.uncertainty_j or 0.0) / max(figure.energy_j, 1e-12):.1%}"
        values["GPU mJ/image"] = f"{figure.energy_j * per_image:.2f}{stated} ({figure.source})"
        if figure.disagreement is not None:
            values["by power"] = f"{figure.disagreement:+.1%}"
        if (idle := idle_w.get(figure.domain)) is not None:
            values["idle W"] = f"{idle:.1f}"
            net_j = figure.energy_j - idle * repetition.duration_s
            values["net mJ/image"] = f"{net_j * per_image:.2f}"
    total = total_energy(repetition.energy)
    values["total mJ/image"] = (
        f"missing: {total.reason}"
        if total.energy_j is None
        else f"{total.energy_j * 1e3 / repetition.images:.2f} ({', '.join(total.sources)})"
    )
    placement = ", ".join(f"{n} {where}" for where, n in repetition.placement.items())
    sizes = repetition.settings.get("shape_nodes")
    values["placement"] = f"{placement}; sizes: {sizes}" if sizes else placement
    values["GPU"] = str(repetition.settings.get("gpu_uuid") or "not recorded")
    values["flags"] = ", ".join(repetition.flags)
    return values


def _faults(
    repetition: "Repetition", figure: "EnergyFigure | None", idle_w: Mapping[str, float]
) -> Iterator[str]:
    if on_cpu := repetition.placement.get(_CPU):
        yield f"{on_cpu} nodes ran on the CPU"
    if (uuid := repetition.settings.get("gpu_uuid")) == NO_UUID:
        yield f"the GPU that it computed on is not known: {uuid}"
    if figure is None:
        yield "no meter of a GPU counts: energy of the device is missing"
    elif figure.energy_j is None:
        yield f"energy of {figure.domain} is missing: {figure.reason}"
    elif figure.energy_j == 0:
        yield f"energy of {figure.domain} is 0 J under load"
    else:
        yield from _energy_faults(figure, idle_w, repetition.duration_s or 0.0)


def _energy_faults(
    figure: "EnergyFigure", idle_w: Mapping[str, float], duration_s: float
) -> Iterator[str]:
    assert figure.energy_j
    stated = (figure.uncertainty_j or 0.0) / figure.energy_j
    apart = figure.disagreement
    if apart is not None and abs(apart) > max(_ALIKE, stated):
        yield f"integrated power differs from the counter by {apart:+.1%}"
    if (idle := idle_w.get(figure.domain)) is None:
        yield f"idle power of {figure.domain} is missing"
    elif figure.energy_j - idle * duration_s < -max(_NEGATIVE, stated) * figure.energy_j:
        yield f"net energy is negative: idle {idle:.1f} W is more than the mean power under load"
