"""Sees training that becomes slower, and says which part of a step does.

y = log of tokens a second. The median of the last 20 steps against that of the 200 before them
(skipped steps, saves and the first 50 left out): lower by more than max(10%, 4 deviations of such
medians) warns; higher is noted, for work may be left out (seed 004). Drift: over 2000 steps the
slope's upper bound < -2% in 1000 steps, and it falls all along. Both begin anew where windows,
lengths or batches change.

A CPU is shared with whatever else runs, and its speed halves and doubles in health: there it takes
100 steps below two thirds. If all parts of the step slowed alike, something else uses the machine,
which is noted; one part alone (the data, say) warns.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import robust
from surefoot.guard.absent import Absent
from surefoot.guard.episode import QUIET, Episode
from surefoot.guard.grace import STEPS, Grace
from surefoot.guard.sliding import Sliding
from surefoot.guard.spent import ADVICE, Spent
from surefoot.guard.trend import steady, trend
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Remedy, Severity, Step

AMBIENT = True
NEAR = 20  # steps of a median
USUAL = 10  # medians that it is compared with
AWAY = 40  # medians whose spread is the noise
LONG, DRIFT = 5, 20  # medians of a longer block; longer blocks that drift is looked for in
ALIKE = "all parts of a step slowed alike"


class Options(Choice):
    """How much slower is worth telling."""

    kind: str = "throughput"
    band: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share by which a GPU's speed may change"""
    shared_band: Annotated[float, Field(gt=0, lt=1)] = 0.34
    """The same on a CPU, where others run too"""
    shared_steps: Annotated[int, Field(ge=20)] = 100
    """Steps that a CPU must stay slower"""
    drift: Annotated[float, Field(gt=0, lt=0.2)] = 0.02
    """Share in 1000 steps by which a GPU's speed may fall; five times that on a CPU"""
    warmup: Annotated[int, Field(ge=0)] = 50
    """Steps that are not looked at, at the start and where sizes change"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy steps that close an episode"""


class Monitor:
    """Compares the speed of the last steps with what is usual."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        self.options = options
        self.near = Sliding(NEAR)
        self.spent = Spent(NEAR, USUAL)
        self.medians: list[float] = []  # of the last blocks
        self.blocks = robust.Blocks(LONG, DRIFT)
        self.usual: float | None = None  # median of the last of them
        self.away: list[float] = []  # medians, less what was usual then
        self.deviation = 0.0
        self.filled = 0  # steps of the block that fills
        self.low = 0  # steps in a row below the band
        self.since = 0  # the last step that is not looked at
        self.shared = True  # until a step tells of a GPU
        self.grace = Grace(dict.fromkeys(STEPS, options.warmup))
        self.slow, self.fast = Episode(options.quiet), Episode(options.quiet)
        # asked once a longer block: as many healthy steps close it
        self.drifting = Episode(max(1, options.quiet // (LONG * NEAR)))
        self.absent = Absent("throughput", "tok_per_s or step_s")

    def observe(self, record: Record) -> list[Finding]:
        """Judge each step by the median that it ends."""
        if not isinstance(record, Step):
            if self.grace.see(record):
                self.rebase(record.at_step if isinstance(record, Remedy) else record.step)
            return []
        speed = speed_of(record)
        found = self.absent.seen(speed is not None)
        if speed is None or record.skipped or record.save_stall_s is not None:
            return found
        self.since = self.since or record.step - 1 + self.options.warmup
        if record.step <= self.since:
            return found
        self.shared = self.shared and record.gpu_mem_alloc_mib is None
        self.near.add(math.log(speed))
        self.spent.add(record)
        self.filled += 1
        found += self.judged(record)
        if self.filled == NEAR:
            found += self.block(record)
        return found

    def rebase(self, step: int) -> None:
        """Begin anew after what changes the work of a step."""
        self.near.clear()
        self.spent.clear()
        self.blocks.clear()
        self.medians, self.away, self.deviation, self.usual = [], [], 0.0, None
        self.filled = self.low = 0
        self.since = step + self.options.warmup

    def block(self, record: Step) -> list[Finding]:
        """Keep the median of a whole block, and how far medians lie from what is usual."""
        self.filled, median = 0, self.near.median()
        if self.usual is not None:
            self.away = [*self.away[1 - AWAY :], median - self.usual]
            if len(self.away) >= USUAL:
                self.deviation = robust.SPREAD * robust.mad(self.away)
        if not self.low or self.slow.open:  # else what is being judged becomes what is usual
            self.medians = [*self.medians[1 - USUAL :], median]
            self.spent.block()
        if len(self.medians) == USUAL:
            self.usual = robust.median(self.medians)
        return self.drift(record) if self.blocks.add(median) is not None else []

    def judged(self, record: Step) -> list[Finding]:
        """Compare the median of the last steps with the usual one."""
        if self.usual is None or not self.near.full:
            return []
        change = self.near.median() - self.usual
        band = self.options.shared_band if self.shared else self.options.band
        limit = max(-math.log1p(-band), 4 * self.deviation)
        self.low = self.low + 1 if change < -limit else 0
        # a median is low after half its steps
        wanted = self.options.shared_steps - NEAR // 2 if self.shared else 1
        found: list[Finding] = []
        if self.slow.opens(self.low >= wanted):
            found.append(self.slower(record, change, limit))
        if self.fast.opens(not self.shared and change > limit):
            why = "nothing planned explains it: work may be left out"
            instead = "Look at the device's clock, and at what a step still does"
            found.append(self.changed(record, change, limit, "note", (why, instead)))
        return found

    def slower(self, record: Step, change: float, limit: float) -> Finding:
        """Say how much slower, and what takes the time."""
        part = self.spent.guilty()
        severity: Severity = "warn" if part or not self.shared else "note"
        if part is not None:
            words = (part.why, ADVICE[part.name])
        elif self.shared:
            why = f"{ALIKE}: something else uses this machine, or it is hot"
            words = (why, "Nothing, if that is so: it only takes longer")
        else:
            words = (ALIKE, "Look at the device: its clock, its temperature, other processes")
        return self.changed(record, change, limit, severity, words)

    def changed(
        self, record: Step, change: float, limit: float, severity: Severity, words: tuple[str, str]
    ) -> Finding:
        """Tell of a change of speed."""
        assert self.usual is not None, "nothing is judged without what is usual"
        ratio, band, part = math.exp(change), -math.expm1(-limit), self.spent.guilty()
        told = {"part": part.name, "part_s": part.seconds} if part is not None else {}
        return Finding(
            id="throughput",
            severity=severity,
            what=f"step {record.step}: tokens a second",
            value=f"{math.exp(self.near.median()):.4g}",
            why=f"{ratio:.2f} times the usual {math.exp(self.usual):.4g} (limit "
            f"{100 * band:.0f}%); {words[0]}",
            instead=words[1],
            evidence={"ratio": ratio, "limit": band, "window": NEAR, **told},
            since=max(1, record.step - max(self.low, 1) - NEAR // 2 + 1),
            episode=self.number,
        )

    def drift(self, record: Step) -> list[Finding]:
        """Look for a slow fall that goes on all along."""
        medians, steps = self.blocks.medians, LONG * NEAR
        if len(medians) < DRIFT:
            return []
        seen = trend(medians)
        share = (5 if self.shared else 1) * self.options.drift
        falls = seen.high < math.log1p(-share) * steps / 1000 and steady(medians, 0.5)
        if not self.drifting.opens(falls):
            return []
        lost = -math.expm1(seen.slope * 1000 / steps)
        return [
            Finding(
                id="throughput",
                severity="note" if self.shared else "warn",
                what=f"step {record.step}: tokens a second",
                value=f"{math.exp(medians[-1]):.4g}",
                why=f"it falls by {100 * lost:.1f}% in 1000 steps, and has all along the last "
                f"{DRIFT * steps} (limit {100 * share:g}%)",
                instead="Look at the device's clock and temperature, and at what grows with time",
                evidence={"lost_in_1000": lost, "limit": share, "window": DRIFT * steps},
                since=max(1, record.step - DRIFT * steps + 1),
                episode=self.number,
            )
        ]

    @property
    def number(self) -> int:
        """Count the episodes of all that it tells."""
        return self.slow.number + self.fast.number + self.drifting.number

    def state(self) -> dict[str, Any]:
        """Give the windows and what was told."""
        return {
            "near": self.near.state(),
            "spent": self.spent.state(),
            "medians": [*self.medians],
            "blocks": self.blocks.state(),
            "usual": self.usual,
            "away": [*self.away],
            "deviation": self.deviation,
            "counts": [self.filled, self.low, self.since],
            "shared": self.shared,
            "grace": self.grace.state(),
            "episodes": [one.state() for one in (self.slow, self.fast, self.drifting)],
            "absent": self.absent.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for name in ("near", "spent", "blocks", "grace", "absent"):
            getattr(self, name).restore(state[name])
        self.medians, self.away = list(state["medians"]), list(state["away"])
        self.usual, self.deviation = state["usual"], float(state["deviation"])
        self.filled, self.low, self.since = (int(count) for count in state["counts"])
        self.shared = bool(state["shared"])
        told = zip((self.slow, self.fast, self.drifting), state["episodes"], strict=True)
        for episode, kept in told:
            episode.restore(kept)


def speed_of(record: Step) -> float | None:
    """Give tokens a second; steps a second where they aren't told."""
    for told in (record.tok_per_s, 1 / record.step_s if record.step_s else None):
        if told is not None and math.isfinite(told) and told > 0:
            return told
    return None
