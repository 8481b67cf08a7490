"""A model that learns the frequencies of tokens and nothing else."""

from surefoot.records import Record
from tests.guard.traces import noise, step

ONSET, LATENCY = 400, 1


def trace() -> list[Record]:
    drawn = noise("gauss", 4)
    return [step(n, 6.5 + 1.8 * 0.97**n + 0.05 * next(drawn)) for n in range(1, 600)]
