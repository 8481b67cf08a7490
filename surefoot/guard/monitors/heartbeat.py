"""Sees a rank that no longer moves on, and ranks that no longer train the same model.

A rank's age, the time since its step and phase last changed, above max(60 s, 10 times the median
step), or 300 s in the first three steps, where kernels are compiled, warns; the watchdog of that
rank's own process ends it later. `rank_mismatch`: loss and gradient norm are reduced over all
ranks, so their checksums are one; where they differ the run stops (seed 004).
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard.episode import QUIET, Episode
from surefoot.guard.sliding import Sliding
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step

AMBIENT = True
ALSO = {"rank_mismatch": "Sees ranks that differ in loss or gradient: their models are not one."}
FIRST = 3  # steps in which kernels are compiled
STEPS = 50  # that the median is taken over


class Options(Choice):
    """How long a rank may stand still."""

    kind: str = "heartbeat"
    seconds: Annotated[float, Field(gt=0)] = 60.0
    """Age that is always let be"""
    times: Annotated[float, Field(gt=1)] = 10.0
    """Steps' worth of time that is let be"""
    first_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Age that is let be in the first three steps"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy steps that close an episode"""


class Monitor:
    """Compares ranks with the clock and with each other."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.seconds = Sliding(STEPS)
        self.seen = 0  # steps of this process
        self.still, self.parted = Episode(options.quiet), Episode(options.quiet)

    def observe(self, record: Record) -> list[Finding]:
        """Judge each step."""
        if not isinstance(record, Step):
            return []
        self.seen += 1
        if record.rank_age_s and record.step_s is not None and math.isfinite(record.step_s):
            self.seconds.add(record.step_s)
        return self.ages(record) + self.checksums(record)

    def limit(self) -> float:
        """Give the seconds after which a rank is late."""
        if self.seen <= FIRST:
            return max(self.options.first_seconds, self.options.seconds)
        usual = self.seconds.median() if self.seconds.values else 0.0
        return max(self.options.seconds, self.options.times * usual)

    def ages(self, record: Step) -> list[Finding]:
        """Look for a rank that stands still."""
        told = record.rank_age_s or {}
        ages = {rank: age for rank, age in told.items() if math.isfinite(age)}
        limit = self.limit()
        late = {rank: age for rank, age in ages.items() if age > limit}
        if not self.still.opens(bool(late)):
            return []
        worst = max(late, key=lambda rank: late[rank])
        return [
            Finding(
                id="heartbeat",
                severity="warn",
                what=f"rank {worst} at step {record.step}",
                value=f"{late[worst]:.0f} s",
                why=f"it has not moved on for longer than {limit:.0f} s; "
                f"{len(late)} of {len(ages)} ranks stand still",
                instead=f"Look at the stacks in train.log and at heartbeat_rank{worst}.jsonl: its "
                "last phase says what it waits for",
                evidence={"rank_age_s": late, "limit_s": limit, "ranks": len(ages)},
                since=record.step,
                episode=self.still.number,
            )
        ]

    def checksums(self, record: Step) -> list[Finding]:
        """Look for ranks that differ."""
        told = record.loss_checksum or {}
        counts = Counter(told.values())
        if not self.parted.opens(len(counts) > 1):
            return []
        usual, _ = counts.most_common(1)[0]
        others = sorted(rank for rank, checksum in told.items() if checksum != usual)
        return [
            Finding(
                id="rank_mismatch",
                severity="act",
                what=f"step {record.step}: checksums of loss and gradient norm",
                value=f"{len(counts)} different ones",
                why=f"rank {', '.join(others)} differs from the other {len(told) - len(others)}, "
                "and what all ranks reduced together is one number: a rank's memory or link is bad",
                instead="Take that device out, then resume from a save before with --accept "
                "stopped",
                evidence={"loss_checksum": dict(told), "ranks": others},
                since=record.step,
                episode=self.parted.number,
            )
        ]

    def state(self) -> dict[str, Any]:
        """Give the times and what was told."""
        return {
            "seconds": self.seconds.state(),
            "seen": self.seen,
            "still": self.still.state(),
            "parted": self.parted.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for name in ("seconds", "still", "parted"):
            getattr(self, name).restore(state[name])
        self.seen = int(state["seen"])
