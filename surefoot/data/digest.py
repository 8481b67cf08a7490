"""A batch's hash: FNV-1a of its tokens, computed bit by bit over all bytes at once."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from surefoot.randomness import MASK

PRIME = 0x100000001B3
START = 0xCBF29CE484222325
LANES = 8  # a word of 8 bytes advances 8 stretches of the text in one operation

Bytes = NDArray[np.uint8]


@lru_cache(maxsize=8)
def powers(n: int) -> NDArray[np.uint64]:
    """Give PRIME^(n-i) for byte i of n, in the lanes' layout; 0 for the bytes of padding."""
    rising = np.multiply.accumulate(np.full(n, PRIME, np.uint64))
    padded = np.zeros(-(-n // LANES) * LANES, np.uint64)
    padded[:n] = rising[::-1]
    return np.ascontiguousarray(padded.reshape(LANES, -1).T).reshape(-1)


def laned(raw: Bytes) -> Bytes:
    """Lay n bytes out as [n/8, 8]: each column is one stretch of the text."""
    if len(raw) % LANES:
        raw = np.concatenate([raw, np.zeros(-len(raw) % LANES, np.uint8)])
    return np.ascontiguousarray(raw.reshape(LANES, -1).T)


def low_bytes(text: Bytes) -> Bytes:
    """Give the hash's lowest byte before each byte of the text.

    The lowest byte follows x' = (x ^ b) * 0xB3 mod 256. Its bit k is a running XOR once the bits
    below are known, so eight passes over the whole text find it, where a loop takes 10 ms.
    """
    x = np.zeros_like(text)
    step, running = np.empty_like(text), np.empty_like(text)
    for k in range(8):
        bit = np.uint8(1 << k)
        np.bitwise_xor(x, text, out=step)
        np.bitwise_and(step, np.uint8(bit - 1), out=step)  # x has only the bits below k so far
        np.multiply(step, np.uint8(PRIME & 0xFF), out=step)
        np.bitwise_xor(step, text, out=step)
        np.bitwise_and(step, bit, out=step)
        np.bitwise_xor.accumulate(
            step.reshape(-1).view(np.uint64), out=running.reshape(-1).view(np.uint64)
        )
        first = np.bitwise_xor.accumulate(
            np.concatenate(([np.uint8(START & (1 << k))], running[-1, :-1]))
        )
        x[0] |= first
        x.reshape(-1).view(np.uint64)[1:] |= running.reshape(-1).view(np.uint64)[:-1] ^ first.view(
            np.uint64
        )
    return x


def fnv1a64(raw: Bytes) -> int:
    """Hash bytes to 64 bits, as `randomness.fnv1a64` does, 10 times faster on a batch."""
    n = len(raw)
    if n == 0:
        return START
    text = laned(raw)
    x = low_bytes(text)
    # (h ^ b) only changes the lowest byte, so it is h + d, and the rest is a polynomial in PRIME
    change = np.subtract(x ^ text, x, dtype=np.int64).reshape(-1).view(np.uint64)
    return (START * pow(PRIME, n, 1 << 64) + int(np.dot(change, powers(n)))) & MASK


def batch_hash(tokens: NDArray[np.generic]) -> str:
    """Give the 16 hex digits of a batch: over its tokens as they are stored, little-endian."""
    raw = np.ascontiguousarray(tokens).reshape(-1).view(np.uint8)
    return f"{fnv1a64(raw):016x}"
