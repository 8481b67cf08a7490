"""How much of a difference rounding alone could make."""

import copy
from dataclasses import replace

import torch

from surefoot.audit.case import Case
from surefoot.audit.compared import share
from surefoot.audit.measure import Measure
from surefoot.audit.subject import DTYPES, before

LAST_BITS = 4.0  # units in the last place that every weight is moved by, at most
ALLOWED = 10.0  # times as much as that moves


def allowing(measure: Measure, case: Case) -> Measure:
    """Judge what could be a leak or rounding again, by what rounding does in this very model."""
    if measure.probe != "perturbation" or measure.verdict != "inconclusive":
        return measure
    floor = ALLOWED * rounding(case)
    return replace(measure, tolerance=floor) if measure.value <= floor else measure


@torch.no_grad()
def rounding(case: Case) -> float:
    """Move every weight by its last bits, and give how far the past's outputs move.

    Weights times a hundred amplify each rounding error as they amplify a leak: a difference that is
    no larger than this one is none that anybody could tell from it.
    """
    subject, cuts = case.subject, case.cuts
    if subject.rebind is None:
        return 0.0
    module, source = copy.deepcopy(subject.module), torch.Generator().manual_seed(2)
    spread = LAST_BITS * torch.finfo(DTYPES[subject.dtype]).eps
    for tensor in module.parameters():
        drawn = torch.rand(tensor.shape, generator=source, dtype=torch.float64)
        tensor.mul_((1 + spread * (2 * drawn - 1)).to(tensor.dtype))
    inputs = subject.drawn(len(cuts), case.length)
    other = subject.around(module).forward(inputs)
    return float(share(subject.forward(inputs), other, before(cuts, case.length)).max())
