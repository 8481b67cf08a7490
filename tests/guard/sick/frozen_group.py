"""A role whose weights don't move."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 500, 50


def trace() -> list[Record]:
    def frozen(one: Step) -> Step:
        if one.update_ratio is None:
            return one
        return replace(one, update_ratio={**one.update_ratio, "embedding": 0.0})

    return changed(run(steps=900), ONSET, frozen)
