"""The same batch again and again."""

from dataclasses import replace

from surefoot.records import Record
from tests.guard.traces import changed, run

ONSET, LATENCY = 500, 3


def trace() -> list[Record]:
    return changed(run(steps=700), ONSET, lambda one: replace(one, batch_hash="same"))
