"""Power sensors of GPUs as they are: how often they look, for how long, and how far they are off.

A reading of NVML is the mean power over a stretch of time that ended when the reading was made, and
it is held until the next one. What a sensor does by architecture was measured against a power
analyser on more than 70 cards by Yang, Adamek and Armour ("Part-time power measurements:
nvidia-smi's lack of attention", arXiv 2312.02741; their table of results is in
github.com/JimZeyuYang/GPU_Power_Benchmark). docs/method.md lists the same values.
"""

from dataclasses import dataclass, replace

_VOLTA, _TURING, _AMPERE, _ADA, _HOPPER = 5, 6, 7, 8, 9  # NVML_DEVICE_ARCH_...
_PASCAL, _MAXWELL, _KEPLER = 4, 3, 2
_MUCH_FASTER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """How a device measures its power.

    Attributes:
        period_s: Time between two readings, in s.
        window_s: Length of the stretch whose mean a reading is, in s. Shorter than the period: the
            rest of the power is not seen. Longer: successive readings overlap.
        gain: Share of the power by which readings may be off, the same in every window of a card.
        offset_w: Power by which they may be off besides, in W, likewise.
    """

    period_s: float
    window_s: float
    gain: float = 0.05
    offset_w: float = 5.0

    @property
    def age_s(self) -> float:
        """Mean time from the power to the reading that shows it, in s.

        A reading stands for the middle of its window, and is held for a period.
        """
        return (self.period_s + self.window_s) / 2

    @property
    def blur_s(self) -> float:
        """Time by which an instant in the readings is uncertain, in s.

        Half a period, as the sensor's phase is not known; and a quarter of the window, which covers
        the mean of any step inside it.
        """
        return self.period_s / 2 + self.window_s / 4

    @property
    def unseen(self) -> float:
        """Share of the time in which the power is not looked at."""
        return max(0.0, 1 - self.window_s / self.period_s)

    def refreshed(self, period_s: float) -> "Sensor":
        """Return the sensor of a card whose readings were seen to change every so many seconds.

        One that is much faster than its kind is not of its kind: a reading is then taken for the
        mean since the one before. One that seems slower had nothing new to show.
        """
        if period_s > self.period_s / _MUCH_FASTER or self.window_s > self.period_s:
            return self
        return replace(self, period_s=period_s, window_s=period_s)


_INSTANT_OF = {
    _KEPLER: Sensor(period_s=0.1, window_s=0.3, gain=0.1),
    _MAXWELL: Sensor(period_s=0.1, window_s=0.3, gain=0.1),
    _PASCAL: Sensor(period_s=0.02, window_s=0.01),
    _VOLTA: Sensor(period_s=0.02, window_s=0.01),
    _TURING: Sensor(period_s=0.1, window_s=0.1, gain=0.1),
    _AMPERE: Sensor(period_s=0.1, window_s=0.1),
    _ADA: Sensor(period_s=0.1, window_s=0.1),
}
_PART_TIME = Sensor(period_s=0.1, window_s=0.025)
_AVERAGED = Sensor(period_s=0.1, window_s=1.0)


def of_nvidia(architecture: int | None, *, ga100: bool, instant: bool) -> Sensor:
    """Return the sensor behind NVML's power reading.

    Hopper's is the part-time one of GA100. Newer architectures have not been measured, and are
    taken for Hopper.

    Args:
        architecture: As ``nvmlDeviceGetArchitecture`` numbers it; ``None`` where it is not known.
        ga100: Whether the chip is GA100 (A100, A30), whose sensor is not that of other Ampere.
        instant: Whether the reading is that of the field ``NVML_FI_DEV_POWER_INSTANT``. Else it is
            that of ``nvmlDeviceGetPowerUsage``, which is a mean over 1 s from Ampere on, but not on
            GA100, as NVML's documentation states.
    """
    averaged = architecture is None or architecture >= _AMPERE
    if averaged and not ga100 and not instant:
        return _AVERAGED
    if ga100 or architecture is None:
        return _PART_TIME
    return _INSTANT_OF.get(architecture, _PART_TIME)
