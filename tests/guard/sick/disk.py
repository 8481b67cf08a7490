"""A disk that is all but full."""

from dataclasses import replace

from surefoot.records import Record
from tests.guard.traces import changed, run

ONSET, LATENCY = 500, 10


def trace() -> list[Record]:
    return changed(run(steps=700), ONSET, lambda one: replace(one, disk_free_gib=0.5))
