"""Resuming an interrupted run of any kind; what `gb resume` and `greenbatch.resume` do."""

from pathlib import Path

from greenbatch.workflows import inference, training


def resume(
    run: Path | str,
    listener: inference.Listener | training.Listener | None = None,
    *,
    trust: bool = False,
    share_machine: bool = False,
    wait_machine_s: float = 0.0,
) -> inference.Run | training.Run:
    """Resume an interrupted run; what is in its journal is not measured again.

    Args:
        run: Its directory.
        listener: Called as the run proceeds; one for the other kind of run hears of steps alone.
        trust: Run the code that its study names, although it was not begun here.
        share_machine: Measure beside another run; what is measured is flagged as disturbed.
        wait_machine_s: How long to wait for another run on this machine to end, in s.

    Returns:
        The finished run, of inference or of trainings.

    Raises:
        RunError: There is no run, or it cannot be the same run any more: the message says what
            differs.
        UsageError: Its study names code, the run was not begun here, and it is not trusted.
        MeasurementError: Another run is measuring on this machine.

    Examples:
        >>> greenbatch.resume("runs/a").report
    """
    from greenbatch.runners.run.directory import holds_trainings

    path = Path(run)
    on_step = listener.on_step if listener else inference.Listener().on_step
    if holds_trainings(path):
        if not isinstance(listener, training.Listener):
            listener = training.Listener(on_step=on_step)
        return training.resume_training(
            path, listener, trust=trust, share_machine=share_machine, wait_machine_s=wait_machine_s
        )
    if not isinstance(listener, inference.Listener):
        listener = inference.Listener(on_step=on_step)
    return inference.resume(
        path, listener, trust=trust, share_machine=share_machine, wait_machine_s=wait_machine_s
    )
