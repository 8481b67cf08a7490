"""Ways to spoil a run: its batches, its loss, its gradients, its rates, or its model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from surefoot.model.batch import Batch

if TYPE_CHECKING:
    from surefoot.run.run import Run

EVER = 10**9


def due(run: "Run", step: int, steps: int = EVER) -> Callable[[], bool]:
    """Tell, in the generation that is going on, whether the step being done is a spoilt one."""
    born = run.progress.generation

    def now() -> bool:
        return run.progress.generation == born and step <= run.progress.step + 1 < step + steps

    return now


def batches(
    run: "Run", step: int, steps: int, change: Callable[[Batch, int], Batch], by: str = "step"
) -> None:
    """Change the batches of some steps, or those at the data positions that these steps read."""
    sound, born = run.ahead.draw, run.progress.generation
    rows = run.dataset.rows
    first = run.dataset.position(step, run.progress.skips)

    def drawn(number: int) -> Batch:
        batch = sound(number)
        if by == "position":
            bad = first <= batch.position < first + rows * steps
        else:
            bad = step <= number < step + steps and run.progress.generation == born
        return change(batch, number) if bad else batch

    run.ahead.draw = drawn
    run.ahead.clear()


def loss(run: "Run", step: int, steps: int, change: Callable[[Tensor], Tensor]) -> None:
    """Change the loss of some steps."""
    sound, now = run.learner.loss, due(run, step, steps)

    def spoilt(*args: Any) -> Any:
        value, stats = sound(*args)
        return (change(value) if now() else value), stats

    run.learner.loss = spoilt


def gradients(run: "Run", step: int, steps: int, change: Callable[[list[Tensor]], None]) -> None:
    """Change the gradients of some steps, in place, before their norm is taken."""
    sound, now = run.learner.reduce, due(run, step, steps)

    def spoilt(found: Any) -> None:
        if sound is not None:
            sound(found)
        if now():
            change(list(found))

    run.learner.reduce = spoilt


def updates(run: "Run", step: int, role: str, change: Callable[[Any, float, float], float]) -> None:
    """Replace how a role's optimiser moves its weights; it is handed its own way of doing it."""
    now = due(run, step)
    for group in run.learner.groups:
        if group.role != role:
            continue
        sound = group.optimiser.update

        def moved(lr: float, momentum: float, sound: Any = sound) -> float:
            return change(sound, lr, momentum) if now() else sound(lr, momentum)

        group.optimiser.update = moved


def once(run: "Run", step: int, change: Callable[[], None]) -> None:
    """Change the model once, just before a step."""
    sound, now = run.learner.loss, due(run, step, 1)
    done = False

    def spoilt(*args: Any) -> Any:
        nonlocal done
        if now() and not done:
            done = True
            change()
        return sound(*args)

    run.learner.loss = spoilt
