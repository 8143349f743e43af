"""Peak performance of devices by their makers, and the energy that follows from it."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TERA = 1e12
_PRECISIONS = ("fp32", "fp16", "bf16", "int8")
_NOT_ANOTHER = r"(?!.*\bMIG\b|-\d+[ABCQ]\b| (?:Laptop|SUPER|Ti|D|NVL)\b)"


@dataclass(frozen=True, slots=True)
class Peak:
    """What a device computes at most, for dense operands.

    Attributes:
        device: A part of the name that its driver gives it.
        power_w: Its power limit as it is sold, in W.
        operations: Operations in a second (a multiply-add is two), by precision; fp32 without
            tensor cores.
        source: Whose figures they are, and where they were read.
    """

    device: str
    power_w: float
    operations: Mapping[str, float]
    source: str

    def joules_per_mac(self, precision: str) -> float | None:
        """Energy of a multiply-add at the peak and the power limit, in J.

        It is a roofline and no law of physics: at a lower clock a device may need less.

        Args:
            precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.

        Returns:
            ``None`` where no such peak is listed.
        """
        per_second = self.operations.get(precision)
        return None if per_second is None else 2 * self.power_w / per_second


@cache
def peaks() -> Sequence[Peak]:
    """Read all peaks that are shipped."""
    with Path(__file__).with_name("peaks.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Peak(
                row["device"],
                float(row["power_w"]),
                {name: _TERA * float(row[name]) for name in _PRECISIONS if row[name]},
                row["source"],
            )
            for row in csv.DictReader(file)
        )


def peak_of(name: str) -> Peak | None:
    """Find the peak of a device by the name that its driver gives it.

    Args:
        name: For example ``NVIDIA H200`` or ``NVIDIA A100-SXM4-80GB``.

    Returns:
        ``None`` for a device that is not listed, and for a part of one (MIG, vGPU).
    """
    for peak in peaks():
        if re.search(rf"(?<!\w){re.escape(peak.device)}(?!\w){_NOT_ANOTHER}", name):
            return peak
    return None
