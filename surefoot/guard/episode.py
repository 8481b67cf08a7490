"""When a trouble begins, is told, and is over: one finding an episode, however long it lasts."""

from collections.abc import Mapping
from typing import Any

QUIET = 200  # healthy steps that close one (a fault without this latch told 101 alarms in 800)


class Episode:
    """A latch: opens at the first alarm, closes after `quiet` healthy steps."""

    def __init__(self, quiet: int = QUIET) -> None:
        self.quiet = quiet
        self.level = 0  # the gravest that was told; 0 = none is open
        self.healthy = 0  # steps since the last alarm
        self.number = 0  # episodes so far, the open one included

    @property
    def open(self) -> bool:
        """Say whether one is open."""
        return self.level > 0

    def opens(self, sick: bool) -> bool:
        """Say, once a step, whether this one begins an episode."""
        return self.rises(int(sick))

    def rises(self, level: int) -> bool:
        """Say, once a step, whether this one is graver than all that its episode told.

        Levels count from 1 (a warning, say) to what asks for a remedy; 0 is a healthy step.
        """
        if level <= 0:
            self.healthy += 1
            if self.level and self.healthy >= self.quiet:
                self.level = 0
            return False
        self.healthy = 0
        if level <= self.level:
            return False
        self.number += not self.level
        self.level = level
        return True

    def close(self) -> None:
        """End it now: what was wrong is taken as the new level."""
        self.level = self.healthy = 0

    def state(self) -> dict[str, Any]:
        """Give where it stands."""
        return {"level": self.level, "healthy": self.healthy, "number": self.number}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.level, self.healthy = int(state["level"]), int(state["healthy"])
        self.number = int(state["number"])
