"""CPU threads: how many to use, and how long a step takes with each number."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch


def set_threads(threads: int) -> int:
    """Use so many CPU threads, 0 = as they are; gives how many are used now."""
    if threads:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def time_threads(
    step: Callable[[], object], choices: Sequence[int], rounds: int = 3
) -> dict[int, float]:
    """Time a step with each number of threads, in turns; gives median seconds of each."""
    before = torch.get_num_threads()
    seconds: dict[int, list[float]] = {threads: [] for threads in choices}
    try:
        for turn in range(rounds + 1):
            for threads in choices:
                torch.set_num_threads(threads)
                start = time.perf_counter()
                step()
                if turn:  # the first turn warms caches and starts the threads
                    seconds[threads].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return {threads: median(taken) for threads, taken in seconds.items()}
