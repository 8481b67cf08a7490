"""Gradient norms that grow while the loss stands still."""

import math
from collections.abc import Mapping
from typing import Any

from surefoot.guard.grace import Grace
from surefoot.guard.level import loss_of
from surefoot.guard.robust import Blocks
from surefoot.records import Record, Step

SIZE = 50  # steps of a block
OVER = 4  # blocks that must all stand high
GAINED = 0.995  # of the best loss before them: a loss that gains more is learning


class Escalation:
    """Compares block medians of log |g| with the least of them since the rates last changed.

    ratio = exp(min of the last 4 medians - g0), judged where the loss improved by less than .5%.
    """

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.grads = Blocks(SIZE, OVER)
        self.losses = Blocks(SIZE, OVER)
        self.least: float | None = None  # g0
        self.best: float | None = None  # least median of the loss before the last blocks
        self.grace = Grace()
        self.ratio = 1.0  # 1 while the loss gains, or nothing is known
        self.spot: int | None = None  # the last block's end

    def see(self, record: Record) -> None:
        """Begin anew after what changes the gradient's size lawfully."""
        if self.grace.see(record) not in ("", "resume"):
            self.grads.clear()
            self.losses.clear()
            self.least = self.best = None
            self.ratio = 1.0

    def add(self, record: Step) -> bool:
        """Take a step in; say whether a block was filled, so that the ratio is new."""
        loss, grad = loss_of(record), record.grad_norm
        if record.step <= self.warmup or self.grace.open(record.step):
            return False
        if loss is None or not (math.isfinite(grad) and grad >= 0):
            return False
        if len(self.losses.medians) == OVER and len(self.losses.filling) == SIZE - 1:
            oldest = self.losses.medians[0]
            self.best = oldest if self.best is None else min(self.best, oldest)
        self.losses.add(loss)
        median = self.grads.add(math.log(max(grad, 1e-30)))
        if median is None:
            return False
        self.least = median if self.least is None else min(self.least, median)
        self.ratio = self.judged()
        self.spot = record.step
        return True

    def judged(self) -> float:
        """Give by how much all of the last blocks stand above the least."""
        if self.least is None or self.best is None or len(self.grads.medians) < OVER:
            return 1.0
        if sum(self.losses.medians) / OVER < GAINED * self.best:  # one low block may be chance
            return 1.0
        return math.exp(min(self.grads.medians) - self.least)

    @property
    def usual(self) -> float | None:
        """Give the median norm of the last whole block."""
        return math.exp(self.grads.medians[-1]) if self.grads.medians else None

    def state(self) -> dict[str, Any]:
        """Give its blocks."""
        return {
            "grads": self.grads.state(),
            "losses": self.losses.state(),
            "least": self.least,
            "best": self.best,
            "grace": self.grace.state(),
            "ratio": self.ratio,
            "spot": self.spot,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.grads.restore(state["grads"])
        self.losses.restore(state["losses"])
        self.grace.restore(state["grace"])
        self.least, self.best = state["least"], state["best"]
        self.ratio, self.spot = float(state["ratio"]), state["spot"]
