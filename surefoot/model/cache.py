"""What attention remembers while decoding: all keys and values, or a ring of the latest."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from surefoot.model.context import State


@dataclass
class KvCache(State):
    """Keys, already turned, and values of all tokens so far."""

    keys: Tensor  # [batch, kv_heads, max_len, head_dim]
    values: Tensor

    def put(self, keys: Tensor, values: Tensor) -> "KvCache":
        """Keep those of new tokens, and give the state after them."""
        end = self.length + keys.shape[2]
        room = self.keys.shape[2]
        assert end <= room, f"this cache was started for {room} tokens, not for {end}"
        self.keys[:, :, self.length : end] = keys.detach()
        self.values[:, :, self.length : end] = values.detach()
        return replace(self, length=end)

    def held(self) -> tuple[Tensor, Tensor]:
        """Give all of them, in order."""
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def snapshot(self) -> Self:
        """Keep the length alone: what is before it never changes."""
        return replace(self)

    def restore(self, kept: State) -> Self:
        """Forget what came after the snapshot."""
        return replace(self, length=kept.length)


@dataclass
class KvRing(State):
    """Keys, already turned, and values of the latest tokens; that of time t at slot t mod size."""

    keys: Tensor  # [batch, kv_heads, size, head_dim]
    values: Tensor

    def put(self, keys: Tensor, values: Tensor) -> "KvRing":
        """Keep those of new tokens over the oldest, and give the state after them."""
        end, size = self.length + keys.shape[2], self.keys.shape[2]
        fresh = min(keys.shape[2], size)
        low = (end - fresh) % size
        first = min(fresh, size - low)  # up to the ring's end; the rest goes to its begin
        for ring, new in ((self.keys, keys.detach()), (self.values, values.detach())):
            new = new.narrow(2, new.shape[2] - fresh, fresh)
            ring.narrow(2, low, first).copy_(new.narrow(2, 0, first))
            ring.narrow(2, 0, fresh - first).copy_(new.narrow(2, first, fresh - first))
        return replace(self, length=end)

    def latest(self, count: int, ordered: bool = True) -> tuple[Tensor, Tensor]:
        """Give the latest, as many as are held; a whole ring, unordered, is no copy."""
        size = self.keys.shape[2]
        count = min(count, self.length, size)
        low = (self.length - count) % size
        if low + count <= size or (count == size and not ordered):
            low = 0 if count == size else low
            return self.keys.narrow(2, low, count), self.values.narrow(2, low, count)
        slots = torch.arange(low, low + count, device=self.keys.device) % size
        return self.keys.index_select(2, slots), self.values.index_select(2, slots)


def room(
    shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Make room for keys and values: batch, kv_heads, tokens, head_dim."""
    return {name: torch.zeros(shape, device=device, dtype=dtype) for name in ("keys", "values")}
