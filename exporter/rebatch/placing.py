"""Where the batch is after a node that moves, joins or splits axes."""

import math

from greenbatch.exporter.rebatch.questions import Shape
from greenbatch.exporter.rebatch.sizes import Carrier


def after_reshape(before: Shape, carrier: Carrier, after: Shape, batch: int) -> Carrier | None:
    """Find where the batch is after a reshape.

    Elements keep their order, so as many as before lie ahead of the batch: the product of the
    axes in front of its own, and of what precedes it there. A batch of 1 may leave a choice; then
    it does not join the last axis, which holds features, and else keeps an axis of its own.
    """
    ahead = math.prod(before[: carrier.axis]) * carrier.ahead
    last = len(after) - 1
    fits = []
    for axis, size in enumerate(after):
        front = max(1, math.prod(after[:axis]))
        within = ahead // front
        if ahead % front == 0 and size % (within * batch or 1) == 0 and within:
            joins_features = axis == last and size > batch
            fits.append((joins_features, within != 1, axis != carrier.axis, axis, within))
    return Carrier(*min(fits)[3:]) if fits else None
