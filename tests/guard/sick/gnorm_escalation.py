"""Gradients that grow fourfold while the loss stands still."""

from surefoot.records import Record
from tests.guard.traces import curve, noise, step

ONSET, LATENCY = 1000, 250


def trace() -> list[Record]:
    drawn, found = noise("gauss", 6), list[Record]()
    for n in range(1, 1600):
        grad = 0.8 * (4.0 if n >= ONSET else 1.0) * (1 + 0.1 * next(drawn))
        found.append(step(n, curve(min(n, ONSET)) + 0.03 * next(drawn), grad_norm=grad))
    return found
