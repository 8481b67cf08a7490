"""A GPU that has become a fifth slower."""

from dataclasses import replace

from surefoot.records import Record, Step
from tests.guard.traces import changed, run

ONSET, LATENCY = 800, 20


def trace() -> list[Record]:
    def on_gpu(one: Step) -> Step:
        slow = 1.2 if one.step >= ONSET else 1.0
        seconds, speed = one.step_s or 0.0, one.tok_per_s or 0.0
        return replace(one, gpu_mem_alloc_mib=9000.0, step_s=slow * seconds, tok_per_s=speed / slow)

    return changed(run(steps=1100), 1, on_gpu)
