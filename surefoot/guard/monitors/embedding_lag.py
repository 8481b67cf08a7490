"""Sees a training loss that lies flat while the validation stays high.

Level = mean of the last 8 medians of 25 steps; over 3 validations in a row it improves by less than
.5%, and val_ce lies above it by more than max(.1, 4 se) and comes no nearer: a warning, outside the
decay (seed 000: embeddings that learn too slowly; rare tokens are then known from training alone).
se^2 = the level's own, from the differences of medians, + 9 * 16/val_tokens: a token's loss has a
deviation of about 3 nats, and 16 tokens of one document tell no more than one. Where the corpus is
read a second time, the text says over-fitting.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import robust
from surefoot.guard.absent import fact
from surefoot.guard.grace import happened
from surefoot.guard.level import loss_of
from surefoot.recipe.choice import Choice
from surefoot.records import Eval, Event, Finding, Record, Step

SIZE = 25  # steps of a block
OF_LEVEL = 8  # blocks
OF_NOISE = 17
LOOKS = 3  # validations in a row
SPREAD_NATS, ALIKE = 3.0, 16  # of a token's loss; tokens that tell as much as one
CEILING = 0.25  # of an embedding's rate with 000's sizes


class Options(Choice):
    """How far validation may stay behind."""

    kind: str = "embedding_lag"
    gain: Annotated[float, Field(gt=0, lt=1)] = 0.005
    """Share by which a training loss that learns improves over three validations"""
    gap: Annotated[float, Field(gt=0)] = 0.1
    """Nats by which validation may lie above training"""
    apart: Annotated[int, Field(ge=1)] = 200
    """Steps between two validations that are compared"""


class Monitor:
    """Compares validations with the training's level."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.recipe = facts.get("recipe")
        self.corpus_tokens = fact(facts, "corpus_tokens")
        self.blocks = robust.Blocks(SIZE, OF_NOISE)
        self.looks: list[list[float]] = []  # step, level and gap of the last validations
        self.waits = False  # after something planned: one validation is let be
        self.decaying = self.open = False
        self.told = self.tokens = 0

    def observe(self, record: Record) -> list[Finding]:
        """Judge each validation."""
        if isinstance(record, Step):
            self.tokens = record.tokens
            if (x := loss_of(record)) is not None:
                self.blocks.add(x)
        elif isinstance(record, Eval):
            return self.look(record)
        else:
            self.see(record)
        return []

    def see(self, record: Record) -> None:
        """Begin anew after something planned."""
        kind, decay = happened(record), isinstance(record, Event) and record.name == "decay_start"
        if kind == "restart" or decay:
            self.decaying = decay
        if kind or decay:
            self.blocks.clear()
            self.looks, self.waits, self.open = [], True, False

    def look(self, record: Eval) -> list[Finding]:
        """Add a validation; warn once if training lies flat and this does not come nearer."""
        if record.what != "val" or not math.isfinite(record.val_ce) or self.decaying:
            return []
        if self.looks and record.step - self.looks[-1][0] < self.options.apart:
            return []
        waited, self.waits = self.waits, False
        if waited or len(self.blocks.medians) < OF_LEVEL:
            return []
        level = sum(self.blocks.medians[-OF_LEVEL:]) / OF_LEVEL
        self.looks = [*self.looks[1 - LOOKS :], [record.step, level, record.val_ce - level]]
        error = self.error(record)
        fresh = self.lags(error) and not self.open
        self.open = self.lags(error)
        return [self.finding(record, error)] if fresh else []

    def error(self, record: Eval) -> float:
        """Give the standard error of the gap."""
        jumps = robust.differences(self.blocks.medians)
        own = robust.SPREAD * robust.mad(jumps) / math.sqrt(2 * OF_LEVEL)
        val = SPREAD_NATS * math.sqrt(ALIKE / record.val_tokens) if record.val_tokens else 0.0
        return math.hypot(own, val)

    def lags(self, error: float) -> bool:
        """Say whether training lies flat and validation stays high."""
        if len(self.looks) < LOOKS:
            return False
        first, last = self.looks[0], self.looks[-1]
        flat = first[1] - last[1] < self.options.gain * abs(first[1])
        high = min(look[2] for look in self.looks) > max(self.options.gap, 4 * error)
        return flat and high and last[2] >= first[2] - error

    def finding(self, record: Eval, error: float) -> Finding:
        """Say how far apart they are."""
        self.told += 1
        level, gap = self.looks[-1][1], self.looks[-1][2]
        again = self.tokens / self.corpus_tokens if self.corpus_tokens else 0.0
        why = f"it lies {gap:.2g} nats above the training's {level:.4g}, which has stopped falling"
        return Finding(
            id="embedding_lag",
            severity="warn",
            what=f"step {record.step}: val_ce",
            value=f"{record.val_ce:.4g} nats",
            why=f"{why}, and comes no nearer: "
            + (
                f"over-fitting, the corpus was read {again:.1f} times"
                if again > 1
                else "embeddings of rare tokens may learn too slowly (000), or the two texts differ"
            ),
            instead="Write more data, or fewer train.steps: best is the save to use"
            if again > 1
            else self.faster(),
            evidence={
                "gap": gap,
                "limit": max(self.options.gap, 4 * error),
                "level": level,
                "window": LOOKS,
                "repeats": again,
            },
            since=int(self.looks[0][0]),
            episode=self.told,
        )

    def faster(self) -> str:
        """Give a rate a little higher: 000 went from .22 to .24, and never above .25."""
        chosen = self.recipe.optim.get("embedding") if self.recipe is not None else None
        if chosen is None:
            return "Write a higher rate for the embeddings: 000 went from .22 to .24"
        return f"Write optim.embedding.lr={min(CEILING, chosen.lr * 24 / 22):.3g}"

    def state(self) -> dict[str, Any]:
        """Give the level's blocks and the last validations."""
        return {
            "blocks": self.blocks.state(),
            "looks": [[*look] for look in self.looks],
            "flags": [self.waits, self.decaying, self.open],
            "told": self.told,
            "tokens": self.tokens,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.blocks.restore(state["blocks"])
        self.looks = [list(look) for look in state["looks"]]
        self.waits, self.decaying, self.open = (bool(flag) for flag in state["flags"])
        self.told, self.tokens = int(state["told"]), int(state["tokens"])
