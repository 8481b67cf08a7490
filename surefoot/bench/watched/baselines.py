"""What others do about a loss that leaves its level, over the same streams; each gives its alarms.

All of them get our latch: after an alarm the next one counts 200 quiet steps later.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from statistics import fmean, median, stdev

from surefoot.bench.watched.streams import Stream
from surefoot.records import Finding, Step

QUIET = 200
Rule = Callable[[list[Step]], Iterator[int]]


def fixed_threshold(steps: list[Step]) -> Iterator[int]:
    """Alarm where the loss is over 1.5 times the median of the last 100."""
    last: deque[float] = deque(maxlen=100)
    for step in steps:
        if len(last) == 100 and not step.ce <= 1.5 * median(last):
            yield step.step
        if math.isfinite(step.ce):
            last.append(step.ce)


def six_sigma(steps: list[Step]) -> Iterator[int]:
    """Alarm 6 deviations over the mean of the last 128, from 64 on (OLMo-core's step skipping)."""
    last: deque[float] = deque(maxlen=128)
    for step in steps:
        if len(last) >= 64 and not step.ce <= fmean(last) + 6 * stdev(last):
            yield step.step
        if math.isfinite(step.ce):
            last.append(step.ce)


def plain_cusum(steps: list[Step]) -> Iterator[int]:
    """Add up gaps to the best moving average over a median deviation, with nothing allowed for."""
    level = best = None
    gaps: deque[float] = deque(maxlen=256)
    total = 0.0
    for step in steps:
        x = step.ce
        if not math.isfinite(x):
            continue
        if level is None or best is None:
            level = best = x
        gaps.append(x - level)
        scale = max(1.4826 * median(abs(gap) for gap in gaps), 1e-6)
        if len(gaps) >= 64:
            total = max(0.0, total + (x - best) / scale - 0.5)
            if total > 12:
                yield step.step
                total = 0.0
        level += (x - level) / 32
        best = min(best, level)


def seed_000(steps: list[Step]) -> Iterator[int]:
    """Alarm by the raw rules of 000: a range of .3 in 400 steps, a logit of 28, a dead norm."""
    first: list[float] = []
    for step in steps:
        if step.step <= 400 and math.isfinite(step.ce):
            first.append(step.ce)
            if len(first) > 10 and max(first) - min(first) >= 0.3:
                yield step.step
        if step.logit_max is not None and step.logit_max > 28:
            yield step.step
        if step.layer_grad_norm and min(step.layer_grad_norm) < 1e-6:
            yield step.step


def seed_002(steps: list[Step]) -> Iterator[int]:
    """Alarm by 002's plateau: less than .5% better within 50 steps."""
    for i in range(69, len(steps), 50):
        before = [s.ce for s in steps[i - 69 : i - 49] if math.isfinite(s.ce)]
        now = [s.ce for s in steps[i - 19 : i + 1] if math.isfinite(s.ce)]
        if before and now and fmean(now) > 0.995 * fmean(before):
            yield steps[i].step


RULES: Mapping[str, Rule] = {
    "fixed threshold (1.5 x median)": fixed_threshold,
    "6 sigma over 128 (OLMo-core)": six_sigma,
    "plain CUSUM": plain_cusum,
    "raw rules of 000": seed_000,
    "raw plateau of 002": seed_002,
}


def latched(rule: Rule) -> Callable[[Stream], list[Finding]]:
    """Let a rule speak once an episode, as acts."""

    def alarms(stream: Stream) -> list[Finding]:
        found: list[Finding] = []
        last = -QUIET
        for step in rule(stream.steps):
            if step - last >= QUIET:
                found.append(
                    Finding(id="alarm", severity="act", what="", value="", why="", instead="",
                            step=step)
                )  # fmt: skip
            last = step
        return found

    return alarms
