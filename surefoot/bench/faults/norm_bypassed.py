"""Takes the head's norm out from a step on: its input is no longer of one size."""

from typing import TYPE_CHECKING, Any

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("loss_gap", "logit_saturation"), within=32, sudden=True, curable=True)


def plant(run: "Run", step: int) -> None:
    """Give what goes into the norm instead of what comes out."""
    head: Any = run.learner.model.head
    now = spoil.due(run, step)

    def through(module: Any, given: Any, out: Any) -> Any:  # noqa: ARG001 (a hook's arguments)
        return given[0] if now() else out

    head.norm.register_forward_hook(through)
