"""Random numbers as a function of what they are for, so that a resume draws the same ones."""

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def mix(x: int) -> int:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    x &= MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def fnv1a64(text: str | bytes) -> int:
    """Hash text to 64 bits (FNV-1a)."""
    value = 0xCBF29CE484222325
    for byte in text.encode() if isinstance(text, str) else text:
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def key(seed: int, purpose: str, a: int, b: int) -> int:
    """Give the 64-bit seed for one use: run's seed, purpose, and two numbers, as step and row."""
    return mix(mix(mix(mix(seed + GOLDEN) ^ fnv1a64(purpose)) + a * GOLDEN) + b)
