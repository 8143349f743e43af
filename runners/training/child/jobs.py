"""What a child is asked to do for a training."""

from greenbatch.runners.child.windows import Request, Tell


def train(request: Request, tell: Tell, born_s: float) -> None:
    """Train a network, see `greenbatch.runners.training.child.fitting`."""
    from greenbatch.runners.training.child import fitting

    fitting.fit(request, tell, born_s)


def rehearse(request: Request, tell: Tell, born_s: float) -> None:
    """Load what trainings need, see `greenbatch.runners.training.child.fitting`."""
    from greenbatch.runners.training.child import fitting

    fitting.rehearse(request, tell)
