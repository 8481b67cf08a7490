"""Decides when a run is saved and what a checkpoint of it holds."""

import time
from typing import TYPE_CHECKING

from surefoot.errors import ShelfError
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.shelf.checkpoint import Checkpoint, on_lineage
from surefoot.shelf.save import Content, SaveFailed
from surefoot.shelf.shelf import Shelf

if TYPE_CHECKING:
    from surefoot.run.run import Run


class Saver:
    """Puts a run on the shelf."""

    def __init__(self, recipe: Recipe, shelf: Shelf, pre_decay: int | None) -> None:
        self.recipe, self.shelf, self.pre_decay = recipe, shelf, pre_decay
        self.failed = False
        self.stall = 0.0
        self.saved_step = -1

    def due(self, step: int, improved: bool) -> str:
        """Name the reason to save after a step, or give nothing."""
        every = self.recipe.save.every
        if step == self.recipe.train.steps:
            return "final"
        if step == self.pre_decay:
            return "pre_decay"
        if step in self.recipe.save.milestones or (every and step % every == 0):
            return "regular"
        if self.failed:
            return "regular"
        return "best" if improved else ""

    def content(self, run: "Run") -> Content:
        """Gather all that the training depends on after this step."""
        return Content(
            step=run.progress.step,
            generation=run.progress.generation,
            model=run.learner.parameters,
            optim=run.learner.slots(),
            state={
                **run.progress.state(),
                "seed": self.recipe.train.seed,
                "data": {
                    "fingerprint": run.dataset.fingerprint,
                    "position": run.progress.step * self.rows(),
                },
                "batch": {"rows": self.recipe.train.batch, "micro": self.recipe.train.accumulate},
                "monitors": run.watch.state(),
            },
            recipe=write.text(self.recipe),
            tokenizer=run.dataset.tokenizer.save(),
        )

    def rows(self) -> int:
        """Count the rows of a step."""
        return self.recipe.train.batch * self.recipe.train.accumulate

    def save(self, run: "Run", reason: str) -> None:
        """Save; a failure is written down by the shelf and tried again after the next step."""
        if run.progress.step == self.saved_step:
            return
        begin = time.monotonic()
        try:
            saved = self.shelf.save(self.content(run), reason)
        except SaveFailed as error:
            self.failed = True
            if run.stop_requested or run.progress.step == self.recipe.train.steps:
                run.fail(str(error))
            return
        except ShelfError as error:  # the third in a row
            run.fail(str(error))
            return
        self.failed, self.saved_step = False, run.progress.step
        self.stall = time.monotonic() - begin
        self.point(run, saved.checkpoint)

    def point(self, run: "Run", checkpoint: Checkpoint) -> None:
        """Let the pointers name a checkpoint that they are about."""
        if checkpoint.step == run.progress.best_step:
            self.shelf.point("best", checkpoint)
        if checkpoint.step == self.pre_decay:
            self.shelf.point("pre-decay", checkpoint)

    def mend_pointers(self, run: "Run") -> None:
        """Point again: a process may have died between a save and its pointers."""
        for checkpoint in reversed(self.shelf.checkpoints()):
            if on_lineage(checkpoint, run.progress.lineage):
                self.point(run, checkpoint)

    def finish(self) -> None:
        """Point `final` at the checkpoint of the last step."""
        newest = self.shelf.checkpoints()[0]
        self.shelf.point("final", newest)

    def stalled(self) -> float:
        """Give the seconds that the last save took from the loop, once."""
        stall, self.stall = self.stall, 0.0
        return stall
