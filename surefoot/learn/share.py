"""Which micro-batches of a step are whose, and the tree over which their sums are added up.

A step has M micro-batches in K lanes; lane l holds those numbered l M/K and on. A lane adds its own
in order; lanes are added as a balanced tree over their numbers, ((0+1)+(2+3)) + ... If K is a power
of two, the lanes of each of W ranks are a subtree of it, so every addition has the same two
operands for every W that divides K.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeVar

from torch import Tensor

from surefoot.learn import foreach

T = TypeVar("T")
Gradients = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank does of each step; alone it is all of it."""

    rank: int = 0
    ranks: int = 1
    lanes: int = 1  # of all ranks together

    def own(self, micros: Sequence[T]) -> list[tuple[int, T]]:
        """Give this rank's micro-batches of a whole step, each with its number."""
        count, left = divmod(len(micros), self.ranks)
        assert not left, f"{len(micros)} micro-batches over {self.ranks} ranks"
        first = self.rank * count
        return [(number, micros[number]) for number in range(first, first + count)]

    def by_lane(self, own: Sequence[tuple[int, T]], step: int) -> Iterator[list[tuple[int, T]]]:
        """Put numbered micro-batches of a step of so many into lanes, in order."""
        each = max(1, step // self.lanes)
        for _, lane in groupby(own, lambda micro: min(micro[0] // each, self.lanes - 1)):
            yield list(lane)


class Tree(Generic[T]):
    """Adds up lanes one after the other as they come, two of a height at a time."""

    def __init__(self, join: Callable[[T, T], T]) -> None:
        self.join = join
        self.heights: list[tuple[int, T]] = []

    def add(self, lane: T) -> None:
        """Take one lane's sum, which becomes the tree's own."""
        height = 0
        while self.heights and self.heights[-1][0] == height:
            lane = self.join(self.heights.pop()[1], lane)
            height += 1
        self.heights.append((height, lane))

    def total(self) -> T:
        """Give the sum of all lanes."""
        _, total = self.heights[-1]
        for _, part in reversed(self.heights[:-1]):
            total = self.join(part, total)
        return total


def joined(left: Gradients, right: Gradients) -> Gradients:
    """Add gradients to others, in place."""
    both = [name for name in right if name in left]
    if both:
        foreach.add([left[name] for name in both], [right[name] for name in both])
    return {**right, **left}
