"""What a device was like in a window, by the variable of the dataset that holds it."""

from collections.abc import Callable, Iterable, Mapping

from greenbatch.records import Conditions, EnergyFigure

CONDITIONS: Mapping[str, Callable[[Conditions], Mapping[str, float]]] = {
    "power_limit": lambda conditions: conditions.power_limit_w,
    "power_capped": lambda conditions: conditions.power_capped,
    "utilization": lambda conditions: conditions.utilization,
    "memory_utilization": lambda conditions: conditions.memory_utilization,
    "memory_device": lambda conditions: conditions.memory_device_bytes,
}
"""By variable, the values of a window by domain."""


def device_conditions(
    conditions: Conditions, energy: Iterable[EnergyFigure]
) -> dict[str, Mapping[str, float]]:
    """Return the values by variable, then by domain.

    Args:
        conditions: Of the window.
        energy: Its figures.
    """
    limits_w = conditions.power_limit_w
    return {
        **{name: values(conditions) for name, values in CONDITIONS.items()},
        "power_of_limit": {
            figure.domain: figure.power_mean_w / limit_w
            for figure in energy
            if figure.power_mean_w is not None and (limit_w := limits_w.get(figure.domain))
        },
    }


def sensors_of(conditions: Conditions) -> dict[str, None]:
    """Name the sensors of temperature, each once."""
    return dict.fromkeys(
        (
            *conditions.temperature_c,
            *conditions.temperature_mean_c,
            *conditions.temperature_end_c,
        )
    )
