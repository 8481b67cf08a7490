"""A plateau on which the loss comes to stand three quarters of a deviation higher."""

from surefoot.records import Record
from tests.guard.traces import noise, step

ONSET, LATENCY = 1800, 800


def trace() -> list[Record]:
    drawn = noise("gauss", 7)
    return [
        step(n, 3.0 + 0.07 * next(drawn) + (0.0525 if n >= ONSET else 0.0))
        for n in range(1, ONSET + 1000)
    ]
