"""Sees a model that has learnt no more than how frequent each token is.

Once, at step max(400, 2 warm-up): the median of the last 100 losses >= the corpus' unigram entropy
less .1 asks for a remedy (Adam at 10 to 100 times its rate does not swing, it sits there: 3.13-3.24
against 3.15, healthy 2.5); above its bigram entropy + .5 is noted.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.guard import phases, robust
from surefoot.guard.absent import Absent, fact
from surefoot.guard.level import loss_of
from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step

WINDOW = 100  # steps
ENOUGH = 20  # losses without which nothing is said


class Options(Choice):
    """When, and against what, the loss is compared."""

    kind: str = "early_stuck"
    at: Annotated[int, Field(ge=100)] = 400
    """Step of the comparison; twice the warm-up if that is later"""
    unigram: Annotated[float, Field(ge=0)] = 0.1
    """Nats that must be gained on the unigram entropy"""
    bigram: Annotated[float, Field(ge=0)] = 0.5
    """Nats above the bigram entropy that are not noted"""


class Monitor:
    """Compares one median with the corpus' entropies."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.at = max(options.at, 2 * phases.warmup(facts))
        self.unigram = fact(facts, "unigram_entropy")
        self.bigram = fact(facts, "bigram_entropy")
        self.absent = Absent("early_stuck", "the corpus' unigram entropy")
        self.recent: list[float] = []

    def observe(self, record: Record) -> list[Finding]:
        """Judge once."""
        if not isinstance(record, Step) or record.step > self.at:
            return []
        if self.unigram is None:
            return self.absent.seen(False)
        x = loss_of(record)
        if record.step > self.at - WINDOW and x is not None:
            self.recent.append(x)
        if record.step < self.at or len(self.recent) < ENOUGH:
            return []
        level, self.recent = robust.median(self.recent), []
        return self.judged(record, level)

    def judged(self, record: Step, level: float) -> list[Finding]:
        """Ask for a remedy above the unigram entropy, note above the bigram's."""
        assert self.unigram is not None, "nothing is judged without the unigram entropy"
        stuck = level >= self.unigram - self.options.unigram
        slow = self.bigram is not None and level > self.bigram + self.options.bigram
        if not (stuck or slow):
            return []
        name, entropy = ("unigram", self.unigram) if stuck else ("bigram", self.bigram)
        assert entropy is not None, "the entropy that it is compared with is known"
        return [
            Finding(
                id="early_stuck",
                severity="act" if stuck else "note",
                what=f"step {record.step}: loss over {WINDOW} steps",
                value=f"{level:.4g} nats",
                why=f"the {name} entropy of the corpus is {entropy:.4g}: a count of "
                f"{'tokens' if stuck else 'pairs'} predicts "
                + ("as well" if stuck else f"{level - entropy:.2g} nats better"),
                instead="Write a lower learning rate: one that is far too high sits here"
                if stuck
                else "Look at the learning rate and the data: it learns slowly",
                evidence={"level": level, "unigram": self.unigram, "bigram": self.bigram},
                since=record.step - WINDOW + 1,
            )
        ]

    def state(self) -> dict[str, Any]:
        """Give the losses of the window."""
        return {"recent": [*self.recent], "absent": self.absent.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.recent = list(state["recent"])
        self.absent.restore(state["absent"])
