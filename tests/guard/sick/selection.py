"""Blocks that are read beyond their token, so that half the positions read all they may."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 900, 500


def trace() -> list[Record]:
    def chosen(one: Step) -> Step:
        if one.update_ratio is None:
            return one
        full = 0.016 if one.step < ONSET else 0.5
        told = {"sel_at_max_share": full, "sel_lift": 1.6, "sel_tie_share": 0.01}
        return replace(one, selection=told)

    return changed(run(steps=1700), 1, chosen)
