"""The Plan: every knob of a step, a pure function of the recipe and the events so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from surefoot.plan.bends import bent_options, lr_factor, ramped
from surefoot.recipe.schema import Recipe
from surefoot.recipe.span import Span
from surefoot.records import Event, Remedy

Value = float | list[float]


@dataclass(frozen=True, slots=True)
class Knobs:
    """Every knob of one step: what the optimiser and the model are told."""

    step: int
    lr: Mapping[str, float]  # role -> learning rate, absolute
    momentum: float
    values: Mapping[str, Value]  # all knobs by name, `lr` as a multiplier


def plain(value: Value) -> float:
    """Take a knob that is one number for all layers."""
    assert not isinstance(value, list), "this knob is one number, not one a layer"
    return value


class Plan:
    """Says what every knob is at any step; asked twice it answers the same, in any order."""

    def __init__(self, recipe: Recipe, events: Sequence[Event | Remedy] = ()) -> None:
        self.recipe = recipe
        self.events = tuple(events)
        self.span = Span(steps=recipe.train.steps, layers=recipe.model.layers)

    def at(self, step: int) -> Knobs:
        """Give every knob of a step, counted from 1."""
        values = {name: self.value(name, step) for name in self.recipe.knobs}
        shape = plain(values["lr"])
        lr: dict[str, float] = {}
        for role, options in self.recipe.optim.items():
            own = shape * plain(values.get(f"lr_{role}", 1.0))
            planned = cast("Any", options).lr * own * lr_factor(self.events, role, step)
            lr[role] = ramped(self.events, role, step, planned)
        return Knobs(step=step, lr=lr, momentum=plain(values["momentum"]), values=values)

    def value(self, name: str, step: int) -> Value:
        """Give one knob of a step."""
        options: Any = bent_options(self.recipe.knobs[name], name, self.events, step)
        return options.at(step - 1, self.span)

    def most(self, name: str) -> float:
        """Give the largest value that a knob reaches in the whole run."""
        last: Any = bent_options(self.recipe.knobs[name], name, self.events, self.span.steps)
        first: Any = self.recipe.knobs[name]
        return max(last.bounds(self.span)[1], first.bounds(self.span)[1])

    def pre_decay(self) -> int | None:
        """Give the last step before the learning rate's decay, where there is one."""
        options: Any = self.recipe.knobs["lr"]
        told = getattr(options, "decay_start", None)
        update = told(self.span) if told else None
        return update if update else None

    def curve(self, name: str, points: int = 20) -> list[tuple[int, Value]]:
        """Sample a knob at steps spread evenly over the run."""
        last = self.span.steps
        steps = sorted({1 + round(i * (last - 1) / max(1, points - 1)) for i in range(points)})
        return [(step, self.value(name, step)) for step in steps]
