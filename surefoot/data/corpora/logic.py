"""Problems of arithmetic and logic, each a question that is read and an answer that is learnt.

"If X=47 and Y=85, what is X+Y?" -> " 7+5=12, 4+8+1=13. X+Y=132." A pair of numbers that is kept
for validation is in no problem that is trained on, whatever the question and in either order.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from surefoot.data.documents import Document, Skipped
from surefoot.randomness import key, mix
from surefoot.recipe.choice import Choice

VERSION = 1  # of the questions and answers: another one, and caches are made anew
PLACES = 10_000  # a pair's place in the split is one of these
SPLIT = 6  # with it 5 and 10, the pair that 001 asks about, is one of those kept for validation
BOUND = 100


class Options(Choice):
    """How many problems, over which numbers, and which are kept apart."""

    kind: str = "logic"
    problems: Annotated[int, Field(ge=1)] = 20_000
    """Problems, drawn one by one"""
    largest: Annotated[int, Field(ge=1, le=99_999)] = 99
    """X and Y are numbers from 0 to this"""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the pairs of numbers that are kept for validation; instead of val.share"""
    seed: Annotated[int, Field(ge=0)] = 0
    """What the problems are drawn from; not the run's seed"""


def files(_options: Options, _where: Path) -> list[Path]:
    """There are none."""
    return []


def documents(options: Options, _where: Path) -> Iterator[Document | Skipped]:
    """Draw each problem by itself, so that any number of them begins the same."""
    for i in range(options.problems):
        start = key(options.seed, "logic", i, 0)
        x, y = (mix(start + n) % (options.largest + 1) for n in (1, 2))
        asked, answer = QUESTIONS[mix(start + 3) % len(QUESTIONS)](x, y)
        yield Document(
            text=answer,
            name=f"problem {i}",
            prompt=f"If X={x} and Y={y}, {asked}?",
            part="val" if held_out(x, y, options.held_out) else "train",
        )


def held_out(x: int, y: int, share: float) -> bool:
    """Say whether a pair is kept for validation: it is so in every problem and at any seed."""
    return key(SPLIT, "pair", min(x, y), max(x, y)) % PLACES < share * PLACES


def total(x: int, y: int) -> tuple[str, str]:
    """Ask for the sum."""
    return "what is X+Y", f" {added(x, y)}. X+Y={x + y}."


def larger(x: int, y: int) -> tuple[str, str]:
    """Ask which is the larger one."""
    which = "neither" if x == y else "Y" if x < y else "X"
    return "which is larger", f" {compared(x, y)}. {which}."


def over(x: int, y: int) -> tuple[str, str]:
    """Ask whether the sum is over a hundred."""
    sign = compare(x + y, BOUND)
    said = "yes" if sign == ">" else "no"
    return f"is X+Y over {BOUND}", f" {added(x, y)}. {x + y}{sign}{BOUND}. {said}."


QUESTIONS = (total, larger, over)


def added(x: int, y: int) -> str:
    """Add digit by digit from the right, as it is done on paper."""
    steps: list[str] = []
    carried = 0
    for a, b in reversed(digits(x, y)):
        parts = [a, b, carried] if carried else [a, b]
        steps.append(f"{'+'.join(map(str, parts))}={sum(parts)}")
        carried = sum(parts) // 10
    return ", ".join(steps)


def compared(x: int, y: int) -> str:
    """Compare digit by digit from the left, until two differ."""
    steps: list[str] = []
    for a, b in digits(x, y):
        steps.append(f"{a}{compare(a, b)}{b}")
        if a != b:
            break
    return ", ".join(steps)


def compare(a: int, b: int) -> str:
    """Give the sign between two numbers."""
    return "<" if a < b else ">" if a > b else "="


def digits(x: int, y: int) -> list[tuple[int, int]]:
    """Pair the digits of two numbers, the shorter one filled up with zeros."""
    wide = max(len(str(x)), len(str(y)))
    return [(int(a), int(b)) for a, b in zip(f"{x:0{wide}}", f"{y:0{wide}}", strict=True)]
