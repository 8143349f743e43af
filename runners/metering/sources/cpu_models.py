"""What a hardware thread draws, by the name of the CPU: for the estimate.

The numbers are the Cloud Carbon Footprint project's, of SPECpower_ssj2008 results: the power of
whole servers at the wall, supply and memory included, divided by their hardware threads, at
active idle and at full load.

- By microarchitecture: repository cloud-carbon-footprint/ccf-coefficients, commit b0032d9 of
  2026-04-24. Means and extremes over the results in ``data/SPECpower-2026-03-09.csv`` whose
  processor is in that microarchitecture's list (``data/intel-*.csv``, ``data/amd-*.csv``) and
  matches the pattern here: small servers and desktops in the lists would pull the mean of servers.
  The project's own means, in ``output/coefficients-aws-use.csv``, hold them too; for EPYC of the
  fifth generation they hold every server there is, for empty lines in its list match everything.
- The average: repository cloud-carbon-footprint/cloud-carbon-footprint, commit b7a049c of
  2024-03-25, ``packages/aws/src/domain/AwsFootprintEstimationConstants.ts``.
"""

import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path

from greenbatch.records.energy import TDP_OPTION

_JUDGED = 0.5  # half-width where the data set holds few processors or none: our judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadPower:
    """What one hardware thread draws.

    Attributes:
        rest_w, full_w: Its power at rest and at full load, in W.
        rest_band_w, full_band_w: By how much either may be wrong, to both sides, in W.
        origin: Where the numbers are from, for a person.
    """

    rest_w: float
    full_w: float
    rest_band_w: float
    full_band_w: float
    origin: str


# The furthest from the average that a microarchitecture is: Ivy Bridge at rest (3.04 W, the
# project's constants for AWS), Sandy Bridge at full load (8.63 W, its coefficients).
AVERAGE = ThreadPower(
    rest_w=0.74,
    full_w=3.5,
    rest_band_w=3.04 - 0.74,
    full_band_w=8.63 - 3.5,
    origin="average of servers, Cloud Carbon Footprint",
)


@dataclass(frozen=True, slots=True)
class _Model:
    """A microarchitecture: mean, lowest and highest power of a thread over its servers, in W."""

    name: str
    pattern: str
    rest_w: tuple[float, float, float]
    full_w: tuple[float, float, float]


# Xeon Scalable: the second digit is the generation; 'H' and 'HL' of the third are Cooper Lake.
# Silver and Bronze of the fifth are Sapphire Rapids or Emerald Rapids, and left out.
_MODELS = (
    _Model("Sandy Bridge", r"E5-\d{4}[A-Z]*\b(?! +v\d)", (2.15, 1.39, 8.59), (8.41, 5.03, 17.12)),
    _Model("Ivy Bridge", r"E[57]-\d{4}[A-Z]* v2", (1.71, 1.30, 2.43), (5.56, 5.41, 5.80)),
    _Model("Haswell", r"E[57]-\d{4}[A-Z]* v3", (0.67, 0.54, 1.05), (3.90, 3.67, 4.36)),
    _Model("Broadwell", r"E[57]-\d{4}[A-Z]* v4", (0.71, 0.46, 2.11), (3.69, 2.74, 7.55)),
    _Model("Coffee Lake", r"Xeon E-2[12]\d\d", (1.14, 0.83, 1.67), (5.42, 3.33, 7.76)),
    _Model(
        "Skylake", r"(Platinum|Gold|Silver|Bronze) \d1\d\d", (0.55, 0.29, 0.93), (4.01, 1.89, 4.76)
    ),
    _Model(
        "Cascade Lake",
        r"(Platinum|Gold|Silver|Bronze) \d2\d\d",
        (0.69, 0.34, 2.33),
        (4.06, 2.96, 6.02),
    ),
    _Model(
        "Ice Lake",
        r"(Platinum|Gold|Silver) \d3\d\d(?!HL?\b)",
        (0.77, 0.63, 0.89),
        (3.76, 2.92, 4.07),
    ),
    _Model(
        "Sapphire Rapids",
        r"(Platinum|Gold|Silver|Bronze) \d4\d\d",
        (0.97, 0.60, 1.94),
        (3.95, 2.65, 6.00),
    ),
    _Model("Emerald Rapids", r"(Platinum|Gold) \d5\d\d", (0.85, 0.62, 1.95), (3.80, 2.53, 7.62)),
    _Model("Granite Rapids", r"Xeon 6[5-9]\d\dP", (0.58, 0.24, 1.13), (2.53, 1.16, 3.24)),
    _Model("EPYC 7xx1", r"EPYC 7[\dA-Z]{2}1", (0.85, 0.63, 1.61), (2.60, 2.24, 4.34)),
    _Model("EPYC 7xx2", r"EPYC 7[\dA-Z]{2}2", (0.47, 0.28, 0.79), (1.69, 1.48, 1.99)),
    _Model("EPYC 7xx3", r"EPYC 7[\dA-Z]{2}3", (0.46, 0.30, 0.75), (1.96, 1.59, 2.33)),
    _Model("EPYC 8xx4", r"EPYC 8[\dA-Z]{2}4", (1.12, 0.20, 4.19), (2.67, 0.79, 6.94)),
    _Model("EPYC 9xx4", r"EPYC 9[\dA-Z]{2}4", (0.34, 0.30, 0.40), (1.88, 1.64, 2.17)),
    _Model("EPYC 9xx5", r"EPYC 9[\dA-Z]{2}5", (0.24, 0.17, 0.38), (1.33, 1.04, 2.02)),
)


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return what the CPU calls itself; the architecture where it has no name."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, named), platform.processor() or platform.machine())


def thread_power(name: str) -> ThreadPower:
    """Look up the power of a hardware thread by the CPU's name.

    The band reaches the server that is furthest from its microarchitecture's mean, and half of
    the mean at least: a few processors, tuned for a benchmark, do not show how others differ.

    Args:
        name: As `cpu_name` gives it.

    Returns:
        Its microarchitecture's numbers, or `AVERAGE` where the table has none for it.
    """
    plain = re.sub(r"\((R|TM)\)", "", name, flags=re.IGNORECASE)
    for model in _MODELS:
        if re.search(rf"\b{model.pattern}", plain, re.IGNORECASE):
            return ThreadPower(
                rest_w=model.rest_w[0],
                full_w=model.full_w[0],
                rest_band_w=_band_w(*model.rest_w),
                full_band_w=_band_w(*model.full_w),
                origin=f"looked up for {name}: {model.name}, Cloud Carbon Footprint",
            )
    return replace(AVERAGE, origin=f"{AVERAGE.origin}: no entry for {name}")


def with_full_power(power: ThreadPower, full_w: float) -> ThreadPower:
    """Replace the power at full load by one that was given, in W.

    A thermal design power is no measurement: the band is half of it, by our judgement.
    """
    return replace(
        power,
        full_w=full_w,
        full_band_w=_JUDGED * full_w,
        origin=f"full load given by {TDP_OPTION}; rest: {power.origin}",
    )


def _band_w(mean_w: float, lowest_w: float, highest_w: float) -> float:
    return max(highest_w - mean_w, mean_w - lowest_w, _JUDGED * mean_w)
