"""How fast a run is, and how long it will still take: over its last steps, saves included."""

import statistics
from collections import deque

from surefoot.records import Header, Record, Step

RECENT = 50  # steps: long enough for saves and validations, short enough to follow the machine


class Pace:
    """Follows the clock of the records, never one of its own: replayed, it tells the same."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.speeds: deque[float] = deque(maxlen=RECENT)
        self.times: deque[float] = deque(maxlen=RECENT)

    def take(self, record: Record) -> None:
        """Take in one record."""
        if isinstance(record, Header):
            self.times.clear()
            self.speeds.clear()
        elif isinstance(record, Step):
            if record.tok_per_s is not None:
                self.speeds.append(record.tok_per_s)
            if record.t is not None:
                self.times.append(record.t)

    @property
    def tok_per_s(self) -> float | None:
        """Give the median speed of the last steps."""
        return round(statistics.median(self.speeds), 1) if self.speeds else None

    def left_s(self, step: int) -> float | None:
        """Give the seconds until the last step, by the last steps' own pace."""
        if len(self.times) < 2:
            return None
        mean = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
        return round(max(0.0, mean * (self.steps - step)), 1)
