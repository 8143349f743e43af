"""From a proved fp32 artifact to lower precisions, each checked against the fp32 one.

export       an artifact in each precision     conversion   the whole way, once
half         fp16 and bf16                     int8         static quantisation, QDQ
calibration  to calibrate on, and to judge by  fidelity     how near to fp32 is near enough
"""

from greenbatch.exporter.precisions.conversion import PRECISIONS, Converted, convert
from greenbatch.exporter.precisions.fidelity import BOUNDS, Bound, compare, judge

__all__ = ["BOUNDS", "PRECISIONS", "Bound", "Converted", "compare", "convert", "judge"]
