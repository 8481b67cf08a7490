"""Sees numbers that were not finite once, and finite when the same step was done again.

Same weights, same rows, same random numbers: what differs is the machine. Once is chance; twice on
one rank is a device that errs, and not all of its errors are as visible as a NaN.
"""

from collections.abc import Mapping
from typing import Any

from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step

AMBIENT = True


class Options(Choice):
    """Nothing to choose: an equal step that gives other numbers is never in order."""

    kind: str = "transient_nonfinite"


class Monitor:
    """Counts such steps by rank."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.device = str(facts.get("device") or "device")
        self.seen: dict[str, int] = {}  # rank -> times

    def observe(self, record: Record) -> list[Finding]:
        """Warn of each."""
        if not isinstance(record, Step) or not record.transient:
            return []
        for rank in record.transient:
            self.seen[str(rank)] = self.seen.get(str(rank), 0) + 1
        return [self.finding(record, str(rank)) for rank in record.transient]

    def finding(self, record: Step, rank: str) -> Finding:
        """Say on which rank, and how often by now."""
        times = self.seen[rank]
        again = "Replace it, or train on another" if times > 1 else "Look at its error counters"
        return Finding(
            id="transient_nonfinite",
            severity="warn",
            what=f"step {record.step}: rank {rank}",
            value="not finite, and finite when it was done again",
            why="same weights, same rows, same random numbers: the machine erred "
            f"({times} times in this process)",
            instead=f"{again}: a {self.device} that errs visibly once may err unseen too",
            evidence={"rank": int(rank), "times": times},
            since=record.step,
        )

    def state(self) -> dict[str, Any]:
        """Give the counts."""
        return {"seen": {**self.seen}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.seen = {str(rank): int(times) for rank, times in state["seen"].items()}
