"""Times the parts of a step: by the wall on a CPU, by events on a GPU."""

import time
from typing import Any

import torch


class Laps:
    """Adds up the seconds of named parts; on a GPU they are read after the step's one wait."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.marks: list[tuple[str, Any]] = [("", self.now())]

    def now(self) -> Any:
        """Give this instant."""
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def lap(self, part: str) -> None:
        """End a part, which began where the one before ended."""
        self.marks.append((part, self.now()))

    @property
    def last(self) -> str:
        """Name the part that ended last."""
        return self.marks[-1][0]

    def seconds(self) -> dict[str, float]:
        """Give the seconds of each part; on a GPU this waits for the last one."""
        total: dict[str, float] = {}
        if self.cuda:
            torch.cuda.synchronize()
        for (_, start), (part, end) in zip(self.marks, self.marks[1:], strict=False):
            took = start.elapsed_time(end) / 1000.0 if self.cuda else end - start
            total[part] = total.get(part, 0.0) + took
        return total
