"""The last so many values in their order of size, so that their median costs next to nothing."""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable


class Sliding:
    """A window over values, with its median always at hand."""

    def __init__(self, size: int) -> None:
        self.values: deque[float] = deque(maxlen=size)
        self.ordered: list[float] = []

    @property
    def full(self) -> bool:
        """Say whether as many values came as it holds."""
        return len(self.values) == self.values.maxlen

    def add(self, value: float) -> None:
        """Take a value in, and let the oldest go."""
        if self.full:
            del self.ordered[bisect_left(self.ordered, self.values[0])]
        self.values.append(value)
        insort(self.ordered, value)

    def median(self) -> float:
        """Give the middle value; nothing is known of an empty window."""
        half = len(self.ordered) // 2
        if not self.ordered:
            return math.nan
        if len(self.ordered) % 2:
            return self.ordered[half]
        return 0.5 * (self.ordered[half - 1] + self.ordered[half])

    def clear(self) -> None:
        """Start anew."""
        self.values.clear()
        self.ordered = []

    def state(self) -> list[float]:
        """Give the values in the order in which they came."""
        return list(self.values)

    def restore(self, state: Iterable[float]) -> None:
        """Take them back."""
        self.values.clear()
        self.values.extend(state)
        self.ordered = sorted(self.values)
