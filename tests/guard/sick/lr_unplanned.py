"""A rate that something else than the plan set."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 500, 1


def trace() -> list[Record]:
    def low(one: Step) -> Step:
        return replace(one, lr={role: 0.1 * used for role, used in one.lr.items()})

    return changed(run(steps=700), ONSET, low)
