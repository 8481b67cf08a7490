"""Differentiates an output by the vectors of later tokens.

Leak = max_{s >= c} |dL/de_s| / max_{s < c} |dL/de_s|, L = <r, out[c-1]>, r random. Blind to hard
choices and detached paths, which the perturbation probe sees.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from surefoot.audit.case import Case
from surefoot.audit.measure import PASS, Measure
from surefoot.audit.slopes import slopes
from surefoot.audit.subject import before

ORDER = 2
EACH = True  # condition


def probe(case: Case) -> Iterator[Measure]:
    """Measure how much an output depends on what comes after it."""
    together = [case.cuts] if case.isolated else [[cut] for cut in case.cuts]
    found: list[Measure] = []
    for cuts in together:
        places = torch.tensor(cuts) - 1
        told = slopes(case.subject, case.subject.drawn(len(cuts), case.length), [places])
        if told is None:
            yield Measure(probe="gradient", skipped="no module turns ids into vectors")
            return
        found.append(measured(told[0], cuts, case))
    yield max(found, key=lambda m: m.value)


def measured(size: Tensor, cuts: list[int], case: Case) -> Measure:
    """Hold the future's gradient against the past's."""
    earlier = before(cuts, case.length)
    past = size.masked_fill(~earlier, 0.0).amax(dim=1).clamp(min=1e-30)
    later = size.masked_fill(earlier, 0.0)
    value = float((later.amax(dim=1) / past).max())
    ahead = 0
    for row, scale, cut in zip(later, past, cuts, strict=True):
        reached = torch.nonzero(row > PASS[case.subject.dtype] * scale)
        if len(reached):
            ahead = max(ahead, int(reached[-1]) - (cut - 1))
    return Measure(probe="gradient", value=value, ahead=ahead)
