"""Runs each beginning of a row alone: what it gives may not depend on what would follow.

Leak = max |out(x[:c]) - out(x)[:c]| / max |out|. Finds what depends on the length: means over the
row, grids and FFTs sized by it, norms over time.
"""

from collections.abc import Iterator

import torch

from surefoot.audit.case import Case
from surefoot.audit.measure import PASS, Measure
from surefoot.audit.subject import Raised

ORDER = 3
EACH = True  # condition


@torch.no_grad()
def probe(case: Case) -> Iterator[Measure]:
    """Measure how much a beginning's outputs depend on there being more."""
    subject = case.subject
    inputs = subject.drawn(1, case.length, seed=6)
    whole = subject.forward(inputs)
    scale = whole.abs().max().clamp(min=1e-30)
    worst, ahead, raised = 0.0, 0, list[tuple[int, str]]()
    for cut in case.cuts:
        try:
            out = subject.forward(inputs[:, :cut])
        except Raised as error:
            raised.append((cut, str(error)))
            continue
        far = float((out - whole[:, :cut]).abs().max() / scale)
        if not far <= PASS[subject.dtype]:
            ahead = max(ahead, 1)
        worst = far if not far <= worst else worst
    yield Measure(probe="prefix", value=worst, ahead=ahead)
    if raised:
        more = f", and at {len(raised) - 1} other lengths" if len(raised) > 1 else ""
        yield Measure(probe="prefix: lengths", failed=raised[0][1] + more)
