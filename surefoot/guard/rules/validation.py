"""Refuses a long run that nothing would judge: no held-out text, or too little of it (001, 003)."""

import math
from collections.abc import Iterator

from surefoot.guard.ruling import found, long_because
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "no_validation": (
        "refuse, warn",
        "no held-out text, no validation on the way, or under 10,000 tokens; refused if long",
        "001, 003",
    )
}
TOKENS = 10_000
SPREAD = 2.5  # nats: what single tokens' losses spread by, about
SHARE = 0.01
EVERY = 500


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Look at what is held out, how often, and how much of it."""
    what, value, why, instead = lacking(recipe, situation)
    if why:
        long = long_because(recipe, situation)
        more = f", and the run is long ({long})" if long else ""
        severity = "refuse" if long else "warn"
        yield found("no_validation", severity, what, value, f"{why}{more} (001)", instead)


def lacking(recipe: Recipe, situation: Situation) -> tuple[str, object, str, str]:
    """Say what is lacking: key, value, why, and what to write; no `why` if nothing is."""
    val, train = recipe.val, recipe.train
    literals: list[str] = []
    causes: list[tuple[str, object, str]] = []
    if val.share == 0 and val.corpus is None:
        causes.append(("val.share", val.share, "no text is held out"))
        literals.append(f"val.share={SHARE}")
    if val.every == 0:
        causes.append(("val.every", val.every, "nothing is validated before the end"))
        literals.append(f"val.every={min(EVERY, max(1, train.steps // 4))}")
    held, read = situation.val_tokens, val.batches * train.batch * train.seq_len
    if 0 < read < TOKENS:
        causes.append(("val.batches", val.batches, few(read)))
        literals.append(f"val.batches={math.ceil(TOKENS / (train.batch * train.seq_len))}")
    if held is not None and held < TOKENS and val.corpus is not None:
        causes.append(("val.corpus", val.corpus.kind, few(held)))
        literals.append(f"more text into val.corpus: {TOKENS:,} tokens")
    elif held is not None and held < TOKENS and val.share:
        causes.append(("val.share", val.share, few(held)))
        literals.append(f"val.share={share_for(held, situation.corpus_tokens or 0, val.share)}")
    if not causes:
        return "", "", "", ""
    what, value, _ = causes[0]
    return what, value, "; ".join(why for _, _, why in causes), f"Write {' '.join(literals)}"


def few(tokens: int) -> str:
    """Say what so few tokens are worth."""
    error = SPREAD / math.sqrt(max(1, tokens))
    return f"{tokens} tokens are judged by, so the result is uncertain by about {error:.3f} nats"


def share_for(held: int, trained: int, share: float) -> float:
    """Give the share of the text that holds enough tokens, at most half."""
    wanted = 1.1 * TOKENS / max(1, held + trained)
    return round(min(0.5, max(share, wanted)), 3)
