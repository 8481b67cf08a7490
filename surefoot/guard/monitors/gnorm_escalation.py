"""Sees gradients that grow while the loss stands still, and gradients that leap.

Medians of log |g| over 50 steps, against the least of them since the rates last changed: warns
where the last 4 all stand above twice, asks for a remedy above three times, both only where the
loss improved by less than .5% (seed 003: engram-v2 went from 3.6 to 11.2). `gnorm_spike`: 20 times
the median in 3 of 5 steps.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import phases
from surefoot.guard.absent import Absent
from surefoot.guard.episode import QUIET, Episode
from surefoot.guard.escalation import OVER, SIZE, Escalation
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Remedy, Step

ALSO = {"gnorm_spike": "Sees gradients that leap, again and again."}
NEAR = 5  # steps among which spikes are counted


class Options(Choice):
    """How far gradients may grow."""

    kind: str = "gnorm_escalation"
    warn: Annotated[float, Field(gt=1)] = 2.0
    """Growth that warns"""
    act: Annotated[float, Field(gt=1)] = 3.0
    """Growth that asks for a remedy"""
    spike: Annotated[float, Field(gt=1)] = 20.0
    """Times the median that is a spike"""
    spikes: Annotated[int, Field(ge=1, le=NEAR)] = 3
    """Spikes among 5 steps that warn"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy steps that close an episode"""


class Monitor:
    """Compares the gradient's norm with the least it was, and with what it usually is."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.escalation = Escalation(phases.warmup(facts))
        self.episode = Episode(options.quiet)
        self.spiking = Episode(options.quiet)
        self.absent = Absent("gnorm_escalation", "grad_norm")
        self.leaps: list[bool] = []

    def observe(self, record: Record) -> list[Finding]:
        """Judge growth at the end of each block, and leaps at once."""
        if not isinstance(record, Step):
            self.see(record)
            return []
        there = math.isfinite(record.grad_norm)
        found = self.absent.seen(there or bool(record.nonfinite))
        if not there:
            return found
        found += self.leap(record)
        self.escalation.add(record)
        ratio = self.escalation.ratio
        level = (ratio > self.options.warn) + (ratio > self.options.act)
        if self.episode.rises(level):
            found.append(self.grown(record, ratio))
        return found

    def see(self, record: Record) -> None:
        """Begin anew after an event; a remedy of its own may be told about again."""
        self.escalation.see(record)
        if isinstance(record, Remedy) and record.answers == "gnorm_escalation":
            self.episode.close()

    def leap(self, record: Step) -> list[Finding]:
        """Count the spikes among the last steps."""
        usual = self.escalation.usual
        if usual is None or self.escalation.grace.open(record.step):
            self.leaps = []
            return []
        self.leaps = [*self.leaps[1 - NEAR :], record.grad_norm > self.options.spike * usual]
        if not self.spiking.opens(sum(self.leaps) >= self.options.spikes):
            return []
        return [
            Finding(
                id="gnorm_spike",
                severity="warn",
                what=f"step {record.step}: grad_norm",
                value=f"{record.grad_norm:.3g}",
                why=f"{sum(self.leaps)} of the last {NEAR} steps stand above "
                f"{self.options.spike:g} times the usual {usual:.3g}",
                instead="Look at these steps' data, or write train.clip=1.0 if it is higher",
                evidence={"grad_norm": record.grad_norm, "usual": usual, "window": NEAR},
                since=record.step - NEAR + 1 + self.leaps.index(True),
                episode=self.spiking.number,
            )
        ]

    def grown(self, record: Step, ratio: float) -> Finding:
        """Say by how much the gradients grew."""
        act = self.episode.level > 1
        limit = self.options.act if act else self.options.warn
        least = math.exp(self.escalation.least or 0.0)
        return Finding(
            id="gnorm_escalation",
            severity="act" if act else "warn",
            what=f"step {record.step}: grad_norm",
            value=f"{ratio * least:.3g}",
            why=f"it is {ratio:.2f} times its least ({least:.3g}) over the last {OVER * SIZE} "
            f"steps (limit {limit:g}), and the loss has stopped improving (003: engram-v2)",
            instead="Lower the learning rate: a rate that is too high looks like this",
            evidence={"ratio": ratio, "limit": limit, "least": least, "window": OVER * SIZE},
            since=max(1, record.step - OVER * SIZE + 1),
            episode=self.episode.number,
        )

    def state(self) -> dict[str, Any]:
        """Give the blocks and the episodes."""
        return {
            "escalation": self.escalation.state(),
            "episode": self.episode.state(),
            "spiking": self.spiking.state(),
            "absent": self.absent.state(),
            "leaps": [*self.leaps],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for name in ("escalation", "episode", "spiking", "absent"):
            getattr(self, name).restore(state[name])
        self.leaps = [bool(leap) for leap in state["leaps"]]
