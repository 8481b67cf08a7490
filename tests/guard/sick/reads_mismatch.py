"""A mixer that reads one position more than its formula says."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 500, 0


def trace() -> list[Record]:
    def counted(one: Step) -> Step:
        return replace(one, reads_pred=70_144, reads_act=70_144 + (one.step >= ONSET))

    return changed(run(steps=800), 1, counted)
