"""A layer that gets no gradient any more."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 500, 50


def trace() -> list[Record]:
    def dead(one: Step) -> Step:
        norms = one.layer_grad_norm
        return one if norms is None else replace(one, layer_grad_norm=[*norms[:3], 0.0])

    return changed(run(steps=900), ONSET, dead)
