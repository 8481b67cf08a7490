"""A process that keeps 40 KiB of each step."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 700, 1000


def trace() -> list[Record]:
    def grown(one: Step) -> Step:
        return replace(one, rss_mib=(one.rss_mib or 0.0) + 0.04 * (one.step - ONSET))

    return changed(run(steps=1900), ONSET, grown)
