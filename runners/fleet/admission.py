"""Which machines may have a part in a fleet, by what they say of themselves."""

from collections.abc import Mapping

from greenbatch.runners.fleet.machines import MachineFacts, deviations, expectations
from greenbatch.runners.fleet.rules import Rules

_MOST_NAMED = 3  # of the versions that differ


class Admission:
    """Compares machines with the rules, and with those that came before.

    Args:
        rules: See `Rules`.

    Attributes:
        versions: Those of the first machine, which the others must have; empty where the rules
            accept others, or none has come.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._first_of_kind: dict[str, MachineFacts] = {}
        self.versions: Mapping[str, str] = {}

    def refusal(self, facts: MachineFacts) -> str:
        """Return why a machine may not measure, one sentence; empty: it may."""
        if reason := self._unexpected(facts):
            return reason
        if self._rules.group_versions:
            return ""
        self.versions = self.versions or facts.versions
        return self._unlike(facts)

    def suspicion(self, facts: MachineFacts) -> str:
        """Return how a machine differs from the first of its kind; empty: it does not."""
        first = self._first_of_kind.setdefault(facts.kind, facts)
        found = deviations(facts, expectations(first))
        return (
            f"it differs from {first.name}, of the same kind: {'; '.join(found)}" if found else ""
        )

    def _unlike(self, facts: MachineFacts) -> str:
        """Return in which versions a machine differs from the first one."""
        differing = [
            f"{name} is {facts.versions.get(name, 'not installed')}, and "
            f"{self.versions.get(name, 'not installed')} on the first machine"
            for name in sorted({*facts.versions, *self.versions})
            if facts.versions.get(name) != self.versions.get(name)
        ]
        if not differing:
            return ""
        left = len(differing) - _MOST_NAMED
        more = f", and {left} more" if left > 0 else ""
        return (
            f"{'; '.join(differing[:_MOST_NAMED])}{more}; install the same versions, or accept the "
            "difference with --versions group"
        )

    def _unexpected(self, facts: MachineFacts) -> str:
        """Return how a machine deviates from what the user expects of its kind."""
        for part, expected in self._rules.kinds.items():
            if part.lower() in facts.kind.lower() and (found := deviations(facts, expected)):
                return f"it is not as expected of the kind {part}: {'; '.join(found)}"
        return ""
