"""The level of a noisy loss, and the scale of its noise, from a few hundred numbers."""

import math
from collections.abc import Mapping
from typing import Any

from surefoot.guard import robust
from surefoot.records import Step


def loss_of(record: Step) -> float | None:
    """Give what a loss monitor looks at: ce where there is one, else the loss; nothing if NaN."""
    if math.isfinite(record.ce):
        return record.ce
    return record.loss if math.isfinite(record.loss) else None


FORGETTING = 4.0  # n/4 is the memory of a young mean


class Level:
    """An exponential mean m that no outlier moves far, and the deviation s of what is about it.

    m <- m + max(1/tau, min(1, 4/n)) clip(x - m, +-6 s): a mean of all that was would stand far
    above a loss that falls. s = robust.scale of the last `window` residuals x - m less their
    straight line, at least .002 |m|, renewed each `every` steps; none before `least` residuals.
    With the line left in, a fall was taken for noise: at step 400 of a tiny run s came to .76 nats
    where the noise was .2, and a rate that jumped tenfold was never seen.
    """

    def __init__(self, tau: int = 128, window: int = 256, least: int = 64, every: int = 16) -> None:
        self.rate, self.window, self.least, self.every = 1 / tau, window, least, every
        self.mean = 0.0
        self.count = 0
        self.deviation = 0.0  # 0 = not known yet
        self.residuals: list[float] = []

    def add(self, x: float, frozen: bool = False) -> None:
        """Take a loss in; frozen, it moves the level but not the scale."""
        self.count += 1
        if self.count == 1:
            self.mean = x
            return
        away = x - self.mean
        if not frozen:
            self.residuals.append(away)
            if len(self.residuals) > self.window:
                del self.residuals[0]
            if self.count % self.every == 0 and len(self.residuals) >= self.least:
                least = max(0.002 * abs(self.mean), 1e-6)
                self.deviation = robust.scale(robust.detrended(self.residuals), least)
        if self.deviation:
            bound = 6 * self.deviation
            away = min(bound, max(-bound, away))
        self.mean += self.pace * away

    @property
    def pace(self) -> float:
        """Give the share of the newest loss in the mean."""
        return max(self.rate, min(1.0, FORGETTING / self.count))

    def rebase(self, mean: float) -> None:
        """Begin anew at this level."""
        self.mean, self.count, self.deviation, self.residuals = mean, 1, 0.0, []

    def state(self) -> dict[str, Any]:
        """Give its numbers."""
        return {
            "mean": self.mean,
            "count": self.count,
            "deviation": self.deviation,
            "residuals": [*self.residuals],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.mean, self.count = float(state["mean"]), int(state["count"])
        self.deviation, self.residuals = float(state["deviation"]), list(state["residuals"])
