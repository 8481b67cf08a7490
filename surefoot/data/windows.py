"""Where each row of a batch stands in the tokens: an infinite stream of windows, never stored."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from surefoot.data.order import BLOCK, block
from surefoot.errors import DataError, Problem
from surefoot.randomness import key

Range = tuple[int, int]  # positions from the first, up to but without the second


def kept(position: int, skips: Iterable[Range]) -> int:
    """Give the position-th of those positions that are not skipped."""
    for first, stop in merged(skips):
        if position < first:
            break
        position += stop - first
    return position


def merged(skips: Iterable[Range]) -> list[Range]:
    """Sort ranges, and join those that touch or overlap."""
    found: list[Range] = []
    for first, stop in sorted((int(a), int(b)) for a, b in skips if b > a):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((first, stop))
    return found


@lru_cache(maxsize=64)
def offset(seed: int, epoch: int, seq_len: int) -> int:
    """Give where an epoch's first window begins, so that the cuts move from epoch to epoch."""
    return key(seed, "offset", epoch, 0) % seq_len


class Rows:
    """Rows of an epoch, in the order of a seed, epoch after epoch."""

    def __init__(self, n: int, seed: int, shuffled: bool) -> None:
        self.n, self.seed, self.shuffled = n, seed, shuffled

    def at(self, position: int) -> tuple[int, int]:
        """Give the epoch of a position, and the row that is read there."""
        epoch, i = divmod(position, self.n)
        if not self.shuffled:
            return epoch, i
        return epoch, int(block(self.n, self.seed, epoch, i // BLOCK)[i % BLOCK])

    def many(self, first: int, count: int, skips: Iterable[Range]) -> list[tuple[int, int]]:
        """Give epoch and row of so many positions, leaving out the skipped ones."""
        ranges = merged(skips)
        return [self.at(kept(p, ranges) if ranges else p) for p in range(first, first + count)]


class Windows:
    """Windows of seq_len + 1 tokens over the concatenated documents."""

    def __init__(self, tokens: int, seq_len: int, seed: int, shuffled: bool) -> None:
        self.seq_len = seq_len
        n = (tokens - seq_len) // seq_len  # the same for every offset
        if n < 1:
            raise DataError(short(tokens, seq_len))
        self.rows = Rows(n, seed, shuffled)

    def starts(self, first: int, count: int, skips: Iterable[Range]) -> NDArray[np.int64]:
        """Give the first token of each of so many rows."""
        seed, time = self.rows.seed, self.seq_len
        places = self.rows.many(first, count, skips)
        return np.array([offset(seed, e, time) + j * time for e, j in places], dtype=np.int64)


class Whole:
    """One document a row, cut at seq_len + 1 tokens."""

    def __init__(self, ends: NDArray[np.uint64], seed: int, shuffled: bool) -> None:
        self.ends = ends
        self.rows = Rows(len(ends), seed, shuffled)

    def spans(self, first: int, count: int, skips: Iterable[Range]) -> list[tuple[int, int]]:
        """Give first token and end of each of so many rows."""
        return [self.span(j) for _, j in self.rows.many(first, count, skips)]

    def span(self, j: int) -> tuple[int, int]:
        """Give first token and end of one document."""
        return (int(self.ends[j - 1]) if j else 0), int(self.ends[j])


def short(tokens: int, seq_len: int) -> Problem:
    """Say that the corpus is shorter than one row."""
    most = max(1, tokens // 2)
    return Problem(
        what="train.seq_len",
        value=str(seq_len),
        why=f"the training text has {tokens:,} tokens, and one row with its offset needs"
        f" {2 * seq_len:,}",
        instead=f"Write train.seq_len={most} or less, or a larger data.corpus",
    )
