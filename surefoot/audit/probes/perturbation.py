"""Redraws all later tokens and compares every earlier output, and every recorded choice.

Leak = max |out(x)[:c] - out(x')[:c]| / max |out|, x' = x but for positions >= c; recorded indices
must be equal exactly.
"""

import torch

from surefoot.audit.measure import Measure
from surefoot.audit.subject import Subject, Trace, random_tokens, redrawn


@torch.no_grad()
def probe(subject: Subject, time: int, cuts: list[int]) -> Measure:
    """Measure how much later tokens change earlier outputs."""
    tokens = random_tokens(subject, len(cuts), time, seed=0)
    changed = redrawn(tokens, cuts, subject.vocab)
    before, after = Trace(), Trace()
    a, b = subject.forward(tokens, before), subject.forward(changed, after)
    scale = a.abs().max().clamp(min=1e-30)
    far = (a - b).abs().flatten(2).amax(dim=2) / scale  # (cut, time)
    past = torch.arange(time) < torch.tensor(cuts)[:, None]
    seen = torch.where(past, far, torch.zeros_like(far))
    choices = [name for name in before if differs(before[name], after[name], past)]
    return Measure(
        probe="perturbation",
        value=float(seen.max()),
        ahead=ahead(seen, cuts),
        choices=tuple(choices),
    )


def differs(a: torch.Tensor, b: torch.Tensor, past: torch.Tensor) -> bool:
    """Say whether a recorded tensor (batch, time, ...) changed in the past."""
    same_time = a.ndim >= 2 and a.shape[:2] == past.shape
    return same_time and bool((a[past] != b[past]).any())


def ahead(seen: torch.Tensor, cuts: list[int]) -> int:
    """Give how far ahead a position was seen to look: at least this many tokens."""
    worst = 0
    for row, cut in zip(seen, cuts, strict=True):
        reached = torch.nonzero(row > 1e-9)
        if len(reached):
            worst = max(worst, cut - int(reached[0]))
    return worst
