"""What is said of whole runs, and of several side by side: gains, missing columns, meanings."""

import re
from collections.abc import Iterator, Mapping, Sequence

from surefoot.guard.series import NEAR, Asked, Series, finding, lr_of
from surefoot.records import Finding

FORWARD = re.compile(r"wavefield|haar|spectral|bidirectional|non-?causal|fourier|fnet")
WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
FEW, USUAL = 0.1, 20.0  # tokens a parameter


def of_one(series: Series, found: Sequence[Finding]) -> Iterator[Finding]:
    """Say what the decay gave, and what a title gives away."""
    yield from decay_gain(series, {one.id for one in found})
    if match := FORWARD.search(series.title.lower()):
        told = (
            "title",
            f'"{series.title}"',
            f"{match[0]} mixes both ways unless it is built not to; a loss with a view of "
            "the future says nothing of what a model can generate",
            "Audit the model: surefoot audit package.module:Class",
        )
        yield finding("note", "noncausal", series.first_step or 0, told)


def decay_gain(series: Series, ids: set[str]) -> Iterator[Finding]:
    """Say how much of the loss went in the decay of the learning rate."""
    stable, rows, peak = series.last_at_peak(), series.losses, series.peak_lr
    if stable is None or peak is None or rows[-1].step <= stable.step:
        return
    last_lr = lr_of(rows[-1])
    start, end = stable.values["loss"], rows[-1].values["loss"]
    if last_lr is None or last_lr >= peak * (1 - NEAR) or not start > 0 or not end < start:
        return
    gain = 1 - end / start
    evidence: dict[str, object] = {"gain": gain, "from": stable.step, "start": start, "end": end}
    why = f"from step {stable.step}, the last at the peak rate, to {rows[-1].step}: "
    why += f"{start:.4f} → {end:.4f}"
    if "final_unconfirmed" in ids and rows[-2].step > stable.step:
        evidence["gain_confirmed"] = confirmed = 1 - rows[-2].values["loss"] / start
        why += f"; {confirmed:.1%} without the last row, which nothing confirms"
    instead = "Compare runs at the same place of their schedules: after the decay, or before it"
    told = ("decay", f"{gain:.1%} of the loss", why, instead)
    yield finding("note", "decay_gain", rows[-1], told, **evidence)


def of_all(
    all_series: Sequence[Series], found: Mapping[int, Sequence[Finding]], asked: Asked
) -> Iterator[Finding]:
    """Say what holds for all that was read together."""
    if all_series and not any("val_ce" in row.values for s in all_series for row in s.rows):
        yield no_validation(len(all_series))
    yield from incomparable(all_series, found, asked)
    yield from tokens_per_param(all_series, asked)


def no_validation(count: int) -> Finding:
    """Say that no number here is of held-out data."""
    told = (
        "validation",
        f"none in {count} run{'s' if count > 1 else ''}",
        "every loss is of the training data, and of single batches as far as the log tells",
        "Log a validation loss, on at least 10,000 tokens that are not trained on",
    )
    return finding("warn", "no_validation", 0, told, runs=count)


def incomparable(
    all_series: Sequence[Series], found: Mapping[int, Sequence[Finding]], asked: Asked
) -> Iterator[Finding]:
    """See columns of one name that mean different things."""
    meant = [meaning(found.get(place, ()), asked) for place in range(len(all_series))]
    kinds = list(dict.fromkeys(meant))
    if len(kinds) < 2:
        return
    listed = "; ".join(
        f"{kind} ({', '.join(s.name for s, m in zip(all_series, meant, strict=True) if m == kind)})"
        for kind in kinds
    )
    told = (
        "loss",
        f"{in_words(len(meant))} columns of {in_words(len(kinds))} meanings",
        listed,
        "Compare by the cross-entropy of the next token on the same held-out data, nothing else",
    )
    yield finding("warn", "incomparable", 0, told, meanings=kinds)


def in_words(number: int) -> str:
    """Write a small number out."""
    return WORDS.get(number, str(number))


def meaning(found: Sequence[Finding], asked: Asked) -> str:
    """Say what a loss is, as far as can be seen."""
    ids = {one.id for one in found}
    front = "smoothed cross-entropy" if asked.label_smoothing else "cross-entropy"
    if "floor_leak" in ids:
        return f"{front}, with a leak suspected"
    return f"{front} with auxiliary losses" if "aux_inflation" in ids else front


def tokens_per_param(all_series: Sequence[Series], asked: Asked) -> Iterator[Finding]:
    """Compare the tokens of the longest session with the parameters."""
    if not asked.params or not asked.batch or not asked.seq_len or not all_series:
        return
    longest = max(all_series, key=lambda series: series.steps)
    tokens = longest.steps * asked.batch * asked.seq_len
    ratio = tokens / asked.params
    if ratio >= USUAL:
        return
    told = (
        "tokens a parameter",
        f"{ratio:.3f}",
        f"{tokens / 1e6:.1f}M tokens at most for {asked.params / 1e6:.0f}M parameters; 20 is usual",
        "Train on more tokens, or a smaller model",
    )
    severity = "warn" if ratio < FEW else "note"
    yield finding(severity, "tokens_per_param", 0, told, ratio=ratio, tokens=tokens)
