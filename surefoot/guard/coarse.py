"""Rules for logs with few rows: what a table of losses, rates and gradient norms can show."""

import math
from collections.abc import Iterator
from itertools import pairwise

from surefoot.guard.rules.smoothing import floor
from surefoot.guard.series import NEAR, Asked, Series, finding, lr_of
from surefoot.records import Finding

BETTER = 0.005  # a loss that fell less has not improved
PATIENCE = 1000  # steps
TWICE, THRICE = 2.0, 3.0  # gradient norm against its lowest
RISE = 0.05
ABOVE_FLOOR, AT_FLOOR = 0.1, 0.02  # nats
INFLATED = 0.15


def judge(series: Series, asked: Asked) -> Iterator[Finding]:
    """Ask all of them."""
    yield from nonfinite(series)
    yield from standing(series)
    yield from rise_in_decay(series)
    yield from floor_leak(series, asked)
    yield from aux_inflation(series)


def nonfinite(series: Series) -> Iterator[Finding]:
    """Name the first loss that is not finite."""
    bad = [row for row in series.losses if not math.isfinite(row.values["loss"])]
    if bad:
        why = f"{len(bad)} of {len(series.losses)} losses are not finite"
        instead = "Go back to a checkpoint before it, and skip the data that was read there"
        told = ("loss", f"{bad[0].values['loss']}", why, instead)
        yield finding("warn", "nonfinite", bad[0], told, rows=len(bad))


def standing(series: Series) -> Iterator[Finding]:
    """See a loss that stands still, and a gradient norm that grows while it does."""
    finite = [row for row in series.losses if math.isfinite(row.values["loss"])]
    if not finite:
        return
    best = finite[0]
    lowest = norms_before(series)
    still = False
    levels: list[float] = []  # of the ratio, that were told
    for row in finite:
        improved = row.values["loss"] < best.values["loss"] * (1 - BETTER)
        best, still = (row, False) if improved else (best, still)
        if row.step - best.step > PATIENCE and not still:
            still = True
            yield plateau(series, row.step, best.step, best.values["loss"])
        norm = row.values.get("grad_norm", math.nan)
        if not math.isfinite(norm):
            continue
        lowest = min(lowest, norm)
        ratio = norm / lowest if lowest > 0 else 0.0
        level = THRICE if ratio > THRICE else TWICE if ratio >= TWICE else 0.0
        if level and not improved and level > max(levels, default=0.0):
            levels.append(level)
            yield escalation(row.step, norm, lowest, level)


def norms_before(series: Series) -> float:
    """Give the lowest gradient norm of the run that this one went on from."""
    before = [one.before.lowest_grad_norm for one in series.resumes]
    return min((norm for norm in before if norm is not None and norm > 0), default=math.inf)


def plateau(series: Series, step: int, since: int, best: float) -> Finding:
    """Say that nothing was gained for a thousand steps."""
    peak, now = series.peak_lr, next((lr_of(r) for r in series.rows if r.step == step), None)
    decaying = peak is not None and now is not None and now < 0.9 * peak
    told = (
        "loss",
        f"best {best:.4f} at step {since}",
        f"it improved by less than {BETTER:.1%} in the {step - since} steps since",
        "Let the learning rate decay from here on, or stop",
    )
    return finding("note" if decaying else "warn", "plateau", step, told, best=best, since=since)


def escalation(step: int, norm: float, lowest: float, level: float) -> Finding:
    """Say that gradients grow while the loss doesn't fall."""
    told = (
        "gradient norm",
        f"{norm:.2f} against {lowest:.2f} at its lowest",
        f"×{norm / lowest:.2f} while the loss stands still: the rate is too high for these weights",
        "Go back to before it grew, with the learning rate × 0.5",
    )
    severity = "act" if level == THRICE else "warn"
    name = "gnorm_escalation"
    return finding(severity, name, step, told, grad_norm=norm, lowest=lowest, ratio=norm / lowest)


def rise_in_decay(series: Series) -> Iterator[Finding]:
    """See a loss that rises where the falling rate should lower it."""
    rows = series.losses
    for before, row in pairwise(rows):
        then, now = lr_of(before), lr_of(row)
        if then is None or now is None or not now < then * (1 - NEAR):
            continue
        old, new = before.values["loss"], row.values["loss"]
        if new > old * (1 + RISE):
            told = (
                "loss",
                f"{old:.4f} → {new:.4f} (+{new / old - 1:.1%})",
                f"it rose while the learning rate fell from {then:.4g} to {now:.4g}: one of the "
                "two rows is a single batch, or the data changed",
                "Print means over many steps, and a validation loss",
            )
            yield finding("warn", "loss_rise_in_decay", row, told, before=old, after=new)
            return


def floor_leak(series: Series, asked: Asked) -> Iterator[Finding]:
    """See a smoothed loss that sits on its floor, as of a model that reads the answer."""
    share, vocab = asked.label_smoothing, asked.vocab
    if not share or vocab is None or vocab < 2:
        return
    least, told_at = floor(share, vocab), math.inf
    for row in series.losses:
        gap = row.values["loss"] - least
        level = AT_FLOOR if gap < AT_FLOOR else ABOVE_FLOOR if gap < ABOVE_FLOOR else math.inf
        if level >= told_at:
            continue
        told_at = level
        side = f"{gap:.4f} above" if gap >= 0 else f"{-gap:.4f} below"
        told = (
            "loss",
            f"{row.values['loss']:.4f}, {side} the floor {least:.4f}",
            f"label smoothing {share:g} with {vocab} tokens allows no lower loss: a model that "
            "sees the answer sits there",
            "Audit the model for reads of the future: surefoot audit package.module:Class",
        )
        severity = "act" if level == AT_FLOOR else "warn"
        yield finding(severity, "floor_leak", row, told, gap=gap, floor=least)


def aux_inflation(series: Series) -> Iterator[Finding]:
    """See a loss that holds far more than the cross-entropy beside it."""
    name = "ce" if "ce" in series.called else "entropy"
    pairs = [(row, row.values[name]) for row in series.losses if name in row.values]
    shares = [1 - other / row.values["loss"] for row, other in pairs if row.values["loss"] > 0]
    if len(shares) < len(pairs) or not shares or not min(shares) > INFLATED:
        return
    called = series.called.get(name, name)
    low, high = min(shares), max(shares)
    told = (
        "loss",
        f"{shares[0]:.0%} of it is not in {called}",
        f"{low:.0%} to {high:.0%} throughout: auxiliary losses are in it, so it is no "
        "cross-entropy of the next token",
        f"Compare by {called}, not by loss",
    )
    yield finding("note", "aux_inflation", pairs[0][0], told, share=shares[0], low=low, high=high)
