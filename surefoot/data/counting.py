"""What counting alone would predict: the entropies of tokens and of pairs, nats a token."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

WEIGHTS = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0, 2048.0)  # of what tokens alone say, in tokens seen


def unigram_entropy(chunks: Iterable[NDArray[np.integer]], vocab: int, most: int) -> float:
    """Count how frequent each token is, over so many of them."""
    counts = np.zeros(vocab, dtype=np.int64)
    seen = 0
    for chunk in chunks:
        counts += np.bincount(chunk, minlength=len(counts))
        seen += len(chunk)
        if seen >= most:
            break
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def bigram_entropy(tokens: NDArray[np.integer]) -> float:
    """Count pairs, and give the cross-entropy of each token after the one before it.

    Each pair is predicted from all others: p = (n(ab) - 1 + w p(b)) / (n(a) - 1 + w), with the w
    that predicts best. The entropy of the counts themselves would be far too low: of pairs that are
    there once it says that nothing else can follow.
    """
    values = tokens.astype(np.int64)
    if len(values) < 2:
        return 0.0
    first, second = values[:-1], values[1:]
    base = int(values.max()) + 1
    pairs, counts = np.unique(first * base + second, return_counts=True)
    before, after = np.bincount(first, minlength=base), np.bincount(second, minlength=base)
    own, alone = counts - 1.0, (after / len(second))[pairs % base]
    context = before[pairs // base] - 1.0
    found = [
        -(counts * np.log((own + weight * alone) / (context + weight))).sum() / len(second)
        for weight in WEIGHTS
    ]
    return float(min(found))
