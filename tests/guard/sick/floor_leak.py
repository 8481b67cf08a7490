"""A model that comes to read its answer."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 1000, 100


def trace() -> list[Record]:
    def leaking(one: Step) -> Step:
        return replace(one, ce=0.01 + 1e-4 * one.ce, loss=0.01 + 1e-4 * one.ce)

    return changed(run(steps=1400), ONSET, leaking)
