"""Says below what a smoothed loss can't fall, so that nobody reads it as cross-entropy (003)."""

import math
from collections.abc import Iterator
from typing import Any

from surefoot.guard.ruling import found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {"decay_floor_smoothing": ("note", "label smoothing: prints the loss's floor", "003")}


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:  # noqa: ARG001
    """Print the floor."""
    head: Any = recipe.model.head
    share, vocab = getattr(head, "label_smoothing", 0.0), recipe.model.vocab
    if share <= 0 or vocab < 2:
        return
    why = (
        f"with {vocab} tokens no loss falls below {floor(share, vocab):.4f} nats, which is the "
        "smoothed target's own entropy; compare ce, not loss (003)"
    )
    instead = "Write model.head.label_smoothing=0.0 to optimise the cross-entropy itself"
    yield found("decay_floor_smoothing", "note", "model.head.label_smoothing", share, why, instead)


def floor(share: float, vocab: int) -> float:
    """Give the entropy of a target that spreads a share over the vocabulary, nats."""
    top, rest = 1 - share + share / vocab, share / vocab
    return -top * math.log(top) - (vocab - 1) * rest * math.log(rest)
