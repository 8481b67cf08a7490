"""Sees memory that is taken and never given back.

Medians of 25 steps at step boundaries, of the GPU's allocated memory, without one of the process:
warns if over 1000 steps the slope's lower bound (95%) is above 1 MiB in 100 steps and it rises all
along (the least of the changes between quarters >= .7 of their mean: an allocator that comes to
rest, or a stair at an evaluation, is no creep); saves and leaves where it would be used up within
two hours. A process grows lawfully while its pools fill: its first 300 steps are not looked at, and
a creep that takes less than a tenth of the memory until the run ends is noted.

Reserved memory more than twice the largest allocated is noted once (seed 004: 66 GiB for 21):
pieces that nothing fits into. A retry of the allocator warns.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard.absent import Absent, fact
from surefoot.guard.episode import QUIET, Episode
from surefoot.guard.grace import STEPS, Grace
from surefoot.guard.robust import Blocks
from surefoot.guard.trend import Trend, steady, trend
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Remedy, Severity, Step

AMBIENT = True
SIZE = 25  # steps of a block
BLOCKS = 40
HOURS = 2.0  # so near an end is worth leaving before
HARMLESS = 0.1  # of the memory, until the run ends
OVER = 50  # steps in a row that memory is scattered


class Options(Choice):
    """How fast memory may grow."""

    kind: str = "memory_creep"
    mib_per_100: Annotated[float, Field(gt=0)] = 1.0
    """MiB in 100 steps"""
    warmup: Annotated[int, Field(ge=0)] = 300
    """First steps of a process that are not looked at: its pools fill"""
    scattered: Annotated[float, Field(gt=1)] = 2.0
    """Reserved memory for each allocated"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy steps that close an episode"""


class Monitor:
    """Fits a line to what is held after each step."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        mem_gib, recipe = fact(facts, "mem_gib"), facts.get("recipe")
        self.limit_mib = 1024 * mem_gib if mem_gib is not None else math.inf
        self.steps = recipe.train.steps if recipe is not None else math.inf
        self.blocks = Blocks(SIZE, BLOCKS)
        self.seconds = Blocks(SIZE, 1)  # of a step
        self.field = ""  # what is looked at: a GPU's memory once there is some
        self.since = 0  # the last step that is not looked at
        self.level = 0  # of the last block: 1 notes, 2 warns, 3 asks to save
        self.slope = Trend(0.0, 0.0)  # MiB a block
        self.wide = 0  # steps in a row with scattered memory
        self.retries = 0
        self.grace = Grace(dict.fromkeys(STEPS, 2 * SIZE))
        self.creep, self.retried = Episode(options.quiet), Episode(options.quiet)
        self.absent = Absent("memory_creep", "gpu_mem_alloc_mib or rss_mib")

    def observe(self, record: Record) -> list[Finding]:
        """Judge at the end of each block."""
        if not isinstance(record, Step):
            if self.grace.see(record):
                self.rebase(record.at_step if isinstance(record, Remedy) else record.step)
            return []
        field, held = held_mib(record, self.field)
        found = self.absent.seen(held is not None)
        if held is None:
            return found
        if field != self.field:
            self.field = field
            self.rebase(record.step - 1, self.options.warmup)
        found += self.pieces(record) + self.again(record)
        if record.step > self.since:
            found += self.take(record, held)
        return found

    def rebase(self, step: int, warmup: int = 2 * SIZE) -> None:
        """Begin anew after what changes the memory of a step."""
        self.blocks.clear()
        self.since, self.level = max(self.since, step + warmup), 0

    def take(self, record: Step, held: float) -> list[Finding]:
        """Add a step, and judge the line at the end of a block."""
        if record.step_s is not None and math.isfinite(record.step_s):
            self.seconds.add(record.step_s)
        if self.blocks.add(held) is not None and len(self.blocks.medians) == BLOCKS:
            self.level = self.judged(record)
        return [self.rising(record)] if self.creep.rises(self.level) else []

    def judged(self, record: Step) -> int:
        """Tell 0 healthy, 1 note, 2 warn, 3 act."""
        medians = self.blocks.medians
        self.slope = trend(medians)
        if self.slope.low <= self.options.mib_per_100 * SIZE / 100:
            return 0
        if not (self.creep.open or steady(medians, 0.7)):
            return 0
        a_step, steps = self.slope.slope / SIZE, self.steps - record.step
        if medians[-1] + a_step * min(steps, self.steps_in(HOURS)) > self.limit_mib:
            return 3
        slight = a_step * steps < HARMLESS * self.limit_mib < math.inf
        return 1 if slight and self.field == PROCESS else 2

    def steps_in(self, hours: float) -> float:
        """Count the steps of some hours; 0 where nobody told how long one takes."""
        pace = self.seconds.medians[-1] if self.seconds.medians else 0.0
        return 3600 * hours / pace if pace > 0 else 0.0

    def rising(self, record: Step) -> Finding:
        """Say how fast it rises, and when it ends."""
        per_100 = 100 / SIZE * self.slope.slope
        held, level = self.blocks.medians[-1], self.creep.level
        why = f"it rose by {per_100:.3g} MiB in 100 steps all along the last {BLOCKS * SIZE}"
        if level > 2:
            hours = (self.limit_mib - held) * 100 / per_100 * self.seconds.medians[-1] / 3600
            why += f": the {self.limit_mib / 1024:.3g} GiB are used up in {max(0.0, hours):.2g} h"
        return Finding(
            id="memory_creep",
            severity=LEVELS[level],
            what=f"step {record.step}: {NAMED[self.field]}",
            value=f"{held / 1024:.3f} GiB",
            why=why,
            instead="Look at what is kept from step to step (a list of losses with their graphs); "
            "a save and a new start give it back",
            evidence={
                "mib_per_100": per_100,
                "low": 100 / SIZE * self.slope.low,
                "limit": self.options.mib_per_100,
                "window": BLOCKS * SIZE,
            },
            since=max(1, record.step - BLOCKS * SIZE + 1),
            episode=self.number,
        )

    def pieces(self, record: Step) -> list[Finding]:
        """Note, once, memory that is reserved and fits nothing."""
        reserved = record.gpu_mem_reserved_mib
        # at a step's boundary activations are gone: what was allocated at most is the measure
        used = record.gpu_mem_peak_mib or record.gpu_mem_alloc_mib
        if self.wide < 0 or not reserved or not used:
            return []
        self.wide = self.wide + 1 if reserved > self.options.scattered * used else 0
        if self.wide < OVER:
            return []
        self.wide = -1
        return [
            Finding(
                id="memory_creep",
                severity="note",
                what=f"step {record.step}: reserved GPU memory",
                value=f"{reserved / 1024:.3f} GiB",
                why=f"it is {reserved / used:.1f} times the {used / 1024:.3f} GiB that were ever "
                "allocated (004: 3.1 times)",
                instead="Set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
                evidence={"ratio": reserved / used, "limit": self.options.scattered},
                since=record.step - OVER + 1,
                episode=self.number,
            )
        ]

    def again(self, record: Step) -> list[Finding]:
        """Warn of an allocator that had to empty its cache and try again."""
        before, self.retries = self.retries, max(self.retries, record.alloc_retries or 0)
        if not self.retried.opens(self.retries > before):
            return []
        return [
            Finding(
                id="memory_creep",
                severity="warn",
                what=f"step {record.step}: retries of the GPU's allocator",
                value=f"{self.retries}",
                why="the memory is all but full: each retry empties the cache and waits",
                instead="Write a smaller train.batch with a larger train.accumulate",
                evidence={"retries": self.retries, "before": before},
                since=record.step,
                episode=self.number,
            )
        ]

    @property
    def number(self) -> int:
        """Count the episodes of all that it tells."""
        return self.creep.number + self.retried.number

    def state(self) -> dict[str, Any]:
        """Give the blocks and what was told."""
        return {
            "blocks": self.blocks.state(),
            "seconds": self.seconds.state(),
            "grace": self.grace.state(),
            "creep": self.creep.state(),
            "retried": self.retried.state(),
            "absent": self.absent.state(),
            "field": self.field,
            "counts": [self.since, self.level, self.wide, self.retries],
            "slope": [self.slope.slope, self.slope.error],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for name in ("blocks", "seconds", "grace", "creep", "retried", "absent"):
            getattr(self, name).restore(state[name])
        self.field = str(state["field"])
        self.since, self.level, self.wide, self.retries = (int(n) for n in state["counts"])
        slope, error = state["slope"]
        self.slope = Trend(float(slope), float(error))


LEVELS: Mapping[int, Severity] = {1: "note", 2: "warn", 3: "act"}
GPU, PROCESS = "gpu_mem_alloc_mib", "rss_mib"
NAMED = {GPU: "allocated GPU memory", PROCESS: "memory of the process"}


def held_mib(record: Step, field: str) -> tuple[str, float | None]:
    """Give the memory that is held after a step, and its field: once a GPU's, always that."""
    for name in (GPU,) if field == GPU else (GPU, PROCESS):
        held: float | None = getattr(record, name)
        if held is not None and math.isfinite(held):
            return name, held
    return "", None
