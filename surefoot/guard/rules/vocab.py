"""Judges the vocabulary: text enough to learn each id, and rows that kernels can cut (003)."""

from collections.abc import Iterator
from typing import Any

from surefoot.guard.ruling import found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "vocab_data": (
        "warn",
        "over 10M parameters with under 1000 tokens of text an id, or half of them in embeddings",
        "003",
    ),
    "vocab_round": ("note", "a vocabulary that is no multiple of 64, on a GPU", ""),
}
TEXT = 1000  # tokens of text that an id should have on average
LARGE = 10_000_000  # parameters from which it matters
HALF = 0.5
STEP = 64


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Look at the rows of embedding and head."""
    vocab = recipe.model.vocab
    if not vocab:
        return
    if situation.on_gpu and vocab % STEP:
        why = f"{vocab % STEP} rows are left over when kernels cut it into tiles of {STEP}"
        instead = f"Write model.vocab={up(vocab)}"
        yield found("vocab_round", "note", "model.vocab", vocab, why, instead)
    if situation.forecast.total > LARGE:
        yield from large(recipe, situation)


def large(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Ask whether the text, and the rest of the model, are worth so many ids."""
    parameters, total = situation.forecast.parameters, situation.forecast.total
    vocab, corpus = recipe.model.vocab, situation.corpus_tokens
    rows = parameters.get("embedding", 0) + parameters.get("head", 0)
    causes: list[str] = []
    fits = vocab
    if corpus is not None and corpus / vocab < TEXT:
        causes.append(f"the corpus has {corpus / vocab:.0f} tokens an id, and {TEXT} are few")
        fits = min(fits, corpus // TEXT)
    if rows > HALF * total:
        causes.append(f"{rows / total:.0%} of the parameters lie in embedding and head")
        fits = min(fits, int((total - rows) / (rows / vocab)))
    if not causes:
        return
    fits = max(512, fits // STEP * STEP)
    tokenizer: Any = recipe.data.tokenizer
    learnt = f" data.tokenizer.vocab={fits}" if hasattr(tokenizer, "vocab") else ""
    why = f"{' and '.join(causes)} (003)"
    instead = f"Write model.vocab={fits}{learnt}"
    yield found("vocab_data", "warn", "model.vocab", vocab, why, instead)


def up(count: int) -> int:
    """Round up to whole tiles."""
    return -(-count // STEP) * STEP
