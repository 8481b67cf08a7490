"""Attention windows that grow in stairs, one a layer: long where `long_layers` says, else short.

long(s) = stairs from start to end, height `round`, over `share` of the run;
short(s) = max(round, short_ratio long(s) rounded up to `round`); window[i] = long(s) or short(s).
"""

import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from surefoot.errors import Problem
from surefoot.plan.stairs import straight_or_stairs, uneven
from surefoot.recipe.choice import Choice
from surefoot.recipe.span import Span


class Options(Choice):
    """Growing windows."""

    kind: str = "windows"
    start: Annotated[int, Field(ge=1)] = 128
    """First long window, tokens"""
    end: Annotated[int, Field(ge=1)] = 1792
    """Last long window, tokens"""
    round: Annotated[int, Field(ge=1)] = 128
    """Height of a stair; few distinct windows mean few distinct masks"""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the run over which the windows grow"""
    long_layers: (
        Annotated[str, Field(pattern=r"^(every:[1-9]\d*(\+last)?|top:[1-9]\d*)$")]
        | list[Annotated[int, Field(ge=0)]]
    ) = "every:4"
    """Which layers are long: every:4, every:4+last, top:2, or a list of layers"""
    short_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Short windows against long ones; 1 makes all layers long"""

    def long(self, layers: int) -> frozenset[int]:
        """Name the long layers."""
        if not isinstance(self.long_layers, str):
            return frozenset(self.long_layers)
        word, count = self.long_layers.removesuffix("+last").split(":")
        if word == "top":
            return frozenset(range(max(0, layers - int(count)), layers))
        last = {layers - 1} if self.long_layers.endswith("+last") else set[int]()
        return frozenset({*range(0, layers, int(count)), *last})

    def at(self, update: int, span: Span) -> list[float]:
        """Give each layer's window at an update, counted from 0."""
        ends = (float(self.start), float(self.end))
        wide = int(straight_or_stairs(update, ends, self.share * span.steps, self.round))
        narrow = max(self.round, math.ceil(self.short_ratio * wide / self.round) * self.round)
        # a first window below one stair has no shorter one
        narrow = min(narrow, wide)
        long = self.long(span.layers)
        return [wide if layer in long else narrow for layer in range(span.layers)]

    def bounds(self, span: Span) -> tuple[float, float]:  # noqa: ARG002 (the contract of a schedule)
        """Give the least and the largest value of the run."""
        return float(min(self.start, self.round)), float(self.end)

    def jump(self, span: Span) -> float:
        """Give the largest change of a layer from one update to the next."""
        stairs = (self.end - self.start) / self.round + 1
        return self.round * math.ceil(max(1.0, stairs / (self.share * span.steps)))

    def problems(self, key: str, span: Span) -> Iterator[Problem]:
        """Say what can't be."""
        if self.start > self.end:
            yield Problem(
                what=f"{key}.start",
                value=str(self.start),
                why=f"windows grow, and {key}.end = {self.end} is smaller",
                instead=f"Write {key}.start={self.end}",
            )
        else:
            yield from uneven(key, self.start, self.end, self.round)
        outside = [layer for layer in self.long(span.layers) if layer >= span.layers]
        if outside:
            yield Problem(
                what=f"{key}.long_layers",
                value=str(self.long_layers),
                why=f"layers count from 0 to {span.layers - 1}",
                instead=f"Write {key}.long_layers="
                f"{[layer for layer in sorted(self.long(span.layers)) if layer < span.layers]}",
            )
