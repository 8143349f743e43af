"""What a child does on request for layers: cut a network, measure it and its parts."""

from greenbatch.runners.child.jobs import Job, task_of
from greenbatch.runners.child.windows import Send
from greenbatch.runners.layers.messages import CutNetwork, MeasureLayers


def _cut_network(request: CutNetwork, send: Send, born_s: float) -> None:
    from greenbatch.runners.layers import cutting

    send(cutting.cut_network(request, task_of(request.load)))


def _measure_layers(request: MeasureLayers, send: Send, born_s: float) -> None:
    from greenbatch.runners.layers import windows as layer_windows

    send(layer_windows.measure_block(request, task_of(request.load), send))


CUT_NETWORK = Job(CutNetwork, _cut_network)
LAYERS = Job(MeasureLayers, _measure_layers)
