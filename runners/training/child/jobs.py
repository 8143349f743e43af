"""What a child does on request for a training."""

from greenbatch.runners.child.jobs import Job
from greenbatch.runners.child.windows import Send
from greenbatch.runners.training.messages import Preflight, Train


def _train(request: Train, send: Send, born_s: float) -> None:
    from greenbatch.runners.training.child import fitting

    fitting.fit(request, send, born_s)


def _preflight(request: Preflight, send: Send, born_s: float) -> None:
    from greenbatch.runners.training.child import fitting

    fitting.preflight(request, send)


TRAINING = Job(Train, _train)
PREFLIGHT = Job(Preflight, _preflight)
