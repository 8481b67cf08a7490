"""A loss that jumps by two deviations and stays there."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 1500, 16


def trace() -> list[Record]:
    def shifted(one: Step) -> Step:
        return replace(one, ce=one.ce + 0.2, loss=one.loss + 0.2)

    return changed(run(steps=1900), ONSET, shifted)
