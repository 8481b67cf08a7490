"""Plans to be judged: a recipe with changes, and the facts that would have been measured."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from surefoot.guard.situation import Forecast, Situation
from surefoot.model.facts import forecast_parameters
from surefoot.plan.shape import shape, with_vocab
from surefoot.recipe import write
from surefoot.recipe.load import load
from surefoot.recipe.overrides import overrides
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding
from surefoot.run import forecast as sums

LITERAL = re.compile(r"(?<![\w.])[a-z][\w]*(?:\.\w+)+=\S+")
ROOM_GIB = 1000.0
OF_FORECAST = ("step_s", "mem_free_gib", "disk_free_gib")


@dataclass(frozen=True, slots=True)
class Case:
    """One plan, and what a rule says of it."""

    rule: str
    severity: str = ""  # "" for a healthy plan
    recipe: str = "starter"
    changes: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""  # must be in the finding
    mend: Callable[["Case", Finding], "Case"] | None = None  # where no override does it

    def with_changes(self, **more: Any) -> "Case":
        """Lay more changes over the case."""
        return replace(self, changes={**self.changes, **more})

    def with_facts(self, **more: Any) -> "Case":
        """Change what was measured."""
        return replace(self, facts={**self.facts, **more})


def judged(case: Case) -> tuple[Recipe, Situation]:
    """Make the recipe as it would be judged, and its situation."""
    facts = dict(case.facts)
    device = facts.pop("device", "cpu")
    loaded = load(case.recipe, {"train.device": device, **case.changes}).recipe
    recipe = write.resolved(with_vocab(loaded), steps=loaded.train.steps)
    own = {name: facts.pop(name) for name in tuple(facts) if name in OF_FORECAST}
    known = {"sha": write.pin(recipe), "corpus_tokens": None, "leaks": ()} | facts
    return recipe, Situation(device=device, forecast=cost(recipe, **own), **known)


def cost(
    recipe: Recipe,
    step_s: float = 0.001,
    mem_free_gib: float | None = ROOM_GIB,
    disk_free_gib: float = ROOM_GIB,
) -> Forecast:
    """Forecast by arithmetic, at a given time for each step."""
    parameters = forecast_parameters(recipe.model, shape(recipe))
    seconds, train = recipe.train.steps * step_s, recipe.train
    return Forecast(
        parameters=parameters,
        mem_gib=sums.mem_gib(recipe, parameters, 0.0),
        mem_free_gib=mem_free_gib,
        seconds=seconds,
        seconds_low=seconds,
        seconds_high=seconds,
        disk_gib=sums.disk_gib(recipe, parameters),
        disk_free_gib=disk_free_gib,
        tokens=train.steps * train.batch * train.accumulate * train.seq_len,
        source="timed",
        checkpoint_gib=sums.checkpoint_gib(recipe, parameters),
        batch_mem_gib=sums.batch_mem_gib(recipe, parameters, 0.0),
        muon_share=sums.muon_share(recipe),
    )


def literals(instead: str) -> dict[str, Any]:
    """Read the overrides that an advice can be pasted as: the first way that it offers."""
    first = re.split(r",? or ", instead)[0]
    return overrides([text.rstrip(",.") for text in LITERAL.findall(first)])


def mended(case: Case, finding: Finding) -> Case:
    """Do what a finding says."""
    if case.mend is not None:
        return case.mend(case, finding)
    return case.with_changes(**literals(finding.instead))
