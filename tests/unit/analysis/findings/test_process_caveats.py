"""A driver that lists no processes is a caveat, not a machine without others."""

from greenbatch.analysis.findings.caveat import Severity
from greenbatch.analysis.findings.caveats import process_caveats
from greenbatch.design.environment import Environment

REASON = "cannot list the processes: Function Not Found; update the NVIDIA driver to 450 or newer"


def test_processes_that_are_not_known_are_a_caveat() -> None:
    environment = Environment.model_validate(
        {
            "gpus": [
                {"name": "A card", "processes_unknown": REASON},
                {"name": "Another", "processes_unknown": None},
                {"name": "Of an older run"},
                "a name alone",
            ]
        }
    )
    (caveat,) = process_caveats(environment)
    assert caveat.severity is Severity.CAUTION
    assert "A card" in caveat.sentence
    assert "Function Not Found" in caveat.sentence
