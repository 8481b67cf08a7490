"""How events bend a plan: each is a function of the step, so that a resumed run bends the same."""

from collections.abc import Sequence

from surefoot.recipe.choice import Choice
from surefoot.records import Event, Remedy

Bend = Event | Remedy

# Names of events and remedies that change what later steps do; a checkpoint keeps them all.
BENDING = frozenset({"lr_scale", "lr_ramp", "knob", "rewind", "skip", "user", "drill", "oom_split"})
RAMP = 20  # steps over which a changed rate is reached


def starts(bend: Bend) -> int:
    """Give the first step at which an event holds."""
    return bend.at_step if isinstance(bend, Remedy) else bend.step


def micro_rows(bends: Sequence[Bend], step: int, rows: int) -> int:
    """Give the rows of one forward pass: fewer from where memory ran out with more."""
    splits = [bend for bend in bends if bend.name == "oom_split" and starts(bend) <= step]
    return min([rows, *(int(bend.args["rows"]) for bend in splits)])


def lr_factor(bends: Sequence[Bend], role: str, step: int) -> float:
    """Multiply the scales of one role's learning rate that hold at a step."""
    factor = 1.0
    for bend in bends:
        if "factor" not in bend.args or bend.args.get("role", role) != role:
            continue
        since = step - starts(bend) + 1
        until = bend.args.get("until")
        if since < 1 or (until is not None and step > until):
            continue
        ramp = max(1, int(bend.args.get("ramp", RAMP)))
        # geometric, so that no single step changes the rate by more than the whole's root
        factor *= float(bend.args["factor"]) ** min(1.0, since / ramp)
    return factor


def ramped(bends: Sequence[Bend], role: str, step: int, target: float) -> float:
    """Lead a rate from where a resumed run left it to the plan's, over so many steps."""
    for bend in bends:
        last = bend.args.get("lr_last", {}).get(role, 0.0)
        since, steps = step - starts(bend) + 1, int(bend.args.get("ramp_steps", 0))
        if last > 0 and target > 0 and 1 <= since < steps:
            target = last * (target / last) ** (since / steps)
    return target


def bent_options(options: Choice, knob: str, bends: Sequence[Bend], step: int) -> Choice:
    """Replace what `knob` remedies say of a knob's schedule, in the journal's order."""
    for bend in bends:
        if bend.name == "knob" and bend.args.get("knob") == knob and starts(bend) <= step:
            changed = {**options.model_dump(), **bend.args["set"]}
            options = type(options).model_validate(changed)
    return options
