"""A loss of which a third is something else."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 300, 20


def trace() -> list[Record]:
    return changed(run(steps=600), ONSET, lambda one: inflated(one))


def inflated(one: Step) -> Step:
    return replace(one, loss=1.5 * one.ce)
