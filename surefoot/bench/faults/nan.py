"""Makes the loss of three steps not a number: their updates are left out."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surefoot.run.run import Run

STEPS = 3


def plant(run: "Run", step: int) -> None:
    """Spoil the loss from a step on, in the generation that the drill was put into."""
    sound, born = run.learner.loss, run.progress.generation

    def spoilt(*args: Any) -> Any:
        loss, stats = sound(*args)
        due = step <= run.progress.step + 1 < step + STEPS
        bad = due and run.progress.generation == born
        return (loss * float("nan") if bad else loss), stats

    run.learner.loss = spoilt
