"""Draws which inputs each output depends on: a map of 37 positions, whose upper right is empty.

J[t, s] = |d<r, out_t> / d e_s|, the largest of three random r; row t of a batch of equal rows
differentiates its own position t. Leak = max_{s > t} J / max J.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from surefoot.audit.case import Case
from surefoot.audit.measure import PASS, Measure
from surefoot.audit.slopes import slopes
from surefoot.audit.subject import Raised

ORDER = 4
EACH = False  # once, under the condition that hides least
TIME = 37
DIRECTIONS = 3


def probe(case: Case) -> Iterator[Measure]:
    """Draw the map, and measure its upper right."""
    time = min(TIME, case.length)
    one = case.subject.drawn(1, time, seed=7)
    if case.isolated:
        inputs = one.repeat(time, *[1] * (one.ndim - 1))
        told = slopes(case.subject, inputs, [torch.arange(time)] * DIRECTIONS)
        maps = None if told is None else torch.stack(told).amax(dim=0)
    else:  # rows see each other: each position by itself
        outputs = [torch.tensor([t]) for t in range(time)]
        told = slopes(case.subject, one, outputs)
        maps = None if told is None else torch.cat(told)
    if maps is None:
        yield Measure(probe="jacobian", skipped="no module turns ids into vectors")
        return
    if not bool(maps.isfinite().all()):
        raise Raised(time, ValueError("its gradient is not finite"))
    scale = float(maps.max().clamp(min=1e-30))
    limit = PASS[case.subject.dtype] * scale
    upper = maps.triu(1)
    places = torch.nonzero(upper > limit)
    yield Measure(
        probe="jacobian",
        value=float(upper.max()) / scale,
        ahead=int((places[:, 1] - places[:, 0]).max()) if len(places) else 0,
        first=int(places[0, 0]) if len(places) else -1,
        drawn=tuple(lines(maps, limit)),
    )


def lines(maps: Tensor, limit: float) -> Iterator[str]:
    """Draw a row a position: # depends on the past, . doesn't, ! depends on the future."""
    for t, row in enumerate(maps):
        signs = ("." if not size > limit else "!" if s > t else "#" for s, size in enumerate(row))
        yield "".join(signs)
