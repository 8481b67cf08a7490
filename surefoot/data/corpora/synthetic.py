"""Generated text with a known answer: uniform letters, copies, or sums."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from surefoot.data.documents import Document, Skipped
from surefoot.randomness import key, mix
from surefoot.recipe.choice import Choice

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"


class Options(Choice):
    """What is generated, and how much."""

    kind: str = "synthetic"
    task: Literal["uniform", "copy", "arithmetic"] = "uniform"
    """Random letters; random letters said twice; or sums with their results"""
    symbols: Annotated[int, Field(ge=2, le=64)] = 16
    """Different letters"""
    length: Annotated[int, Field(ge=2)] = 64
    """Letters of a document; for arithmetic, digits of a number"""
    documents: Annotated[int, Field(ge=1)] = 4096
    """Documents"""
    seed: Annotated[int, Field(ge=0)] = 0
    """What the text is drawn from; not the run's seed"""


def files(_options: Options, _where: Path) -> list[Path]:
    """There are none."""
    return []


def documents(options: Options, _where: Path) -> Iterator[Document | Skipped]:
    """Draw each document by itself, so that any number of them begins the same."""
    for i in range(options.documents):
        yield Document(drawn(options, key(options.seed, "synthetic", i, 0)), f"document {i}")


def drawn(options: Options, start: int) -> str:
    """Draw one document."""
    if options.task == "arithmetic":
        most = 10 ** min(options.length, 18)
        a, b = mix(start + 1) % most, mix(start + 2) % most
        return f"{a}+{b}={a + b}\n"
    wanted = options.length if options.task == "uniform" else math.ceil(options.length / 2)
    text = "".join(LETTERS[mix(start + 1 + j) % options.symbols] for j in range(wanted))
    return text if options.task == "uniform" else text + text
