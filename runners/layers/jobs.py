"""What a child is asked to do for layers: cut a network, measure it and its parts."""

from greenbatch.runners.child.jobs import task_of
from greenbatch.runners.child.windows import Request, Tell


def outline(request: Request, tell: Tell, born_s: float) -> None:
    """Trace operators to layers and cut the network, see `greenbatch.runners.layers.cutting`."""
    from greenbatch.runners.layers import cutting

    cutting.outline(request, task_of(request), tell)


def measure_layers(request: Request, tell: Tell, born_s: float) -> None:
    """Measure a network and its parts, see `greenbatch.runners.layers.windows`."""
    from greenbatch.runners.layers import windows as layer_windows

    layer_windows.measure_block(request, task_of(request), tell)
