"""Why a record could not be read, in a phrase."""

from typing import cast

from greenbatch.errors import first_line


def cause_of(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a record: of pydantic's errors the first fault, and where it is.

    Args:
        error: Raised by a record, by `json`, or by pydantic.
    """
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return first_line(error)
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    what = fault["msg"]
    if fault["type"] == "value_error":
        what = str(cast("ValueError", fault["ctx"]["error"]))
    return f"{where}: {what}" if where else what
