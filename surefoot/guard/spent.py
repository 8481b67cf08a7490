"""Where the time of a step goes, and which part of it grew when steps became slower."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from surefoot.guard.robust import median
from surefoot.guard.sliding import Sliding
from surefoot.records import Step

LAPS = ("data_s", "forward_s", "backward_s", "update_s")
CAUSES = {
    "data_s": "the model waits for its batches",
    "forward_s": "the model itself grew slower",
    "backward_s": "the gradients grew slower",
    "update_s": "the optimiser grew slower",
    "rest_s": "it is neither model nor data: the journal, a monitor, a callback",
}
ADVICE = {
    "data_s": "Look at the disk of the corpus, and at who else reads from it",
    "forward_s": "Look at what grows in the model: a window, a length, a cache",
    "backward_s": "Look at what grows in the model: a window, a length, a cache",
    "update_s": "Look at the optimiser's state: is it still on the device?",
    "rest_s": "Look at the disk of the run's folder, and at who listens to the journal",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a step that takes longer than it did."""

    name: str
    seconds: float
    before: float

    @property
    def why(self) -> str:
        """Say what takes the time."""
        called = self.name.removesuffix("_s")
        return (
            f"{called} takes {self.seconds:.3g} s a step where it took {self.before:.3g}: "
            + CAUSES[self.name]
        )


class Spent:
    """Medians of each part's seconds: of the last steps, and of the blocks before."""

    def __init__(self, near: int, blocks: int) -> None:
        self.near, self.blocks = near, blocks
        self.now: dict[str, Sliding] = {}
        self.usual: dict[str, list[float]] = {}

    def add(self, record: Step) -> None:
        """Take a step's parts in."""
        for name, seconds in parts_of(record).items():
            if name not in self.now:
                self.now[name] = Sliding(self.near)
            self.now[name].add(seconds)

    def block(self) -> None:
        """Keep the medians of a whole block."""
        for name, seconds in self.now.items():
            kept = [*self.usual.get(name, []), seconds.median()]
            self.usual[name] = kept[-self.blocks :]

    def clear(self) -> None:
        """Start anew."""
        self.now, self.usual = {}, {}

    def guilty(self) -> Part | None:
        """Name the part without which the step would be less than a third as much slower."""
        before = {name: median(values) for name, values in self.usual.items()}
        now = {name: self.now[name].median() for name in before}
        whole, grown = sum(before.values()), sum(now.values())
        for name, seconds in before.items():
            rest = whole - seconds
            if not grown > whole > rest > 0:
                continue
            if (grown - now[name]) / rest - 1 < (grown / whole - 1) / 3:
                return Part(name, now[name], seconds)
        return None

    def state(self) -> dict[str, Any]:
        """Give the medians."""
        return {
            "now": {name: seconds.state() for name, seconds in self.now.items()},
            "usual": {name: [*values] for name, values in self.usual.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.now = {name: Sliding(self.near) for name in state["now"]}
        for name, seconds in self.now.items():
            seconds.restore(state["now"][name])
        self.usual = {name: list(values) for name, values in state["usual"].items()}


def parts_of(record: Step) -> dict[str, float]:
    """Give the seconds of a step by part, and what is left in none of them."""
    told = {name: getattr(record, name) for name in LAPS}
    known = {name: s for name, s in told.items() if s is not None and math.isfinite(s)}
    if record.step_s is None or not math.isfinite(record.step_s) or "backward_s" not in known:
        return {}
    return {**known, "rest_s": max(0.0, record.step_s - sum(known.values()))}
