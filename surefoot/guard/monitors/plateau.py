"""Sees a loss that has stopped falling.

Level = mean of the last 4 medians of 50 steps; warns when the best level improved by less than .5%
over more than 1000 steps (seed 004) and no raise is due that would answer it; a note inside the
decay, where little is left to gain. At most once in 1000 steps.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import phases
from surefoot.guard.episode import QUIET, Episode
from surefoot.guard.grace import STEPS, Grace
from surefoot.guard.level import loss_of
from surefoot.guard.robust import Blocks
from surefoot.recipe.choice import Choice
from surefoot.records import Event, Finding, Record, Step

BLOCK = 50  # steps
BLOCKS = 4  # of a level


class Options(Choice):
    """How long nothing may be gained."""

    kind: str = "plateau"
    window: Annotated[int, Field(ge=200)] = 1000
    """Steps in which the loss must improve"""
    gain: Annotated[float, Field(gt=0)] = 0.005
    """Share of the best level that is an improvement"""
    quiet: Annotated[int, Field(ge=1)] = QUIET
    """Steps of improvement that close an episode"""


class Monitor:
    """Compares the best level with that of 1000 steps before."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.facts = facts
        self.keep = options.window // BLOCK  # a level is late by 100 steps: so it is over 1000
        self.blocks = Blocks(BLOCK, BLOCKS)
        self.bests: list[float] = []  # best level at the ends of the last blocks
        # Wherever something planned happened, the window begins again.
        self.grace = Grace(dict.fromkeys(STEPS, options.window))
        self.episode = Episode(options.quiet)
        self.told = 0  # step of the last finding
        self.sick = False
        self.decaying = False

    def observe(self, record: Record) -> list[Finding]:
        """Judge at the end of each block."""
        if not isinstance(record, Step):
            self.see(record)
            return []
        x = loss_of(record)
        if x is None:
            return []
        if self.blocks.add(x) is not None:
            self.sick = self.flat(record)
        wait = self.told and record.step - self.told < self.options.window
        if self.sick and wait and not self.episode.open:
            return []
        if not self.episode.opens(self.sick):
            return []
        self.told = record.step
        return [self.finding(record)]

    def see(self, record: Record) -> None:
        """Begin anew after anything planned."""
        begun = isinstance(record, Event) and record.name == "decay_start"
        kind = self.grace.see(record)
        if kind == "restart" or begun:
            self.decaying = begun
        if kind or begun:
            self.blocks.clear()
            self.bests, self.sick = [], False

    def flat(self, record: Step) -> bool:
        """Say whether the best level hardly moved in the window."""
        if len(self.blocks.medians) < BLOCKS:
            return False
        level = sum(self.blocks.medians) / BLOCKS
        self.bests.append(min([level, *self.bests[-1:]]))
        del self.bests[: -self.keep - 1]
        if len(self.bests) <= self.keep or phases.raise_due(self.facts, record.knobs):
            return False
        return self.bests[0] - self.bests[-1] < self.options.gain * abs(self.bests[0])

    def finding(self, record: Step) -> Finding:
        """Say how little was gained."""
        before, best = self.bests[0], self.bests[-1]
        share = (before - best) / max(abs(before), 1e-12)
        return Finding(
            id="plateau",
            severity="note" if self.decaying else "warn",
            what=f"step {record.step}: best loss",
            value=f"{best:.4g} nats",
            why=f"it improved by {100 * share:.2g}% in the last {self.options.window} steps, less "
            f"than {100 * self.options.gain:g}%",
            instead="Begin the decay (a shorter train.steps), or write a larger model or more data"
            if not self.decaying
            else "Nothing: the decay has taken what it can",
            evidence={
                "best": best,
                "before": before,
                "gain": share,
                "threshold": self.options.gain,
                "window": self.options.window,
            },
            since=max(0, record.step - self.options.window),
            episode=self.episode.number,
        )

    def state(self) -> dict[str, Any]:
        """Give the blocks and what was told."""
        return {
            "blocks": self.blocks.state(),
            "bests": [*self.bests],
            "grace": self.grace.state(),
            "episode": self.episode.state(),
            "told": self.told,
            "sick": self.sick,
            "decaying": self.decaying,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        for name in ("blocks", "grace", "episode"):
            getattr(self, name).restore(state[name])
        self.bests, self.told = list(state["bests"]), int(state["told"])
        self.sick, self.decaying = bool(state["sick"]), bool(state["decaying"])
