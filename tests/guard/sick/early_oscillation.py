"""A young loss that swings."""

import math

from surefoot.records import Record
from tests.guard.traces import curve, noise, step

ONSET, LATENCY = 60, 150


def trace() -> list[Record]:
    drawn = noise("gauss", 3)
    swing = [0.4 * math.sin(2 * math.pi * (n - ONSET) / 50) * (n >= ONSET) for n in range(700)]
    return [step(n, curve(n) + swing[n] + 0.05 * next(drawn)) for n in range(1, 700)]
