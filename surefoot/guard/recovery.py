"""Whether the loss comes back to where it stood before a raise, a growth or a restart."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from surefoot.guard import robust
from surefoot.guard.grace import Grace
from surefoot.guard.level import loss_of
from surefoot.records import Event, Record, Step

LEVEL = 200  # steps of the level before
EVERY = 50  # steps between two looks, and of the level now
JUDGED = frozenset({"raise", "growth", "restart"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a loss stands against its level before an event."""

    recovered: bool
    kind: str  # of event
    since: int  # step of the event
    took: int  # steps
    before: float  # level before, nats
    level: float
    se: float
    peak: float  # highest loss since


class Recovery:
    """Keeps the level before an event, and compares until it is reached or time is up.

    Decay buys loss that goes when the rate comes back, so after a restart the fair reference is
    the level before the decay, where there was one (003: engram-v2 returned to 3.0-3.2, its stable
    level, not to 2.88).
    """

    def __init__(self, within: int) -> None:
        self.within = within
        self.grace = Grace()
        self.recent: list[float] = []
        self.stable: float | None = None  # level before the decay
        self.kind = ""  # of the event that is judged; nothing = none is
        self.since = 0
        self.before = self.se = 0.0
        self.peak = -math.inf
        self.failed = False  # time is up, and the loss is not back

    def see(self, record: Record) -> None:
        """Keep the level before an event."""
        if isinstance(record, Event) and record.name == "decay_start" and self.recent:
            self.stable = robust.median(self.recent)
        kind = self.grace.see(record)
        if kind not in JUDGED or self.kind or len(self.recent) < LEVEL:
            return
        assert isinstance(record, Event), "only events are judged"
        self.kind, self.since, self.failed = kind, record.step, False
        self.before, self.peak = robust.median(self.recent), -math.inf
        # .002 of the level, as in guard/level.py: less is no noise but a lack of samples
        noise = robust.scale(robust.detrended(self.recent), 0.002 * abs(self.before) + 1e-6)
        self.se = robust.SHORT * noise / math.sqrt(LEVEL)
        if kind == "restart" and self.stable is not None:
            self.before = max(self.before, self.stable)

    def add(self, record: Step) -> Verdict | None:
        """Take a step in; give a verdict when the loss is back, or when time is up."""
        x = loss_of(record)
        if x is None:
            return None
        self.recent.append(x)
        if len(self.recent) > LEVEL:
            del self.recent[0]
        if not self.kind:
            return None
        self.peak = max(self.peak, x)
        took = record.step - self.since
        if took <= 0 or took % EVERY or self.grace.open(record.step):
            return None
        return self.judged(took)

    def judged(self, took: int) -> Verdict | None:
        """Compare the last steps with the level before."""
        level = robust.median(self.recent[-EVERY:])
        back = level <= self.before
        late = took >= self.within and not self.failed
        if not (back or late):
            return None
        found = Verdict(back, self.kind, self.since, took, self.before, level, self.se, self.peak)
        if back:
            self.kind, self.failed = "", False
        else:
            self.failed = True
        return found

    def state(self) -> dict[str, Any]:
        """Give the level before, and what led there."""
        return {
            "grace": self.grace.state(),
            "recent": [*self.recent],
            "stable": self.stable,
            "kind": self.kind,
            "since": self.since,
            "before": self.before,
            "se": self.se,
            "peak": self.peak if math.isfinite(self.peak) else None,
            "failed": self.failed,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.grace.restore(state["grace"])
        self.recent, self.stable = list(state["recent"]), state["stable"]
        self.kind, self.since = str(state["kind"]), int(state["since"])
        self.before, self.se = float(state["before"]), float(state["se"])
        self.peak = -math.inf if state["peak"] is None else float(state["peak"])
        self.failed = bool(state["failed"])
