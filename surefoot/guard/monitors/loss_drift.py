"""Sees a loss that creeps up by less than what a few steps can show.

Medians y_j of blocks of B = 50 steps; level = mean of the last K = 16, best = the least level from
block 18 on; se = max(1.2533 s/sqrt(B K), 1.4826 MAD(y_j - y_j-1)/sqrt(2 K)), s the noise's
deviation, its memory included (guard/level.py). Warns after 3 blocks with
level - best > max(.002 best, 5 sqrt(2) se). Asks for a remedy after 20 blocks, or at once where
gradients escalate or the loss never came back from an event. Says nothing on a falling curve below
one deviation: validation must.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import phases, robust
from surefoot.guard.episode import QUIET, Episode
from surefoot.guard.escalation import Escalation
from surefoot.guard.grace import Grace
from surefoot.guard.level import Level, loss_of
from surefoot.guard.recovery import Recovery
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Remedy, Step

FIRST = 18  # block from which on a level may be the best


class Options(Choice):
    """How much drift is too much."""

    kind: str = "loss_drift"
    block: Annotated[int, Field(ge=10)] = 50
    """Steps of a block"""
    blocks: Annotated[int, Field(ge=4)] = 16
    """Blocks whose mean is the level"""
    least: Annotated[float, Field(ge=0)] = 0.002
    """Share of the best level that is never drift"""
    errors: Annotated[float, Field(gt=0)] = 5.0
    """Standard errors of the difference that are not drift"""
    warn: Annotated[int, Field(ge=1)] = 3
    """Successive blocks that warn"""
    act: Annotated[int, Field(ge=1)] = 20
    """Successive blocks that ask for a remedy"""
    escalated: Annotated[float, Field(gt=1)] = 2.0
    """Growth of the gradient norm that asks for one at once"""
    recover_within: Annotated[int, Field(ge=1)] = 1000
    """Steps after an event in which the loss may come back"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy steps that close an episode"""


class Monitor:
    """Compares the mean of the last block medians with the least such mean."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.level = Level(every=options.block)
        self.blocks = robust.Blocks(options.block, options.blocks + 1)
        self.grace = Grace()
        self.escalation = Escalation(phases.warmup(facts))
        within = max(options.recover_within, phases.epoch_steps(facts))
        self.recovery = Recovery(within)
        self.episode = Episode(options.quiet)
        self.count = 0  # blocks since the start, or since the level was taken anew
        self.best: float | None = None
        self.high = 0  # successive blocks above the limit
        self.since = 0
        self.graced = False  # the last step had grace

    def observe(self, record: Record) -> list[Finding]:
        """Judge at the end of each block."""
        if not isinstance(record, Step):
            self.see(record)
            return []
        self.escalation.add(record)
        self.recovery.add(record)
        x = loss_of(record)
        if x is None:
            return []
        if self.grace.open(record.step):
            self.blocks.drop()
            self.graced = True
            return []
        self.level.add(x)
        median = self.blocks.add(x)
        if median is None:
            level = self.episode.level if self.high else 0
            self.episode.rises(level)
            return []
        return self.judge(record, median)

    def see(self, record: Record) -> None:
        """Open grace; a remedy of its own may be told about again."""
        self.grace.see(record)
        self.escalation.see(record)
        self.recovery.see(record)
        if isinstance(record, Remedy) and record.answers == "loss_drift":
            self.episode.close()
            self.high = 0

    def judge(self, record: Step, median: float) -> list[Finding]:
        """Compare the level with the best, if both are known."""
        options, medians = self.options, self.blocks.medians
        if self.graced and self.moved(median):
            self.anew(median)
        self.graced = False
        self.count += 1
        if self.count < options.blocks or not self.level.deviation:
            return []
        level, se = sum(medians[-options.blocks :]) / options.blocks, self.error()
        limit = max(options.least * abs(level), options.errors * math.sqrt(2) * se)
        if self.best is None or level - self.best <= limit:
            self.high = 0
            if self.count >= FIRST:
                self.best = level if self.best is None else min(self.best, level)
            self.episode.rises(0)
            return []
        self.high += 1
        if self.high == 1:
            self.since = record.step - options.block + 1
        rank = self.rank()
        return [self.finding(record, level, limit)] if self.episode.rises(rank) else []

    def rank(self) -> int:
        """Give 1 to warn, 2 to ask for a remedy."""
        if self.high < self.options.warn:
            return 0
        worse = self.escalation.ratio > self.options.escalated or self.recovery.failed
        return 2 if worse or self.high >= self.options.act else 1

    def error(self) -> float:
        """Give the standard error of the level."""
        options = self.options
        plain = robust.SHORT * self.level.deviation / math.sqrt(options.block * options.blocks)
        jumps = robust.differences(self.blocks.medians)
        return max(plain, robust.SPREAD * robust.mad(jumps) / math.sqrt(2 * options.blocks))

    def moved(self, median: float) -> bool:
        """Say whether a planned event lifted the loss: then it is not compared with before."""
        if self.grace.kind in ("remedy", "resume") or not self.level.deviation:
            return False
        return bool(self.blocks.medians[:-1]) and (
            median - self.blocks.medians[-2] > self.level.deviation
        )

    def anew(self, median: float) -> None:
        """Take this block as the first."""
        self.blocks.medians = [median]
        self.count, self.best, self.high = 0, None, 0
        self.episode.close()

    def finding(self, record: Step, level: float, limit: float) -> Finding:
        """Say how far the loss crept."""
        assert self.best is not None, "drift is from a best level"
        act = self.episode.level > 1
        steps = self.options.block * self.options.blocks
        return Finding(
            id="loss_drift",
            severity="act" if act else "warn",
            what=f"step {record.step}: loss over {steps} steps",
            value=f"{level:.4g} nats",
            why=f"it stands {level - self.best:.3g} nats above its best level of {self.best:.4g}, "
            f"in {self.high} blocks in a row (limit {limit:.2g}: noise can't explain more)",
            instead="Go back to a checkpoint before it began, or lower the learning rate"
            if act
            else "Compare validation: if it rises too, lower the learning rate",
            evidence={
                "level": level, "best": self.best, "limit": limit, "blocks": self.high,
                "gradient_ratio": self.escalation.ratio, "window": steps,
            },
            since=self.since,
            episode=self.episode.number,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Give the blocks, the level and the episode."""
        return {
            "level": self.level.state(),
            "blocks": self.blocks.state(),
            "grace": self.grace.state(),
            "escalation": self.escalation.state(),
            "recovery": self.recovery.state(),
            "episode": self.episode.state(),
            "count": self.count,
            "best": self.best,
            "high": self.high,
            "since": self.since,
            "graced": self.graced,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for name in ("level", "blocks", "grace", "escalation", "recovery", "episode"):
            getattr(self, name).restore(state[name])
        self.count, self.best = int(state["count"]), state["best"]
        self.high, self.since = int(state["high"]), int(state["since"])
        self.graced = bool(state["graced"])
