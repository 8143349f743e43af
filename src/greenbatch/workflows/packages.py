"""The packages of the runtimes that are to be measured: installed, or how to install them."""

from collections.abc import Sequence

from greenbatch import extras


def require_backends(names: Sequence[str]) -> None:
    """Check that the packages of these backends are installed; see `require_runtimes`."""
    from greenbatch.runners import backends

    require_runtimes([backends.find(name).runtime for name in names])


def require_runtimes(runtimes: Sequence[str]) -> None:
    """Check that the packages of these runtimes are installed, before anything is started.

    A runtime that is not known is left to whoever pairs runtimes and providers.

    Raises:
        MissingPackage: One is not; the message has the command that installs it.
    """
    from greenbatch.runners import backends

    kinds = {spec.runtime: spec for spec in backends.known().values() if spec.runtime in runtimes}
    needed = [name for spec in kinds.values() for name in backends.resolve(spec).packages]
    extras.require(f"measuring with {', '.join(kinds)}", needed)
