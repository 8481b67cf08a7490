"""Rules that a log's own numbers break: columns, throughputs and claims that can't be so."""

import math
import re
from collections.abc import Iterator

from surefoot.guard.rows import Row
from surefoot.guard.series import Asked, Series, finding
from surefoot.records import Finding

TOLERANCE = 0.02  # nats, of rounded columns
OFF = 0.15  # throughput
FASTER = 2.0  # fall per step, against the interval before
LARGE = 0.05  # a fall that is no noise
CLAIM = re.compile(
    r"\b(?:surpass\w*|beat\w*|below|under|better than|new best)\b[^\d\n]{0,40}(\d+\.\d+)",
    re.IGNORECASE,
)


def judge(series: Series, asked: Asked) -> Iterator[Finding]:
    """Ask all of them."""
    yield from entropy_not_ce(series, asked)
    yield from claims(series)
    yield from final_unconfirmed(series)
    yield from throughput(series, asked)


def entropy_not_ce(series: Series, asked: Asked) -> Iterator[Finding]:
    """See a column that is called cross-entropy and can't be: the smoothed loss is too low."""
    share, vocab = asked.label_smoothing, asked.vocab
    name = "ce" if "ce" in series.called else "entropy"
    called = series.called.get(name, name)
    if share is None or vocab is None or called.lower() == "entropy":
        return
    for row in series.losses:
        least = (1 - share) * row.values.get(name, math.nan) + share * math.log(vocab)
        if row.values["loss"] < least - TOLERANCE:
            told = (
                called,
                f"{row.values[name]:.2f} beside a loss of {row.values['loss']:.4f}",
                f"a loss with label smoothing {share:g} over {vocab} tokens would be at least "
                f"{least:.4f} if it were the cross-entropy: it is the entropy of the predictions",
                "Log the cross-entropy of the next token as ce, and compare by that",
            )
            yield finding("warn", "entropy_not_ce", row, told, least=least)
            return


def claims(series: Series) -> Iterator[Finding]:
    """See a note that says the loss is below a number, where it isn't."""
    for row in series.losses:
        for text in CLAIM.findall(row.note):
            claimed, loss = float(text), row.values["loss"]
            if loss < claimed:
                continue
            first = next((r.step for r in series.losses if r.values["loss"] < claimed), None)
            truth = f"first below it at step {first}" if first else "no row is below it"
            told = (
                "note",
                f'"{row.note}" beside {loss:.4f}',
                f"{loss:.4f} is not below {text}; {truth}",
                "Take the claim out of the report",
            )
            yield finding("warn", "claim_contradicted", row, told, claimed=claimed, loss=loss)


def final_unconfirmed(series: Series) -> Iterator[Finding]:
    """See a last row that nothing confirms: a fall without a like, or fields that are missing."""
    rows = series.losses
    if len(rows) < 3:
        return
    before, last, reasons = rows[-2], rows[-1], list[str]()
    falls = [per_thousand(*pair) for pair in zip(rows[-3:], rows[-2:], strict=False)]
    large = last.values["loss"] < before.values["loss"] * (1 - LARGE)
    if large and falls[0] > 0 and falls[1] > FASTER * falls[0]:
        reasons.append(f"it fell by {falls[1]:.3f} per 1000 steps, {falls[0]:.3f} before")
    missing = [
        name
        for name in before.values
        if name not in last.values and all(name in row.values for row in rows[:-1])
    ]
    if missing:
        reasons.append(f"{', '.join(missing)} is missing there alone")
    if reasons:
        told = (
            "last row",
            f"loss {last.values['loss']:.4f}",
            " and ".join(reasons) + ": it may be one batch",
            "Evaluate the checkpoint on held-out data before believing it",
        )
        yield finding("warn", "final_unconfirmed", last, told, falls=falls, missing=missing)


def per_thousand(before: Row, after: Row) -> float:
    """Give what the loss fell per 1000 steps."""
    gap = max(1, after.step - before.step)
    return (before.values["loss"] - after.values["loss"]) / gap * 1000


def throughput(series: Series, asked: Asked) -> Iterator[Finding]:
    """Compare the tokens a second that are reported with those that the steps amount to."""
    took, reported = series.facts.get("duration_s"), series.facts.get("tok_per_s")
    if not took or not reported or not asked.batch or not asked.seq_len:
        return
    counted = series.steps * asked.batch * asked.seq_len / took
    if abs(counted / reported - 1) <= OFF:
        return
    told = (
        "throughput",
        f"{reported:.0f} tok/s reported, {counted:.0f} by arithmetic",
        f"{series.steps} steps × {asked.batch} × {asked.seq_len} tokens in {took / 60:.0f} min",
        "Say how it was counted: it is off by ×" + f"{counted / reported:.2f}",
    )
    name = "throughput_arithmetic"
    yield finding("warn", name, series.last_step, told, counted=counted, reported=reported)
