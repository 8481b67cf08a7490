"""Rotary positions: each pair of a head's features is turned by an angle that grows with position.

pair i = features (i, i + n/2) of the n that turn;   angle = position * base^(-2 i / n)

Angles are made in fp64 and cast after the cosine: in fp32 position 16,384 is off by 6e-4.
"""

import torch
from torch import Tensor

SMALLEST = 256  # positions of a first table; longer ones double

_tables: dict[tuple[int, float, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}


def made(length: int, turned: int, base: float) -> tuple[Tensor, Tensor]:
    """Make cosines and sines of so many positions, in fp64."""
    rates = base ** (-torch.arange(0, turned, 2, dtype=torch.float64) / turned)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    return angles.cos(), angles.sin()


def table(
    length: int, turned: int, base: float, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Give cosines and sines [length or more, turned / 2], shared by layers that turn alike."""
    name = (turned, base, device, dtype)
    held = _tables.get(name)
    if held is None or len(held[0]) < length:
        size = max(SMALLEST, 1 << (length - 1).bit_length())
        # a table born in inference mode could never take part in a later training step
        with torch.inference_mode(False), torch.device("cpu"):
            cos, sin = made(size, turned, base)
            held = _tables[name] = (cos.to(device, dtype), sin.to(device, dtype))
    return held


def turns(
    positions: Tensor, length: int, turned: int, base: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:  # (batch, time) -> two of (batch or 1, time, 1, turned / 2)
    """Look up the turn of each position; all are below `length`, which is checked on a CPU."""
    rows = positions[:1] if positions.stride(0) == 0 else positions
    if rows.device.type == "cpu":  # elsewhere looking would halt the device at each layer
        length = max(length, int(rows.max()) + 1)
    cos, sin = table(length, turned, base, rows.device, dtype)
    return cos[rows].unsqueeze(2), sin[rows].unsqueeze(2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # (batch, time, heads, head_dim)
    """Turn the first features of each head; the rest pass."""
    half = cos.shape[-1]
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)
