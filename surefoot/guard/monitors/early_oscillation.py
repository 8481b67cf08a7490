"""Sees a loss that swings in the first steps, which a falling curve does not.

y = median of the last 9 losses; sigma = 1.4826 MAD(x_t - x_t-1, last 64)/sqrt 2;
A = max(.3, 4 sigma). A zig-zag with hysteresis A: falling, lo = min(lo, y), and y - lo >= A is an
up-swing; rising, hi = max(hi, y), and hi - y >= A is the end of one. Steps 10 to 400 (to twice the
warm-up if that is longer): the first up-swing is noted, the second asks for a remedy. Seed 000's
own rule, largest less smallest loss >= .3, fires in every run that learns; `rule = "seed"` gives it
as advice.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from surefoot.guard import phases, robust
from surefoot.guard.grace import Grace
from surefoot.guard.level import loss_of
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step

SMOOTH = 9  # steps of the running median
NOISE = 64  # steps of the noise
FIRST = 10


class Options(Choice):
    """How large a swing is, and how long they are looked for."""

    kind: str = "early_oscillation"
    rule: Literal["swings", "seed"] = "swings"
    """swings, or seed 000's largest less smallest loss"""
    swing: Annotated[float, Field(gt=0)] = 0.3
    """Least height of a swing, nats"""
    noise: Annotated[float, Field(ge=0)] = 4.0
    """Least height of a swing, deviations of the noise"""
    until: Annotated[int, Field(ge=10)] = 400
    """Last step; twice the warm-up if that is later"""


class Monitor:
    """Counts the up-swings of the first steps."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        warmup = phases.warmup(facts)
        self.until = max(options.until, 2 * warmup)
        self.grace = Grace({"restart": warmup + 10})
        self.recent: list[float] = []
        self.extreme: float | None = None  # lo while falling, hi while rising
        self.rising = False
        self.swings = 0
        self.first = 0  # step of the first up-swing
        self.range: list[float] = []  # smallest and largest loss so far, for the seed's rule

    def observe(self, record: Record) -> list[Finding]:
        """Look at the first steps, and at nothing later."""
        if not isinstance(record, Step):
            self.grace.see(record)
            return []
        if record.step > self.until or self.swings >= 2:
            return []
        x = loss_of(record)
        if x is None:
            return []
        if self.options.rule == "seed":
            return self.ranged(record, x)
        self.recent.append(x)
        del self.recent[: -NOISE - 1]
        if record.step < FIRST or self.grace.open(record.step):
            return []
        return self.swung(record)

    def swung(self, record: Step) -> list[Finding]:
        """Follow the zig-zag by one step."""
        y = robust.median(self.recent[-SMOOTH:])
        if self.extreme is None:
            self.extreme = y
        self.extreme = max(self.extreme, y) if self.rising else min(self.extreme, y)
        height = abs(y - self.extreme)
        # the noise costs a sort: it is only asked for where the swing is high enough without it
        if height < self.options.swing or height < (limit := self.height()):
            return []
        before, self.extreme, self.rising = self.extreme, y, not self.rising
        if not self.rising:
            return []
        self.swings += 1
        self.first = self.first or record.step
        return [self.finding(record, (before, y), limit)]

    def height(self) -> float:
        """Give the least height of a swing."""
        jumps = robust.differences(self.recent)
        sigma = robust.SPREAD * robust.mad(jumps) / math.sqrt(2) if jumps else 0.0
        return max(self.options.swing, self.options.noise * sigma)

    def finding(self, record: Step, ends: tuple[float, float], limit: float) -> Finding:
        """Say how high the loss swung."""
        low, high = ends
        second = self.swings > 1
        again = f", for the second time since step {self.first}" if second else ""
        return Finding(
            id="early_oscillation",
            severity="act" if second else "note",
            what=f"step {record.step}: loss",
            value=f"{high:.4g} nats",
            why=f"it swung up by {high - low:.2g} from {low:.4g} (limit {limit:.2g}){again}: a "
            "rate that is too high does that (000)",
            instead="Write optim.matrix.lr=0.027, or warm momentum up 100 steps longer"
            if second
            else "Nothing yet: one hump at the end of the warm-up is usual",
            evidence={"low": low, "high": high, "limit": limit, "swings": self.swings},
            since=self.first,
        )

    def ranged(self, record: Step, x: float) -> list[Finding]:
        """Judge by seed 000's rule: advice, for it fires wherever a model learns."""
        low, high = min([x, *self.range]), max([x, *self.range])
        self.range = [low, high]
        if record.step < FIRST or high - low < self.options.swing:
            return []
        self.swings = 2
        return [
            Finding(
                id="early_oscillation",
                severity="warn",
                what=f"step {record.step}: range of the loss",
                value=f"{high - low:.3g} nats",
                why=f"seed 000's rule: largest {high:.4g} less smallest {low:.4g} is at least "
                f"{self.options.swing:g}; every run that learns does that",
                instead='Write guard.monitors.early_oscillation={rule="swings"}',
                evidence={"low": low, "high": high, "limit": self.options.swing},
                since=1,
            )
        ]

    def state(self) -> dict[str, Any]:
        """Give the last losses and the zig-zag."""
        return {
            "grace": self.grace.state(),
            "recent": [*self.recent],
            "extreme": self.extreme,
            "rising": self.rising,
            "swings": self.swings,
            "first": self.first,
            "range": [*self.range],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.grace.restore(state["grace"])
        self.recent, self.range = list(state["recent"]), list(state["range"])
        self.extreme, self.rising = state["extreme"], bool(state["rising"])
        self.swings, self.first = int(state["swings"]), int(state["first"])
