"""Tells once that a monitor sees nothing, because what it looks at is not reported."""

from collections.abc import Mapping
from typing import Any

from surefoot.records import Finding

PATIENCE = 100  # steps without it, from the first on, before it is told


class Absent:
    """Waits for a field; one that never came in the first steps is told about, once."""

    def __init__(self, monitor: str, field: str) -> None:
        self.monitor, self.field = monitor, field
        self.missed = 0  # steps without it so far; -1 = it came, or it was told

    def seen(self, there: bool) -> list[Finding]:
        """Note whether a step has the field; give the one finding that says it has not."""
        if self.missed < 0:
            return []
        self.missed = -1 if there else self.missed + 1
        if self.missed < PATIENCE:
            return []
        self.missed = -1
        return [
            Finding(
                id=self.monitor,
                severity="note",
                what=f"guard.monitors.{self.monitor}",
                value="silent",
                why=f"it needs {self.field}, which the first {PATIENCE} steps don't report",
                instead="Nothing: the other monitors go on",
                evidence={"missing": self.field},
            )
        ]

    def state(self) -> int:
        """Give how long it is missed."""
        return self.missed

    def restore(self, state: Any) -> None:
        """Take it back."""
        self.missed = int(state)


def fact(facts: Mapping[str, Any], name: str) -> float | None:
    """Give a number that monitors are told of, where it is known."""
    value = facts.get(name)
    return None if value is None else float(value)
