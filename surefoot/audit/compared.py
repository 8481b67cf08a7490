"""Compares two runs over their pasts: any tensor that has a time axis, wherever it has it."""

import torch
from torch import Tensor

from surefoot.audit.subject import before


def pasts(value: Tensor, cuts: list[int], time: int) -> list[Tensor] | None:
    """Give each row's past of a tensor; None where it has no time axis.

    The audit's lengths are primes, so an axis of that size is time. With two such axes, as
    attention's scores have, only [:cut, :cut] is the past.
    """
    rows = len(cuts)
    if value.ndim and value.shape[0] == rows * time:
        value = value.unflatten(0, (rows, time))
    axes = [i for i, size in enumerate(value.shape) if size == time]
    if not axes:
        return None
    row_axis = next((i for i in (0, 1) if i < value.ndim and i not in axes
                     and value.shape[i] % rows == 0), None)  # fmt: skip
    if row_axis is None:
        return [cut_off(value, axes, min(cuts))]
    parts = value.unflatten(row_axis, (rows, -1)).movedim(row_axis, 0)
    return [cut_off(part, axes, cut) for part, cut in zip(parts, cuts, strict=True)]


def cut_off(value: Tensor, axes: list[int], cut: int) -> Tensor:
    """Keep what is before the cut along every time axis."""
    for axis in axes:
        value = value.narrow(axis, 0, cut)
    return value


def same(a: list[Tensor], b: list[Tensor], cuts: list[int], time: int, tolerance: float) -> bool:
    """Say whether two records of tensors agree on the past."""
    for x, y in zip(a, b, strict=False):
        left, right = pasts(x, cuts, time), pasts(y, cuts, time)
        if left is None or right is None or x.shape != y.shape:
            continue
        if not x.dtype.is_floating_point:
            if not all(torch.equal(p, q) for p, q in zip(left, right, strict=True)):
                return False
            continue
        scale = max(
            (float(p.nan_to_num(0, 0, 0).abs().max()) for p in left if p.numel()), default=0
        )
        limit = tolerance * max(scale, 1e-30)
        if not all(near(p, q, limit) for p, q in zip(left, right, strict=True)):
            return False
    return True


def near(a: Tensor, b: Tensor, limit: float) -> bool:
    """Say whether two tensors are equal up to a limit; infinities and NaN equal themselves."""
    equal = (a == b) | (a.isnan() & b.isnan()) | ((a - b).abs() <= limit)
    return bool(equal.all())


def share(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """Give |a - b| by (row, time) at marked places, relative to the largest of a."""
    scale = a.abs().max().clamp(min=1e-30)
    far = (a - b).abs().flatten(2).amax(dim=2) / scale
    return torch.where(where, far, torch.zeros_like(far))


def reach(seen: Tensor, cuts: list[int], limit: float) -> tuple[int, int]:
    """Say how far ahead the past was seen to look, at least, and where first."""
    worst, first = 0, -1
    for row, cut in zip(seen, cuts, strict=True):
        places = torch.nonzero(row > limit)
        if len(places):
            earliest = int(places[0])
            worst = max(worst, cut - earliest)
            first = earliest if first < 0 else min(first, earliest)
    return worst, first


def changed(a: Tensor, b: Tensor, cuts: list[int], limit: float) -> bool:
    """Say whether something recorded (batch, time, ...) changed in the past."""
    if a.ndim < 2 or a.shape != b.shape or a.shape[0] != len(cuts):
        return False
    past = before(cuts, a.shape[1])
    if not a.dtype.is_floating_point:
        return bool((a[past] != b[past]).any())
    return not near(a[past], b[past], limit * float(a.abs().max().clamp(min=1e-30)))
