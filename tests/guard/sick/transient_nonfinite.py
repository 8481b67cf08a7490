"""A step whose numbers were not finite at first, and were when it was done again."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import run

ONSET, LATENCY = 500, 0


def trace() -> list[Record]:
    return [
        replace(one, transient=[0]) if isinstance(one, Step) and one.step == ONSET else one
        for one in run(700)
    ]
