"""The order in which rows are read: a keyed permutation that is computed, never stored."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from surefoot.randomness import GOLDEN, MASK, mix

Words = NDArray[np.uint64]
ROUNDS = 6  # three fail a serial test at n = 1000
SORTED = 4096  # up to here an argsort: the network is visibly uneven below some 16 indices
BLOCK = 4096  # positions whose order is computed together: bulk costs a tenth of one by one


def keys(seed: int, epoch: int, stream: int = 0) -> tuple[int, ...]:
    """Give the round keys of one epoch's permutation."""
    k = mix(seed + GOLDEN)
    k = mix(k ^ mix(epoch * GOLDEN + 1))
    k = mix(k ^ mix(stream * GOLDEN + 2))
    return tuple(mix(k + (r + 1) * GOLDEN) for r in range(ROUNDS))


def scrambled(x: Words) -> Words:
    """Scramble 64-bit words in bulk, as `randomness.mix` does one."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def widths(n: int) -> tuple[int, int]:
    """Give the bits of the network's two halves."""
    bits = max(2, (n - 1).bit_length())
    left = (bits + 1) // 2
    return left, bits - left


@lru_cache(maxsize=64)
def short(n: int, first_key: int) -> Words:
    """Give the whole permutation of a short epoch."""
    index = np.arange(n, dtype=np.uint64)
    drawn = scrambled(index * np.uint64(GOLDEN) + np.uint64(first_key))
    return np.argsort(drawn, kind="stable").astype(np.uint64)


def once(x: int, n: int, round_keys: tuple[int, ...]) -> int:
    """Send one index through the network."""
    wide, narrow = widths(n)
    a, b = x >> narrow, x & ((1 << narrow) - 1)
    for k in round_keys:
        a, b = b, a ^ (mix(b + k) & ((1 << wide) - 1))
        wide, narrow = narrow, wide
    return a << narrow | b


def back(x: int, n: int, round_keys: tuple[int, ...]) -> int:
    """Send one index through the network from its far end."""
    wide, narrow = widths(n)  # an even number of rounds: the widths end as they began
    a, b = x >> narrow, x & ((1 << narrow) - 1)
    for k in reversed(round_keys):
        wide, narrow = narrow, wide
        a, b = b ^ (mix(a + k) & ((1 << wide) - 1)), a
    return a << narrow | b


def bulk(x: Words, n: int, round_keys: tuple[int, ...]) -> Words:
    """Send many indices through the network."""
    wide, narrow = widths(n)
    a, b = x >> np.uint64(narrow), x & np.uint64((1 << narrow) - 1)
    for k in round_keys:
        a, b = b, a ^ (scrambled(b + np.uint64(k)) & np.uint64((1 << wide) - 1))
        wide, narrow = narrow, wide
    return a << np.uint64(narrow) | b


class Order:
    """One epoch's permutation of n rows: `order.at(i)` is read i-th, `order.when(j)` says when."""

    def __init__(self, n: int, seed: int, epoch: int, stream: int = 0) -> None:
        assert 0 < n <= MASK, f"an order of {n} rows"
        self.n = n
        self.keys = keys(seed, epoch, stream)

    def at(self, i: int) -> int:
        """Give the row that is read i-th."""
        assert 0 <= i < self.n, f"place {i} of {self.n}"
        if self.n <= SORTED:
            return int(short(self.n, self.keys[0])[i])
        i = once(i, self.n, self.keys)
        while i >= self.n:  # cycle walking: two steps at worst, expected
            i = once(i, self.n, self.keys)
        return i

    def when(self, j: int) -> int:
        """Give the place at which row j is read."""
        assert 0 <= j < self.n, f"row {j} of {self.n}"
        if self.n <= SORTED:
            return int(np.flatnonzero(short(self.n, self.keys[0]) == j)[0])
        j = back(j, self.n, self.keys)
        while j >= self.n:
            j = back(j, self.n, self.keys)
        return j

    def many(self, places: Words) -> Words:
        """Give the rows that are read at these places."""
        if self.n <= SORTED:
            return short(self.n, self.keys[0])[places]
        rows = bulk(places, self.n, self.keys)
        while len(outside := np.flatnonzero(rows >= np.uint64(self.n))):
            rows[outside] = bulk(rows[outside], self.n, self.keys)
        return rows


@lru_cache(maxsize=16)
def block(n: int, seed: int, epoch: int, number: int) -> Words:
    """Give the rows of one block of an epoch's places; asked for again by each batch inside it."""
    places = np.arange(number * BLOCK, min(n, (number + 1) * BLOCK), dtype=np.uint64)
    return Order(n, seed, epoch).many(places)
