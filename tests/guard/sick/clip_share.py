"""Gradients that are clipped at every step."""

from dataclasses import replace

from surefoot.records import Record
from tests.guard.traces import changed, run

ONSET, LATENCY = 600, 500


def trace() -> list[Record]:
    return changed(run(steps=1400), ONSET, lambda one: replace(one, clipped=True))
