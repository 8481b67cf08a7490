"""Sees from the heartbeat's thread that a process no longer moves on, says where, and ends it.

A hang is no slow step: the loop's step and phase have stood still for max(60 s, 10 median steps),
or 300 s in the first three steps, where kernels are compiled; the numbers are those of the monitor
`heartbeat`. Time is counted by its own looks, so that a process that was suspended has not hung.
"""

import faulthandler
import json
import statistics
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot.guard.monitors.heartbeat import FIRST, STEPS, Options
from surefoot.recipe.schema import Recipe
from surefoot.shelf.disk import Disk

FATAL = 5.0  # times the limit after which a rank is ended, so that its launcher begins again
SLOW = frozenset({"eval", "save", "rewind"})  # may take as long as the first steps, several times
SLOW_TIMES = 6.0
REST = frozenset({"idle"})  # between steps: a rank that waits for the first one's word
TAIL = 4096  # bytes at the end of a heartbeat file that hold its last line


def limits(recipe: Recipe) -> Options:
    """Give how long a process may stand still."""
    return Options.model_validate(dict(recipe.guard.monitors.get("heartbeat", {})))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found: nothing, a warning, or the end."""

    age_s: float
    limit_s: float
    warn: bool = False
    fatal: bool = False


class Watchdog:
    """Adds up for how long a process has stood still."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.place: tuple[int, str] = (-1, "idle")  # step and phase at the last look
        self.age = self.since_step = 0.0
        self.step_s: deque[float] = deque(maxlen=STEPS)
        self.steps = 0  # done by this process
        self.warned = False

    @property
    def every_s(self) -> float:
        """Give the longest time between two looks."""
        return self.options.seconds / 5

    def look(self, step: int, phase: str, passed_s: float) -> Seen:
        """Take in where the process is, so long after the last look."""
        passed = min(passed_s, 2 * self.every_s)  # more: this thread was suspended as well
        before, self.place = self.place, (step, phase)
        self.since_step += passed
        self.age = self.age + passed if self.place == before else 0.0
        if step != before[0]:
            self.stepped(step - before[0] if before[0] >= 0 else 0)
        if not self.age or phase in REST:
            self.age, self.warned = 0.0, False
            return Seen(0.0, self.limit(phase))
        limit = self.limit(phase)
        warn = self.age > limit and not self.warned
        self.warned = self.warned or warn
        return Seen(self.age, limit, warn, self.age > FATAL * limit)

    def stepped(self, steps: int) -> None:
        """Keep how long steps take; one that goes back is a rewind and tells nothing."""
        if steps > 0:
            self.steps += steps
            self.step_s.append(self.since_step / steps)
        self.since_step = 0.0

    def limit(self, phase: str) -> float:
        """Give the seconds that a phase may take."""
        own = self.options
        if phase in SLOW:
            return max(own.seconds, SLOW_TIMES * own.first_seconds)
        if self.steps < FIRST:
            return max(own.seconds, own.first_seconds)
        return max(own.seconds, own.times * statistics.median(self.step_s))


def stacks(log: Path, said: str, disk: Disk) -> None:
    """Write a sentence and the stacks of all threads behind what a log holds."""
    opened = disk.open_append(log)
    try:
        disk.append(opened, f"{said}\n".encode())
        faulthandler.dump_traceback(file=opened.fd, all_threads=True)
    finally:
        disk.close(opened)


def behind(folder: Path) -> str:
    """Name the rank that the others wait for, by the last line of each rank's heartbeat."""
    told = list(pulses(folder))
    at_work = [one for one in told if not one.get("waits")] or told
    if not at_work:
        return "no rank's heartbeat can be read"
    last = min(one["step"] for one in at_work)
    late = [one for one in at_work if one["step"] == last]
    named = " and ".join(f"rank {one['rank']} (in {one['phase']})" for one in late)
    return f"{named} after step {last}"


def pulses(folder: Path) -> Iterator[dict[str, Any]]:
    """Give the last whole line of each rank's heartbeat file."""
    for path in sorted(folder.glob("heartbeat_rank*.jsonl")):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            lines = file.read().split(b"\n")[:-1]
        with suppress(IndexError, ValueError):  # nothing yet, or half a story
            yield json.loads(lines[-1])
