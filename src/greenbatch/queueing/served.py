"""What became of the requests: when each arrived, and the batches that they were served in."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Served:
    """Requests in order of arrival, served first come first served. All instants in s.

    Attributes:
        arrival_s: When each request was to arrive; n values, rising.
        batch_start_s: When each batch started; b values.
        batch_end_s: When its results were there.
        batch_size: How many requests it held; they add up to n.
        waiting: How many requests waited when it started, its own among them.
        flushed: Whether the last batch is smaller than its policy wanted, and started only because
            nothing more was to come. Its requests belong in no mean.

    Raises:
        ValueError: A request is lost or doubled, or the instants are out of order.
    """

    arrival_s: "Floats"
    batch_start_s: "Floats"
    batch_end_s: "Floats"
    batch_size: "Ints"
    waiting: "Ints"
    flushed: bool = False

    def __post_init__(self) -> None:
        if int(self.batch_size.sum()) != len(self.arrival_s):
            raise ValueError(
                f"the batches hold {int(self.batch_size.sum())} requests, "
                f"{len(self.arrival_s)} arrived"
            )
        if (self.batch_end_s < self.batch_start_s).any() or (
            self.batch_start_s[1:] < self.batch_end_s[:-1]
        ).any():
            raise ValueError("a batch starts before the one before it has ended")
        if (self.start_s < self.arrival_s).any():
            raise ValueError("a request was started before it arrived")

    @cached_property
    def batch(self) -> "Ints":
        """The batch of each request, from 0."""
        import numpy as np

        return np.repeat(np.arange(len(self.batch_size)), self.batch_size)

    @cached_property
    def start_s(self) -> "Floats":
        """When each request's batch started."""
        return self.batch_start_s[self.batch]

    @cached_property
    def end_s(self) -> "Floats":
        """When each request's result was there."""
        return self.batch_end_s[self.batch]

    @property
    def wait_s(self) -> "Floats":
        """From each request's arrival to its start."""
        return self.start_s - self.arrival_s

    @property
    def response_s(self) -> "Floats":
        """From each request's arrival to its result."""
        return self.end_s - self.arrival_s

    @property
    def regular(self) -> "Mask":
        """Whether each request was served as the policy wants, and not flushed."""
        return self.batch < len(self.batch_size) - self.flushed

    def arrived_in(self, start_s: float, end_s: float) -> "Mask":
        """Mark the requests that were to arrive in [start, end): those of response times."""
        mask: Mask = (self.arrival_s >= start_s) & (self.arrival_s < end_s)
        return mask

    def ended_in(self, start_s: float, end_s: float) -> "Mask":
        """Mark the requests whose results came in [start, end): those of throughput and energy."""
        mask: Mask = (self.end_s >= start_s) & (self.end_s < end_s)
        return mask

    def busy_s(self, start_s: float, end_s: float) -> float:
        """Return for how long a batch was running between two instants."""
        inside = self.batch_end_s.clip(start_s, end_s) - self.batch_start_s.clip(start_s, end_s)
        return float(inside.sum())

    def queue_at(self, instants_s: "Floats") -> "Ints":
        """Count the requests that have arrived and were not started, at each instant."""
        import numpy as np

        arrived = np.searchsorted(self.arrival_s, instants_s, side="right")
        started = np.searchsorted(self.start_s, instants_s, side="right")
        queue: Ints = arrived - started
        return queue
