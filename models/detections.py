"""Sets of rows, as detections are: how many of two sets are the same, in any order."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from greenbatch.models.output_rows import Outputs, by_row
from greenbatch.records import TensorSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.float64]

_MOST_ASSIGNED = 1000  # rows of one kind that are paired exactly: the cost grows with the cube
_MASK_VALUES = 4096  # a longer row, of a mask say, is compared by this many of its values


def matched_share(
    group: Sequence[TensorSpec],
    reference: Outputs,
    got: Outputs,
    tolerance: float,
) -> float:
    """Return the share of rows that have an equal in the other set; two empty sets are the same.

    Two rows are equal if their positions and labels are, and no value differs by more than
    ``tolerance`` of the largest of its output. Each row has one equal at most. Where nothing says
    whose a row is and ``got`` has more rows, it may be of more images: then it is the share of the
    reference that is found in it.

    Args:
        group: Outputs whose rows belong together.
        reference: Outputs by name.
        got: Likewise.
        tolerance: See above.
    """
    kinds_wanted, kinds_got = _by_kind(group, reference, reference), _by_kind(group, got, reference)
    wanted, found = (sum(map(len, kinds.values())) for kinds in (kinds_wanted, kinds_got))
    numbered = any(s.image_column is not None or s.batch_axis is not None for s in group)
    larger = max(wanted, found) if numbered else max(wanted, 1)
    if not wanted and (not found or not numbered):
        return 1.0
    equal = sum(
        _pairs(rows, kinds_got[kind], tolerance)
        for kind, rows in kinds_wanted.items()
        if kind in kinds_got
    )
    return equal / larger


def _by_kind(
    group: Sequence[TensorSpec],
    outputs: Outputs,
    reference: Outputs,
) -> "dict[bytes, Rows]":
    """Return the values of the rows, relative, by what has to be equal: whole numbers."""
    import numpy as np

    whole, values = [], []
    for spec in group:
        rows = by_row(spec, outputs[spec.name])
        if rows.shape[1] > _MASK_VALUES:
            rows = rows[:, np.linspace(0, rows.shape[1] - 1, _MASK_VALUES).astype(int)]
        if reference[spec.name].dtype.kind in "iub":
            whole.append(rows.astype(np.int64))
            continue
        if spec.batch_axis is not None:  # the image's number is ahead of the values
            whole.append(rows[:, :1].astype(np.int64))
            rows = rows[:, 1:]
        largest = np.abs(reference[spec.name].astype(np.float64)).max(initial=0.0) or 1.0
        values.append(rows.astype(np.float64) / largest)
    count = min(map(len, [*whole, *values]))
    keys = np.concatenate([rows[:count] for rows in whole], 1) if whole else np.zeros((count, 0))
    numbers = np.concatenate([r[:count] for r in values], 1) if values else np.zeros((count, 0))
    kinds: dict[bytes, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        kinds[key.tobytes()].append(row)
    return {kind: numbers[rows] for kind, rows in kinds.items()}


def _pairs(wanted: "Rows", got: "Rows", tolerance: float) -> int:
    """Return how many rows can be paired with an equal one."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    if not wanted.shape[1]:
        return min(len(wanted), len(got))
    if max(len(wanted), len(got)) > _MOST_ASSIGNED:  # in the order of their values
        count = min(len(wanted), len(got))
        wanted, got = (rows[np.lexsort(rows.T[::-1])][:count] for rows in (wanted, got))
        return int((np.abs(wanted - got).max(axis=1) <= tolerance).sum())
    apart = np.stack([np.abs(got - row).max(axis=1) for row in wanted])
    near = apart <= tolerance
    paired = linear_sum_assignment(np.where(near, apart / max(tolerance, 1e-300) - 2, 0.0))
    return int(near[paired].sum())
