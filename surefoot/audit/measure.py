"""What a probe measured, and when that is a leak."""

from dataclasses import dataclass

import torch

PASS = {torch.float64: 1e-9, torch.float32: 1e-4}
UNSURE = 100.0  # up to so many times the tolerance nobody can tell a leak from rounding


@dataclass(frozen=True, slots=True)
class Measure:
    """One probe under one condition."""

    probe: str
    value: float  # relative to the largest output, or the largest gradient of the past
    ahead: int = 0  # tokens, at least
    choices: tuple[str, ...] = ()  # recorded choices that changed
    condition: str = ""
    seconds: float = 0.0

    def verdict(self, dtype: torch.dtype) -> str:
        """Say clean, leak or inconclusive."""
        tolerance = PASS[dtype]
        if self.choices or not self.value < UNSURE * tolerance:  # a NaN is no pass
            return "leak"
        return "clean" if self.value <= tolerance else "inconclusive"
