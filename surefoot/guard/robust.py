"""Medians, and what is built on them: figures that a few wild values don't move."""

import itertools
import math
from bisect import insort
from collections.abc import Mapping, Sequence
from typing import Any

SPREAD = 1.4826  # a normal distribution's standard deviation over its MAD
SHORT = 1.2533  # how much wider than a mean's the error of a median is: sqrt(pi/2)


def median(values: Sequence[float]) -> float:
    """Give the middle value; of an even number, the mean of the middle two."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half])


def mad(values: Sequence[float], middle: float | None = None) -> float:
    """Give the median distance from the median."""
    centre = median(values) if middle is None else middle
    return median([abs(value - centre) for value in values])


def differences(values: Sequence[float]) -> list[float]:
    """Give each value less the one before it: a trend is gone from them."""
    return [after - before for before, after in itertools.pairwise(values)]


def scale(residuals: Sequence[float], least: float) -> float:
    """Give the noise's standard deviation, widened for tails and for its own memory.

    s0 = max(1.4826 MAD, least); u = clip((r - med)/s0, +-3); rho = clip(corr(u_i, u_i-1), 0, .9);
    s = s0 max(1, std u) sqrt((1+rho)/(1-rho)).
    """
    middle = median(residuals)
    narrow = max(SPREAD * mad(residuals, middle), least)
    u = [min(3.0, max(-3.0, (r - middle) / narrow)) for r in residuals]
    count = len(u)
    mean = sum(u) / count
    power = sum([v * v for v in u]) - count * mean * mean
    if power <= 0:
        return narrow
    lagged = sum([a * b for a, b in itertools.pairwise(u)])
    lagged -= mean * (2 * count * mean - u[0] - u[-1]) - (count - 1) * mean * mean
    rho = min(0.9, max(0.0, lagged / power))
    return narrow * max(1.0, math.sqrt(power / count)) * math.sqrt((1 + rho) / (1 - rho))


def detrended(values: Sequence[float]) -> list[float]:
    """Take the straight line of least squares off."""
    count = len(values)
    middle, mean = (count - 1) / 2, sum(values) / count
    slope = sum((i - middle) * v for i, v in enumerate(values))
    slope /= max(1.0, count * (count * count - 1) / 12)
    return [v - mean - slope * (i - middle) for i, v in enumerate(values)]


class Blocks:
    """Medians of successive blocks of so many values; the newest `keep` of them stay."""

    def __init__(self, size: int, keep: int) -> None:
        self.size, self.keep = size, keep
        self.medians: list[float] = []
        self.filling: list[float] = []  # kept in order, so that the median is the middle

    def add(self, value: float) -> float | None:
        """Take a value in; give the block's median when it fills a block."""
        insort(self.filling, value)
        if len(self.filling) < self.size:
            return None
        found = median(self.filling)
        self.filling = []
        self.medians.append(found)
        del self.medians[: -self.keep]
        return found

    def drop(self) -> None:
        """Throw the unfinished block away."""
        self.filling = []

    def clear(self) -> None:
        """Start anew."""
        self.medians, self.filling = [], []

    def state(self) -> dict[str, Any]:
        """Give the medians and the unfinished block."""
        return {"medians": [*self.medians], "filling": [*self.filling]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.medians, self.filling = list(state["medians"]), list(state["filling"])
