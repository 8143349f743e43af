"""Two ways in which published studies estimated energy, and what they make of a measured window.

They are kept to show on one's own run how far such figures are off; nothing else uses them.
"""

from dataclasses import dataclass

SAMPLING_S = 1.0
"""Interval of the samples whose sum was taken: ``nvidia-smi -l 1``."""


@dataclass(frozen=True, slots=True)
class MeasuredWindow:
    """A window as it was measured.

    Attributes:
        energy_j: In it.
        duration_s: Its length.
        idle_w: Power of the same domains at rest; ``None`` where it is not known.
    """

    energy_j: float
    duration_s: float
    idle_w: float | None = None


def with_idle_tail(window: MeasuredWindow, tail_s: float) -> float | None:
    """Return the mean power of a window and an idle tail, times the length of the window, in J.

    Source: Yarally et al., *Batching for Green AI*, SEAA 2023, yarally/green-ai, part2: the power
    is averaged until two gaps between requests and a second after the last batch, and that tail is
    left out of the duration alone.
    """
    if window.idle_w is None:
        return None
    whole_s = window.duration_s + tail_s
    return (window.energy_j + window.idle_w * tail_s) / whole_s * window.duration_s


def sum_of_watts(window: MeasuredWindow, sampling_s: float = SAMPLING_S) -> float:
    """Return the sum of power samples times the duration, which is no energy, in "J".

    Source: del Rey et al., SEAA 2023, GAISSA-UPC/seaa2023_ect before its commit b2d1079.
    """
    samples = window.duration_s / sampling_s
    return window.energy_j / window.duration_s * samples * window.duration_s
