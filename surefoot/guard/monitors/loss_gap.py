"""Sees, within a few steps, a loss that has left its best level.

A one-sided CUSUM of the gap to the best running mean (Page 1954), held back by what a plateau does
to it: m, s = the level and the noise's deviation (guard/level.py); b = the least m from step 128
on; z = clip((x - b)/s - beta, +-3), beta = 3 sqrt(a/(2-a)), a = 1/tau, the allowance for a minimum;
C <- max(0, C + z - k). Warns above 12, asks for a remedy above 16. One outlier adds at most 2.5, so
neither one nor four can alarm. While an episode is open, s and b are frozen; it closes after 200
steps with C at most half the warning.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard.episode import QUIET, Episode
from surefoot.guard.grace import Grace
from surefoot.guard.level import Level, loss_of
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Remedy, Step

CAP = 24.0  # C goes on in an episode, but not so far that it could not come back
GLANCE = 32  # steps of grace whose mean says where the loss stands at its end


class Options(Choice):
    """How far, and for how long, the loss may stand above its best."""

    kind: str = "loss_gap"
    tau: Annotated[int, Field(ge=8)] = 128
    """Steps over which the level is averaged"""
    k: Annotated[float, Field(gt=0)] = 0.5
    """Slack: the gap that never alarms, in deviations"""
    warn: Annotated[float, Field(gt=0)] = 12.0
    """Sum that warns, in deviations"""
    act: Annotated[float, Field(gt=0)] = 16.0
    """Sum that asks for a remedy, in deviations"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy steps that close an episode"""


class Monitor:
    """Adds up by how much the loss stands above its best."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.beta = allowance(1 / options.tau)
        self.level = Level(options.tau)
        self.episode = Episode(options.quiet)
        self.grace = Grace()
        self.best: float | None = None
        self.sum = 0.0
        self.since = 0  # the step at which the sum last left 0
        self.glance: float | None = None  # the loss in grace; None outside

    def observe(self, record: Record) -> list[Finding]:
        """Warn, and later ask for a remedy, once an episode each."""
        if not isinstance(record, Step):
            self.see(record)
            return []
        x = loss_of(record)
        if x is None:
            return []
        if self.grace.open(record.step):
            self.wait(x)
            return []
        if self.glance is not None:
            self.after_grace(self.glance)
        found = self.judge(record, x) if self.best is not None and self.level.deviation else []
        self.level.add(x, frozen=self.episode.open)
        if self.level.count >= self.options.tau and not self.episode.open:
            self.best = min(self.typical, math.inf if self.best is None else self.best)
        return found

    @property
    def typical(self) -> float:
        """Give the mean, raised as far as a young one may by chance stand lower than an old one."""
        beta = allowance(self.level.pace)
        return self.level.mean + (beta - self.beta) * self.level.deviation

    def see(self, record: Record) -> None:
        """Open grace after an event; a remedy of its own may be told about again."""
        self.grace.see(record)
        if isinstance(record, Remedy) and record.answers == "loss_gap":
            self.episode.close()

    def wait(self, x: float) -> None:
        """Hold everything in grace, and note where the loss goes."""
        self.sum = 0.0
        self.glance = x if self.glance is None else self.glance + (x - self.glance) / GLANCE

    def after_grace(self, now: float) -> None:
        """Take a planned event's new level for the best if it would alarm; not a remedy's."""
        self.glance = None
        if self.best is None or self.grace.kind in ("remedy", "resume"):
            return
        if now - self.best > (self.options.k + self.beta) * self.level.deviation:
            self.level.rebase(now)
            self.best = None
            self.episode.close()

    def judge(self, record: Step, x: float) -> list[Finding]:
        """Add a step to the sum."""
        assert self.best is not None, "a loss is judged against a best level"
        z = (x - self.best) / self.level.deviation - self.beta
        grown = self.sum + min(3.0, max(-3.0, z)) - self.options.k
        if self.sum == 0.0:
            self.since = record.step
        self.sum = min(CAP, max(0.0, grown))
        level = (self.sum > self.options.warn) + (self.sum > self.options.act)
        # Not over yet. Healthy noise lifts the sum off 0 every few steps (200 zeros in a row were
        # never seen in 20k steps), so an episode would never close if it had to stay there.
        if self.episode.open and self.sum > 0.5 * self.options.warn:
            level = max(level, 1)
        return [self.finding(record, x, level)] if self.episode.rises(level) else []

    def finding(self, record: Step, x: float, level: int) -> Finding:
        """Say how far the loss stands above its best."""
        assert self.best is not None, "a finding compares with a best level"
        deviation = self.level.deviation
        gap = (x - self.best) / deviation
        limit = self.options.act if level > 1 else self.options.warn
        return Finding(
            id="loss_gap",
            severity="act" if level > 1 else "warn",
            what=f"step {record.step}: loss",
            value=f"{x:.4g} nats",
            why=f"its best level was {self.best:.4g}, {gap:.1f} deviations below, and the sum of "
            f"gaps since step {self.since} is {self.sum:.1f} (limit {limit:g})",
            instead="Look at the data and the events before this step, or go back to an earlier "
            "checkpoint" if level > 1 else "Wait: a gap that grows is answered by itself",
            evidence={
                "sum": self.sum, "limit": limit, "loss": x, "best": self.best,
                "deviation": deviation, "window": self.options.tau,
            },
            since=self.since,
            episode=self.episode.number,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Give the level, the sum and the episode."""
        return {
            "level": self.level.state(),
            "episode": self.episode.state(),
            "grace": self.grace.state(),
            "best": self.best,
            "sum": self.sum,
            "since": self.since,
            "glance": self.glance,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.level.restore(state["level"])
        self.episode.restore(state["episode"])
        self.grace.restore(state["grace"])
        self.best, self.sum = state["best"], float(state["sum"])
        self.since, self.glance = int(state["since"]), state["glance"]


def allowance(rate: float) -> float:
    """Give how many deviations the least of an exponential mean lies below the truth."""
    return 3 * math.sqrt(rate / (2 - rate))
