"""Holds the process to the GPU memory that a recipe allows, and says so (001: 10 GB).

The cap is of torch's caching allocator alone: the device's context and its libraries come on top.
"""

from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch

from surefoot.recipe.schema import Recipe
from surefoot.run.device import device_of, is_here

GIB = 2**30


class Cuda(Protocol):
    """What is asked of torch.cuda."""

    def mem_get_info(self, device: torch.device) -> tuple[int, int]: ...  # free, all
    def memory_reserved(self, device: torch.device) -> int: ...
    def set_per_process_memory_fraction(self, fraction: float, device: torch.device) -> None: ...


@dataclass(frozen=True, slots=True)
class Capped:
    """What was asked for, and what came of it."""

    asked: str  # the key and its value
    limit_gib: float
    total_gib: float | None = None  # None: no such device
    fraction: float | None = None  # None: not capped
    overhead_gib: float = 0.0  # taken already by what the cap doesn't count

    def row(self) -> dict[str, Any]:
        """Give what the journal tells of it."""
        return {
            "limit_gib": round(self.limit_gib, 3),
            "total_gib": self.total_gib,
            "fraction": self.fraction,
            "overhead_gib": self.overhead_gib,
        }

    def __str__(self) -> str:
        front = f"{self.asked} = {self.limit_gib:.2f} GiB"
        if self.total_gib is None:
            return f"{front}: no CUDA device here to hold to it; the forecast alone is held to it"
        of = f"of the device's {self.total_gib:.2f} GiB"
        outside = f"{self.overhead_gib:.2f} GiB are taken outside of it"
        if self.fraction is None:
            return f"{front}: all {of} are less than that, so nothing is capped; {outside}"
        return f"{front}: torch may take {self.fraction:.1%} {of}; {outside}"


def capped(recipe: Recipe, cuda: Cuda | None = None) -> Capped | None:
    """Cap the process before it allocates anything; None where the recipe sets no limit."""
    limits = recipe.limits
    if limits.mem_gb is not None:
        asked, limit = f"limits.mem_gb = {limits.mem_gb:g}", limits.mem_gb * 1e9 / GIB
    elif limits.mem_gib is not None:
        asked, limit = f"limits.mem_gib = {limits.mem_gib:g}", limits.mem_gib
    else:
        return None
    if not is_here(recipe.train.device) and cuda is None:
        return Capped(asked, limit)
    if cuda is not None:
        return held(asked, limit, torch.device("cuda", 0), cuda)
    device = device_of(recipe.train.device)
    if device.type != "cuda":
        return Capped(asked, limit)
    if device.index is None:  # which of them is not decided by the recipe but by the rank
        device = torch.device("cuda", torch.cuda.current_device())
    return held(asked, limit, device, cast("Cuda", torch.cuda))


def held(asked: str, limit: float, device: torch.device, cuda: Cuda) -> Capped:
    """Tell the allocator how much of the device it may take, between nothing and all of it."""
    free, total = cuda.mem_get_info(device)  # the first call makes the context, which takes some
    overhead = max(0, total - free - cuda.memory_reserved(device)) / GIB
    fraction = min(1.0, max(0.0, limit * GIB / total))
    told = Capped(asked, limit, round(total / GIB, 3), fraction, round(overhead, 3))
    if fraction >= 1.0:
        return Capped(asked, limit, told.total_gib, None, told.overhead_gib)
    cuda.set_per_process_memory_fraction(fraction, device)
    return told
