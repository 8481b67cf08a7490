"""Two whole steps that are not finite, one after the other."""

import math
from dataclasses import replace
from typing import Any

from surefoot.records import Record, Step
from tests.guard.traces import run

ONSET, LATENCY = 500, 1


def bad(one: Step) -> Step:
    fields: dict[str, Any] = {"nonfinite": {"loss": 1}, "skipped": True}
    return replace(one, ce=math.nan, loss=math.nan, grad_norm=math.nan, **fields)


def trace() -> list[Record]:
    sick = (ONSET, ONSET + 1)
    return [bad(one) if isinstance(one, Step) and one.step in sick else one for one in run(700)]
