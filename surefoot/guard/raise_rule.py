"""When a plateau is one: seed 002's rule for raising a knob, made safe against noise.

On the medians of n = 8 blocks of B = 50 steps: slope by least squares on the block's index,
se = sqrt(SSE/(n-2)/Sxx), Sxx = n(n²-1)/12; rate = -slope/mean, the relative gain a block;
ub = rate + t.95(n-2) 1.5 se/mean, 1.5 for blocks that know of each other. A hit is ub < threshold;
looked at each 4 blocks, two hits in a row raise. 002 compares a .5% gain within 50 steps with noise
five times that: it fires on its first look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

BLOCK = 50  # optimiser steps
USED = 8  # blocks of a look
DROPPED = 4  # blocks after an event that are not looked at
EVERY = 4  # blocks between two looks
HITS = 2  # looks in a row
INFLATION = 1.5
THRESHOLD = 0.005
T95 = 1.943  # Student's t for n - 2 = 6 degrees of freedom, one-sided 95%


@dataclass(frozen=True, slots=True)
class Look:
    """What the last blocks say."""

    rate: float  # relative gain a block
    bound: float  # its upper bound, 95%


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to raise now, and why."""

    due: bool
    bound: float
    reason: str


def look(medians: Sequence[float]) -> Look:
    """Bound the rate at which block medians fall."""
    n, mean = len(medians), sum(medians) / len(medians)
    assert n == USED, f"a look is at {USED} blocks, not {n}"
    middle, sxx = (n - 1) / 2, n * (n * n - 1) / 12
    slope = sum((i - middle) * (y - mean) for i, y in enumerate(medians)) / sxx
    misfit = sum((y - mean - slope * (i - middle)) ** 2 for i, y in enumerate(medians))
    se = math.sqrt(misfit / (n - 2) / sxx)
    return Look(-slope / mean, -slope / mean + T95 * INFLATION * se / mean)


def decide(
    medians: Sequence[float],
    threshold: float = THRESHOLD,
    dwell: int = 0,
    max_dwell: int = 0,
    raised: bool = False,
) -> Decision:
    """Judge all block medians since the last raise (or the start), newest last.

    `dwell` and `max_dwell` are blocks; max_dwell = 0 waits for a plateau as long as it takes.
    `raised`: these medians began with a raise, whose spike is not looked at.
    """
    count, first = len(medians), DROPPED if raised else 0
    bound, hits = math.inf, 0
    for end in range(count, count - HITS * EVERY, -EVERY):
        if end - first < USED:
            break
        seen = look(medians[end - USED : end])
        bound = seen.bound if end == count else bound
        hits += seen.bound < threshold
    if max_dwell and count >= max_dwell:
        return Decision(True, bound, f"max_dwell: {count * BLOCK} steps at this value")
    due = count % EVERY == 0 and hits == HITS and count >= dwell
    return Decision(due, bound, "plateau" if due else "")


def seed_rule(losses: Sequence[float], window: int = BLOCK, threshold: float = THRESHOLD) -> bool:
    """Judge as seed 002 does: the last `window` losses gained less than the threshold.

    The noise of one step is five times what it looks for, so it fires while the loss still falls.
    """
    if len(losses) < window:
        return False
    first, last = losses[-window], losses[-1]
    return first - last < threshold * abs(first)
