"""A loss that falls no further."""

from surefoot.records import Record
from tests.guard.traces import curve, noise, step

ONSET, LATENCY = 1400, 1100


def trace() -> list[Record]:
    drawn = noise("gauss", 5)
    return [step(n, curve(min(n, ONSET)) + 0.03 * next(drawn)) for n in range(1, ONSET + 1300)]
