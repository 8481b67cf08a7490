"""A training loss that has stopped falling half a nat below its validation."""

from surefoot.records import Eval, Record
from tests.guard.traces import curve, noise, step

EVERY = 250
ONSET, LATENCY = 500, 4 * EVERY


def trace() -> list[Record]:
    drawn, found = noise("gauss", 7), list[Record]()
    for n in range(1, 1900):
        found.append(step(n, curve(min(n, ONSET)) + 0.05 * next(drawn)))
        if n % EVERY == 0:
            val_ce = curve(min(n, ONSET)) + (0.02 if n < ONSET else 0.5)
            found.append(Eval(step=n, val_ce=val_ce, val_bpb=1.0, val_tokens=100_000))
    return found
