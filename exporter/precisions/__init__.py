"""From a proved fp32 artifact to lower precisions, each checked against the fp32 one.

export       an artifact in each precision     conversion   the whole way, once
halving      to fp16 and bf16: the whole way   quantising   to int8: the whole way
half         the graph in 16 bits              widths       which of its values become so
rounded      what a device makes of it         providers    which runtime takes it
int8         static quantisation, QDQ          unquantised  without it for some nodes
calibration  to calibrate on, and to judge by  running      outputs for these images
fidelity     how near to fp32 is near enough   sensitivity  which nodes lose most
trials       losses with some nodes in fp32    job          what a conversion works on
"""

from greenbatch.exporter.precisions.conversion import PRECISIONS, convert
from greenbatch.exporter.precisions.fidelity import BOUNDS, Bound, compare, judge
from greenbatch.exporter.precisions.job import Converted

__all__ = ["BOUNDS", "PRECISIONS", "Bound", "Converted", "compare", "convert", "judge"]
