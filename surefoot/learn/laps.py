"""Times the parts of a step: by the wall on a CPU, by events on a GPU."""

import time

import torch


class Laps:
    """Adds up the seconds of named parts; on a GPU they are read after the step's one wait."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.marks: list[tuple[str, float | torch.cuda.Event]] = [("", self.now())]

    def now(self) -> "float | torch.cuda.Event":
        """Give this instant."""
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def lap(self, part: str) -> None:
        """End a part, which began where the one before ended."""
        self.marks.append((part, self.now()))

    def seconds(self) -> dict[str, float]:
        """Give the seconds of each part; on a GPU this waits for the last one."""
        total: dict[str, float] = {}
        if self.cuda:
            torch.cuda.synchronize()
        for (_, start), (part, end) in zip(self.marks, self.marks[1:], strict=False):
            if isinstance(start, float) and isinstance(end, float):
                took = end - start
            else:
                assert not isinstance(start, float) and not isinstance(end, float), "one clock"
                took = start.elapsed_time(end) / 1000.0
            total[part] = total.get(part, 0.0) + took
        return total
