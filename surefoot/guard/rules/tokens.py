"""Compares the tokens that a plan reads with its parameters and with the corpus.

About 20 tokens a parameter are the compute-optimal usual (Hoffmann et al. 2022, arXiv 2203.15556);
repeated data are as good as new for about 4 epochs and worth nothing by about 40 (Muennighoff et
al. 2023, arXiv 2305.16264). 003 gave 275M parameters 20.5M tokens: .074 each.
"""

import math
from collections.abc import Iterator

from surefoot.guard.ruling import found, step_tokens
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "tokens_per_param": ("warn, note", "under .1, under 20 or over 2000 tokens a parameter", "003"),
    "data_repeats": (
        "refuse, warn, note",
        "the corpus is read over once, 4 or 40 times",
        "003, 001",
    ),
    "data_unseen": ("note", "less than half of the corpus is ever read", "003"),
}
FEW, USUAL, MANY = 0.1, 20.0, 2000.0
GOOD, LAST = 4.0, 40.0
SEEN = 0.5


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Count tokens."""
    each = step_tokens(recipe, situation)
    tokens = recipe.train.steps * each
    if not situation.begun_from:  # what the weights have read before, nobody knows
        yield from parameters(recipe, situation, tokens, each)
    if situation.corpus_tokens:
        yield from epochs(recipe, situation.corpus_tokens, tokens, each)


def parameters(recipe: Recipe, situation: Situation, tokens: int, each: int) -> Iterator[Finding]:
    """Hold the tokens against the parameters."""
    count = situation.forecast.total
    ratio = tokens / count
    if USUAL <= ratio <= MANY:
        return
    if ratio < USUAL:
        babble = "; 003 had .074" if ratio < FEW else "; expect babble in the right style"
        why = (
            f"{tokens / 1e6:.3g}M tokens for {count / 1e6:.3g}M parameters are {ratio:.2g} each; "
            f"{USUAL:.0f} is usual (Hoffmann et al. 2022){babble}"
        )
        steps = math.ceil(USUAL * count / each)
    else:
        why = (
            f"{ratio:.0f} tokens a parameter: a larger model would use them better "
            "(Hoffmann et al. 2022)"
        )
        steps = int(MANY * count / each)
    severity = "warn" if ratio < FEW else "note"
    instead = f"Write train.steps={max(1, steps)}"
    yield found("tokens_per_param", severity, "train.steps", recipe.train.steps, why, instead)


def epochs(recipe: Recipe, corpus: int, tokens: int, each: int) -> Iterator[Finding]:
    """Hold the tokens against the corpus."""
    ratio, steps = tokens / corpus, recipe.train.steps
    if ratio > 1:
        severity = "refuse" if ratio > LAST else "warn" if ratio > GOOD else "note"
        fits = max(1, int((GOOD if ratio > GOOD else 1) * corpus / each))
        why = (
            f"its {corpus / 1e6:.3g}M tokens are read {ratio:.1f} times; up to 4 times is as good "
            "as new text, by 40 nothing is left (Muennighoff et al. 2023)"
        )
        instead = f"Write train.steps={fits}, or a larger data.corpus"
        yield found("data_repeats", severity, "train.steps", steps, why, instead)
    elif ratio < SEEN:
        why = f"{1 - ratio:.0%} of the corpus' {corpus / 1e6:.3g}M tokens are never read (003: 79%)"
        instead = f"Write train.steps={math.ceil(SEEN * corpus / each)}"
        yield found("data_unseen", "note", "train.steps", steps, why, instead)
