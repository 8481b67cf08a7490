"""Turns a run into what the playbook sees of it, and its plan into events worth a line."""

from typing import TYPE_CHECKING

from surefoot.guard.case import Case
from surefoot.guard.remedies.skip import AFTER, BEFORE
from surefoot.plan.bends import bent_options
from surefoot.plan.plan import Plan
from surefoot.records import Event, Finding, Step

if TYPE_CHECKING:
    from surefoot.run.run import Run


def case_of(run: "Run", finding: Finding) -> Case:
    """Gather what an answer to a finding depends on."""
    progress, recipe = run.progress, run.recipe
    step = progress.step
    since = finding.since if finding.since is not None else step
    skips = progress.skips
    first = run.dataset.position(max(1, since - BEFORE), skips)
    stop = run.dataset.position(step + AFTER + 1, skips)
    return Case(
        recipe=recipe,
        step=step,
        generation=progress.generation,
        mode=recipe.guard.mode,
        lr=run.plan.at(step).lr,
        knobs={
            name: bent_options(options, name, run.events, step)
            for name, options in recipe.knobs.items()
        },
        remedies=tuple(progress.remedies),
        acts=tuple(progress.acts),
        kept=tuple(run.saver.kept(run)),
        rows=recipe.train.batch * recipe.train.accumulate,
        first_position=first,
        stop_position=stop,
    )


def planned_events(before: Step | None, now: Step, plan: Plan) -> list[Event]:
    """Name what the plan changed at this step: a knob of the model, or the decay's beginning."""
    found: list[Event] = []
    for name, value in now.knobs.items():
        old = before.knobs.get(name) if before is not None else value
        if name in ("lr", "momentum") or name.startswith("lr_") or old == value:
            continue
        told = {"from": largest(old), "to": largest(value)}
        if told["from"] != told["to"]:
            found.append(event(f"{name}_raised", now, told))
    if before is not None and before.step == plan.pre_decay():
        found.append(event("decay_start", now, {"lr": dict(now.lr)}))
    return found


def event(name: str, step: Step, args: dict[str, object]) -> Event:
    """Make one planned event."""
    return Event(name=name, step=step.step, generation=step.generation, args=args, planned=True)


def largest(value: object) -> object:
    """Tell a knob that differs by layer by its largest value."""
    return max(value) if isinstance(value, list | tuple) else value
