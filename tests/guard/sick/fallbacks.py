"""A kernel that begins to fail at one call in a hundred."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 700, 200


def trace() -> list[Record]:
    def fallen(one: Step) -> Step:
        told = {"calls": 36}
        if one.step >= ONSET and one.step % 3 == 0:
            told["slc.out_of_memory"] = 1
        return replace(one, fallbacks=told)

    return changed(run(steps=1300), 1, fallen)
