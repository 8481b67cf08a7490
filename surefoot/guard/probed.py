"""Medians of what a mixer tells of itself on probe steps, against limits; nsa's telemetry, say."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from surefoot.guard.episode import Episode
from surefoot.guard.grace import STEPS, Grace
from surefoot.guard.sliding import Sliding
from surefoot.records import Finding, Record, Severity, Step

PROBES = 50  # that a median is taken over
QUIET = 20  # healthy probes that close an episode
WARMUP = 500  # steps in which branches find their places


@dataclass(frozen=True, slots=True)
class Limit:
    """What a number may not be; a name that ends in a dot stands for one number a branch."""

    name: str
    side: Literal["above", "below"]
    value: float
    why: str
    severity: Severity = "warn"
    reached: bool = False  # whether the limit itself is wrong already

    def wrong(self, medians: Mapping[str, float]) -> tuple[str, float] | None:
        """Give the number that is farthest on the wrong side."""
        each = self.name.endswith(".")
        mine = [n for n in medians if (n.startswith(self.name) if each else n == self.name)]
        if not mine:
            return None
        above = self.side == "above"
        name = (max if above else min)(mine, key=lambda one: medians[one])
        value = medians[name]
        past = value > self.value if above else value < self.value
        return (name, value) if past or (self.reached and value == self.value) else None


@dataclass(frozen=True, slots=True)
class Wrong:
    """A number beyond its limit."""

    limit: Limit
    name: str
    value: float


class Probed:
    """The last 50 values of each number, judged at each probe; silent where none comes."""

    def __init__(self, warmup: int, quiet: int) -> None:
        self.warmup = warmup
        self.values: dict[str, Sliding] = {}
        self.steps: list[int] = []  # of the last probes
        self.grace = Grace(dict.fromkeys(STEPS, warmup))
        self.episode = Episode(quiet)

    def see(self, record: Record) -> None:
        """Begin anew after anything planned."""
        if self.grace.see(record):
            self.values, self.steps = {}, []

    def judge(
        self, record: Step, told: Mapping[str, float], limits: Sequence[Limit]
    ) -> list[Wrong]:
        """Take a probe in; give what is beyond its limits where an episode begins or is graver."""
        if record.step <= self.warmup or self.grace.open(record.step):
            return []
        self.steps = [*self.steps[1 - PROBES :], record.step]
        for name, value in told.items():
            if math.isfinite(value):
                if name not in self.values:
                    self.values[name] = Sliding(PROBES)
                self.values[name].add(value)
        medians = {name: seen.median() for name, seen in self.values.items() if seen.full}
        found = [Wrong(limit, *one) for limit in limits if (one := limit.wrong(medians))]
        level = max((1 + (one.limit.severity == "warn") for one in found), default=0)
        return found if self.episode.rises(level) else []

    def finding(self, name: str, record: Step, found: Iterable[Wrong], instead: str) -> Finding:
        """Tell of all numbers that are beyond their limits."""
        wrong = sorted(found, key=lambda one: one.limit.severity != "warn")  # the gravest first
        return Finding(
            id=name,
            severity=wrong[0].limit.severity,
            what=f"step {record.step}: {wrong[0].name}",
            value=f"{wrong[0].value:.3g}",
            why=f"over {PROBES} probes "
            + "; ".join(
                f"{one.name} {one.value:.3g} is {one.limit.side} {one.limit.value:g} "
                f"({one.limit.why})"
                for one in wrong
            ),
            instead=instead,
            evidence={
                "window": PROBES,
                "medians": {one.name: one.value for one in wrong},
                "limits": {one.name: one.limit.value for one in wrong},
            },
            since=self.steps[0],
            episode=self.episode.number,
        )

    def state(self) -> dict[str, Any]:
        """Give the values and what was told."""
        return {
            "values": {name: seen.state() for name, seen in self.values.items()},
            "steps": [*self.steps],
            "grace": self.grace.state(),
            "episode": self.episode.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.values = {name: Sliding(PROBES) for name in state["values"]}
        for name, seen in self.values.items():
            seen.restore(state["values"][name])
        self.steps = list(state["steps"])
        self.grace.restore(state["grace"])
        self.episode.restore(state["episode"])
