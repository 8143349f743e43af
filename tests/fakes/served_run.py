"""A run of servers: queues simulated from event to event, energies of a machine of two powers."""

import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.queueing.overload import load
from greenbatch.queueing.policies import parse_policy
from greenbatch.queueing.simulation import simulate
from greenbatch.records import Cell, EnergySource, Queue, Repetition, Traffic
from tests.fakes import runs

POLICIES = ("greedy:1", "greedy:16", "fixed:4", "fixed:16", "dynamic:16:20ms")
RATES_HZ = (40.0, 200.0)
BUSY_W = 30.0
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999, 1.0)


def served_run(
    path: Path,
    source: EnergySource = EnergySource.COUNTER,
    *,
    models: Sequence[str] = ("alexnet",),
    backends: Sequence[str] = ("onnxruntime-cpu",),
    rates_hz: Sequence[float] = RATES_HZ,
    policies: Sequence[str] = POLICIES,
    blocks: int = 3,
) -> Path:
    """Write a run of every model, backend, rate and policy; the fastest rate overloads greedy:1."""
    draw = Random(11)
    records = [
        repetition(
            cell(model, backend, policy, rate_hz), block, source, math.exp(draw.gauss(0, 0.01))
        )
        for block in range(blocks)
        for model in models
        for backend in backends
        for rate_hz in rates_hz
        for policy in policies
    ]
    idle = [
        runs.idle(backend, block, source=source)
        for backend in backends
        for block in range(blocks)
        if source is not EnergySource.MISSING
    ]
    members = {
        "scenarios": ["server"],
        "arrivals": ["poisson"],
        "policies": list(policies),
        "rates": list(rates_hz),
    }
    return runs.write_run(path, [*idle, *records], runs.study(models, backends, (1,)) | members)


def cell(model: str, backend: str, policy: str, rate_hz: float) -> Cell:
    """A server."""
    traffic = Traffic("poisson", policy, f"{rate_hz:g}").pairs
    largest = parse_policy(policy).largest
    return Cell(model, backend, scenario="server", batch_size=largest, traffic=traffic)


def repetition(one: Cell, block: int, source: EnergySource, speed: float) -> Repetition:
    """A window of 2000 requests; a batch takes 6 ms, and 3 ms more for each image."""
    import numpy as np

    policy, rate_hz = parse_policy(one.served.policy), one.served.rate_hz
    arrivals_s = parse_arrivals(one.served.arrivals).times(rate_hz, seed=block, count=2000)
    served = simulate(arrivals_s, policy, lambda size: speed * (0.006 + 0.003 * size))
    window_s = float(served.batch_end_s[-1])
    busy_s = float((served.batch_end_s - served.batch_start_s).sum())
    response_s = served.response_s[served.regular]
    sizes, counts = np.unique(served.batch_size, return_counts=True)
    overloaded = load(served, policy.largest).overloaded
    energy_j = BUSY_W * busy_s + runs.IDLE_W * (window_s - busy_s)
    more: dict[str, Any] = {
        "queue": Queue(
            requests=len(response_s),
            response_s={str(q): float(np.quantile(response_s, q)) for q in QUANTILES},
            response_mean_s=float(response_s.mean()),
            busy_s=busy_s,
            batch_sizes=dict(zip(sizes.tolist(), counts.tolist(), strict=True)),
            waiting_mean=float(served.waiting.mean()),
            waiting_max=int(served.waiting.max()),
            lateness_s={"0.5": 4e-5, "0.99": 2e-4, "1.0": 3e-4},
            growth_hz=load(served, policy.largest).growth_hz,
            generator_cpu_s=0.03 * window_s,
        )
    }
    figure = (
        runs.missing("package-0", "--meter none was asked for")
        if source is EnergySource.MISSING
        else runs.figure(energy_j, source=source, window_s=window_s)
    )
    return runs.repetition(
        one,
        block,
        energy=[figure],
        latency_s=busy_s / len(served.batch_size),
        duration_s=window_s,
        iterations=2000 // one.batch_size,
        flags=("overloaded",) if overloaded else (),
        **more,
    )
