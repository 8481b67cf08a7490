"""Gates that come to open one branch alone."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 900, 500


def trace() -> list[Record]:
    def gated(one: Step) -> Step:
        if one.update_ratio is None:
            return one
        share = 0.33 if one.step < ONSET else 0.98
        other = (1 - share) / 2
        told = {
            "gate_entropy_nats": 1.09 if one.step < ONSET else 0.11,
            "gate_max_share": max(share, other),
            "gate_collapse_share": 0.0 if one.step < ONSET else 0.4,
            "branch_share.cmp": share, "branch_share.slc": other, "branch_share.win": other,
            "gate_open.cmp": 0.6, "gate_open.slc": 0.5, "gate_open.win": 0.5,
        }  # fmt: skip
        return replace(one, gates=told)

    return changed(run(steps=1700), 1, gated)
