"""Ranks as threads of one process: what they exchange goes round a barrier."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE_S = 30.0


class Round:
    """A table that all ranks lay something on, and then all see."""

    def __init__(self, ranks: int) -> None:
        self.barrier = threading.Barrier(ranks)
        self.laid: list[Any] = [None] * ranks

    def gather(self, rank: int, told: Any) -> list[Any]:
        """Give every rank what each of them lays down."""
        self.laid[rank] = told
        self.barrier.wait(PATIENCE_S)
        found = list(self.laid)
        self.barrier.wait(PATIENCE_S)
        return found


def on_threads(ranks: int, one: Callable[[int], T]) -> list[T]:
    """Run every rank in a thread of its own; the first error of any is raised."""
    with ThreadPoolExecutor(ranks) as pool:
        return [done.result() for done in [pool.submit(one, rank) for rank in range(ranks)]]
