"""A rank of four that no longer moves on."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 500, 1


def trace() -> list[Record]:
    def ranks(one: Step) -> Step:
        last = 0.3 if one.step < ONSET else 61.0 + one.step - ONSET
        return replace(one, rank_age_s={"0": 0.1, "1": 0.2, "2": 0.2, "3": last})

    return changed(run(steps=800), 1, ranks)
