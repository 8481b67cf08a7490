"""Decides when a run is saved and what a checkpoint of it holds."""

import time
from typing import TYPE_CHECKING, Any

from surefoot.errors import ShelfError
from surefoot.guard.case import Kept
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.records import Remedy
from surefoot.run.progress import Progress
from surefoot.shelf.checkpoint import Checkpoint, on_lineage
from surefoot.shelf.format import STATE, Damage, parse_json, read_limited
from surefoot.shelf.load import load
from surefoot.shelf.save import Content, SaveFailed
from surefoot.shelf.shelf import Shelf

if TYPE_CHECKING:
    from surefoot.run.run import Run


QUIET = 200  # steps after an act finding until a checkpoint is trusted again
GAP = 6.0  # of loss_gap's sum: half of what warns


def state_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Read a checkpoint's state.json; {} where it can't be read."""
    try:
        return dict(parse_json(STATE, read_limited(checkpoint.path / STATE)))
    except (Damage, OSError):
        return {}


def quiet(run: "Run") -> bool:
    """Say whether the guard had nothing against this step: a rewind may trust it."""
    lately = run.progress.step - QUIET
    open_act = any(
        act.step > lately and act.generation == run.progress.generation for act in run.progress.acts
    )
    gap = run.watch.state().get("loss_gap", {})
    return not open_act and float(gap.get("sum", 0.0)) <= GAP


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
                "quiet": quiet(run),
                "audit": run.audit,
            },
            recipe=write.text(self.recipe),
            tokenizer=run.dataset.tokenizer.save(),
        )

    def kept(self, run: "Run") -> list[Kept]:
        """Give the checkpoints on the way here, newest first, and whether each was quiet."""
        return [
            Kept(one.generation, one.step, quiet=bool(state_of(one).get("quiet")))
            for one in self.shelf.checkpoints()
            if on_lineage(one, run.progress.lineage)
        ]

    def content_of(self, rewind: Remedy, run: "Run") -> Content:
        """Load the checkpoint that a rewind goes back to; step 0 is the first values."""
        step, generation = int(rewind.args["to_step"]), int(rewind.args["from_generation"])
        if step:
            return load(Checkpoint(generation, step, self.shelf.run))
        return self.first(run)

    def first(self, run: "Run") -> Content:
        """Make the state before the first step again: it is a function of the seed."""
        from surefoot.run.opening import fresh

        learner, watch = fresh(run)
        progress = Progress()
        state = {**progress.state(), "monitors": watch.state()}
        return Content(0, 0, learner.parameters, learner.slots(), state, "", b"")

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
