"""Sees a loss that is too good: at its floor, or falling faster than learning goes on.

F = entropy of the smoothed target, q = eps/V, p = 1-eps+q: -p ln p - (V-1) q ln q (eps .1,
V 4096: 1.1566; eps 0: 0). Warns where the median of 50 steps is less than .1 above F, stops below
.02: a model that sees the answer sits there (003: haar-v5). With
data.entropy_floor = x only less than x - .02 counts.
`fell_too_fast`: a, b, c = levels of 100 steps that end 500, 250 and 0 steps before t; the power law
through a and b would still give p = max(0, ln(a/b)) ln((t-50)/(t-300))/ln((t-300)/(t-550)); warns
where ln(b'/c) > 3p + .25, b' = the least level up to b, so that coming back from a rise never
counts.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import phases
from surefoot.guard.absent import Absent, fact
from surefoot.guard.episode import QUIET, Episode
from surefoot.guard.grace import STEPS, Grace
from surefoot.guard.robust import Blocks
from surefoot.recipe.choice import Choice
from surefoot.records import Event, Finding, Record, Step

ALSO = {"fell_too_fast": "Sees a loss that falls faster than its own curve can explain."}
BLOCK = 50  # steps
BLOCKS = 12  # that make 600 steps
FIRST = 700  # step of the first look at the speed


class Options(Choice):
    """How good is too good."""

    kind: str = "floor_leak"
    warn: Annotated[float, Field(ge=0)] = 0.1
    """Nats above the floor that warn"""
    act: Annotated[float, Field(ge=0)] = 0.02
    """Nats above the floor that stop the run, or below a given floor"""
    repeats: Annotated[float, Field(gt=0)] = 4.0
    """Times the corpus was read after which a low loss is learnt by heart"""
    fast: Annotated[float, Field(gt=0)] = 3.0
    """Times what the power law would give that are still possible"""
    slack: Annotated[float, Field(ge=0)] = 0.25
    """Log ratio that is always possible"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Healthy steps that close an episode"""


class Monitor:
    """Compares the loss with its floor, and its fall with what went before."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.smoothing, self.vocab = phases.smoothing(facts)
        recipe = facts.get("recipe")
        self.given: float | None = recipe.data.entropy_floor if recipe is not None else None
        self.corpus = fact(facts, "corpus_tokens")
        self.floor = floor(self.smoothing, self.vocab)
        self.absent = Absent("floor_leak", "ce (or, with label smoothing, ce_smooth)")
        self.blocks = Blocks(BLOCK, BLOCKS)
        self.best: float | None = None  # least median of blocks older than those kept
        self.grace = Grace(dict.fromkeys(STEPS, BLOCK * BLOCKS))
        self.decaying = False
        self.leak = Episode(options.quiet)
        self.fall = Episode(options.quiet)
        self.leaking = 0
        self.falling = False

    def observe(self, record: Record) -> list[Finding]:
        """Judge at the end of each block."""
        if not isinstance(record, Step):
            self.see(record)
            return []
        x = self.value(record)
        found = self.absent.seen(x is not None or bool(record.nonfinite))
        if x is None:
            return found
        oldest = self.blocks.medians[0] if len(self.blocks.medians) == BLOCKS else None
        if self.blocks.add(x) is not None:
            if oldest is not None:
                self.best = oldest if self.best is None else min(self.best, oldest)
            self.leaking = self.depth(record)
            self.falling = self.fell(record.step)
        if self.leak.rises(self.leaking):
            found.append(self.told(record))
        if self.fall.opens(self.falling):
            found.append(self.too_fast(record))
        return found

    def value(self, record: Step) -> float | None:
        """Give what has this floor: the smoothed cross-entropy where there is one."""
        if not self.smoothing:
            return record.ce if math.isfinite(record.ce) else None
        x = record.aux.get("ce_smooth", record.loss)
        return x if math.isfinite(x) else None

    def see(self, record: Record) -> None:
        """Know of the decay, in which a loss may fall fast."""
        self.grace.see(record)
        if isinstance(record, Event):
            if record.name == "decay_start":
                self.decaying = True
            elif record.name == "lr_restart":
                self.decaying = False

    def depth(self, record: Step) -> int:
        """Give 2 at the floor, 1 near it."""
        level = self.blocks.medians[-1]
        if self.given is not None:
            return 2 if level < self.given - self.options.act else 0
        if self.corpus and record.tokens > self.options.repeats * self.corpus:
            return 0
        return (level - self.floor < self.options.warn) + (level - self.floor < self.options.act)

    def fell(self, step: int) -> bool:
        """Say whether the fall beats the power law through the levels before."""
        medians = self.blocks.medians
        if step < FIRST or len(medians) < BLOCKS or self.decaying or self.grace.open(step):
            return False
        a, b, c = (0.5 * (medians[i] + medians[i + 1]) for i in (0, 5, 10))
        if min(a, b) <= 0 or step <= 550:
            return False
        law = math.log((step - 50) / (step - 300)) / math.log((step - 300) / (step - 550))
        p = max(0.0, math.log(a / b)) * law
        least = min(b, min(medians[:7]), *([] if self.best is None else [self.best]))
        gone = math.log(max(least, 1e-12) / max(c, 1e-12))
        return gone > self.options.fast * p + self.options.slack

    def told(self, record: Step) -> Finding:
        """Say how near the floor the loss is."""
        level, act = self.blocks.medians[-1], self.leak.level > 1
        bound = self.floor if self.given is None else self.given
        gap = level - bound
        where = f"{gap:.3f} above" if gap >= 0 else f"{-gap:.3f} below"
        which = (
            f"of label smoothing {self.smoothing:g} at vocab {self.vocab}"
            if self.smoothing
            else "of any prediction"
        )
        if self.given is not None:
            which = "that data.entropy_floor gives"
        wrong = " or the metric itself is wrong" if gap < 0 else ""
        return Finding(
            id="floor_leak",
            severity="act" if act else "warn",
            what=f"step {record.step}: loss",
            value=f"{level:.4f} nats",
            why=f"it is {where} the floor {bound:.4f} {which}: a model that sees the answer sits "
            f"there{wrong} (003: haar-v5)",
            instead="Run surefoot audit RUN or, if the data are that simple, write "
            "data.entropy_floor=0.0",
            evidence={
                "level": level, "floor": bound, "gap": gap, "window": BLOCK,
                "limit": self.options.act if act else self.options.warn,
            },
            since=max(1, record.step - BLOCK + 1),
            episode=self.leak.number,
        )  # fmt: skip

    def too_fast(self, record: Step) -> Finding:
        """Say how fast the loss fell."""
        medians = self.blocks.medians
        a, b, c = (0.5 * (medians[i] + medians[i + 1]) for i in (0, 5, 10))
        return Finding(
            id="fell_too_fast",
            severity="warn",
            what=f"step {record.step}: loss over 100 steps",
            value=f"{c:.4g} nats",
            why=f"it fell from {b:.4g} within 250 steps, after {a:.4g} to {b:.4g} in the 250 "
            "before: learning slows down, a leak or a batch that comes again does this",
            instead="Run surefoot audit RUN, and look whether batch_hash repeats",
            evidence={"a": a, "b": b, "c": c, "window": BLOCK * BLOCKS},
            since=max(1, record.step - 250),
            episode=self.fall.number,
        )

    def state(self) -> dict[str, Any]:
        """Give the blocks and the episodes."""
        return {
            "blocks": self.blocks.state(),
            "grace": self.grace.state(),
            "leak": self.leak.state(),
            "fall": self.fall.state(),
            "absent": self.absent.state(),
            "best": self.best,
            "decaying": self.decaying,
            "leaking": self.leaking,
            "falling": self.falling,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for name in ("blocks", "grace", "leak", "fall", "absent"):
            getattr(self, name).restore(state[name])
        self.best, self.decaying = state["best"], bool(state["decaying"])
        self.leaking, self.falling = int(state["leaking"]), bool(state["falling"])


def floor(share: float, vocab: int) -> float:
    """Give the entropy of a target that label smoothing spread, the least a loss can be."""
    if not share or vocab < 2:
        return 0.0
    q = share / vocab
    p = 1 - share + q
    return -p * math.log(p) - (vocab - 1) * q * math.log(q)
