"""Logits that stand at their cap."""

from dataclasses import replace

from surefoot.records import Record
from tests.guard.traces import changed, run

ONSET, LATENCY = 500, 50


def trace() -> list[Record]:
    return changed(run(steps=900), ONSET, lambda one: replace(one, logit_sat_share=0.3))
