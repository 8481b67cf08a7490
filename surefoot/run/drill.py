"""Puts a fault into a run on purpose, so that a person sees the guard find and answer it."""

from typing import TYPE_CHECKING

from surefoot import kinds
from surefoot.errors import Problem, UsageError
from surefoot.plan.plan import Plan
from surefoot.records import Event

if TYPE_CHECKING:
    from surefoot.run.run import Run


def read(drill: str, ranks: int = 1) -> tuple[str, int]:
    """Read KIND@STEP; what is planted in a learner or its data needs a run of one rank."""
    kind, _, number = drill.partition("@")
    if kind not in kinds.names("faults") or not number.isdigit() or int(number) < 1:
        raise UsageError(
            Problem(
                what="--drill",
                value=drill,
                why=f"it is KIND@STEP, with KIND one of {', '.join(kinds.names('faults'))}",
                instead="Write --drill lr_x30@200",
            )
        )
    if ranks > 1 and hasattr(kinds.find("faults", kind), "plant"):
        raise UsageError(
            Problem(
                what="--drill",
                value=drill,
                why=f"it would be planted in one of {ranks} ranks, and their models would part",
                instead="Write --procs 1, or --drill lr_x30@200, which all ranks follow",
            )
        )
    return kind, int(number)


def put(run: "Run", drill: str) -> None:
    """Plant the fault; the journal says that it was put there."""
    kind, step = read(drill)
    module = kinds.find("faults", kind)
    bend = module.bend(step) if hasattr(module, "bend") else {}
    if hasattr(module, "plant"):
        module.plant(run, step)
    args = {"kind": kind, **bend}
    run.told(Event(name="drill", step=step, generation=run.progress.generation, args=args))
    run.plan = Plan(run.recipe, run.events)
