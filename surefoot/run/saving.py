"""Decides when a run is saved and what a checkpoint of it holds."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from surefoot.errors import ShelfError
from surefoot.guard.case import Kept
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.records import Remedy
from surefoot.run.memory import GIB, available_gib
from surefoot.run.progress import Progress
from surefoot.run.rows import part_of
from surefoot.run.stalls import Stalls, cramped
from surefoot.shelf.checkpoint import Checkpoint, on_lineage
from surefoot.shelf.format import STATE, Damage, parse_json, read_limited
from surefoot.shelf.load import load
from surefoot.shelf.pointers import Pointer
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

    def __init__(self, recipe: Recipe, shelf: Shelf, pre_decay: int | None, step: int) -> None:
        self.recipe, self.shelf, self.pre_decay = recipe, shelf, pre_decay
        self.free_gib = available_gib
        self.stalls = Stalls(recipe.save.every)
        self.cramped = False
        self.stall = self.took_s = 0.0
        self.saved_step = step  # what is on the shelf or on its way to it; step 0 need not be

    def due(self, step: int, improved: bool) -> str:
        """Name the reason to save after a step, or give nothing."""
        every = self.recipe.save.every
        if step == self.recipe.train.steps:
            return "final"
        if step == self.pre_decay:
            return "pre_decay"
        if step in self.recipe.save.milestones or (every and step % every == 0):
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
            part=part_of(run.lead.ranks, run.learner),
        )

    def kept(self, run: "Run") -> list[Kept]:
        """Give the checkpoints on the way here, newest first, and whether each was quiet."""
        self.settle(run)  # what is on its way is one of them, whatever the disk's speed
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
        state = {**progress.state(), "monitors": watch.state(), "data": {}}
        return Content(0, 0, learner.parameters, learner.slots(), state, "", b"")

    def rows(self) -> int:
        """Count the rows of a step."""
        return self.recipe.train.batch * self.recipe.train.accumulate

    def save(self, run: "Run", reason: str) -> None:
        """Begin to save; training waits for the save before, and where it does not go on."""
        began = time.monotonic()
        self.settle(run)
        if run.failure or run.progress.step == self.saved_step:
            return
        last = run.stop_requested or run.progress.step == self.recipe.train.steps
        content = self.content(run)
        beside = not last and self.recipe.save.background and self.holds(content, run)
        run.lead.save(run, beside)
        snapshot = self.shelf.begin(content, reason, self.about(content.step, run), copy=beside)
        self.saved_step = content.step
        run.learner.read_until = snapshot.copied
        if not beside:
            self.settle(run, last)
        now = time.monotonic()
        self.stall += now - began
        lost, hidden = (snapshot.took_s, self.took_s) if beside else (now - began, 0.0)
        if slow := self.stalls.add(content.step, now, now - began, lost, hidden):
            run.told(replace(slow, generation=content.generation))

    def holds(self, content: Content, run: "Run") -> bool:
        """Say whether the memory holds a copy of the state; where it does not, a note says so."""
        if self.shelf.buffers.held:
            return True
        needed, free = 1.2 * content.nbytes() / GIB, self.free_gib()
        if free < needed and not self.cramped:
            self.cramped = True
            run.told(replace(cramped(needed, free, content.step), generation=content.generation))
        return free >= needed

    def hear(self, run: "Run") -> None:
        """Hear how the save went that was written beside the training, once it has ended."""
        if self.shelf.writing is not None and self.shelf.settled:
            began = time.monotonic()
            self.settle(run)
            self.stall += time.monotonic() - began

    def settle(self, run: "Run", last: bool = False) -> None:
        """Wait for the save under way; where it failed, the next one may work.

        The shelf writes it down; only the third in a row, or the last of all, fails the run.
        """
        try:
            saved = self.shelf.settle()
        except SaveFailed as error:
            self.saved_step = -1
            if last:
                run.fail(str(error))
            return
        except ShelfError as error:  # the third in a row
            run.fail(str(error))
            return
        if saved is not None:
            self.took_s = saved.took_s

    def about(self, step: int, run: "Run") -> list[Pointer]:
        """Give the pointers that a step's checkpoint is about."""
        best: list[Pointer] = ["best"] if step == run.progress.best_step else []
        return [*best, "pre-decay"] if step == self.pre_decay else best

    def mend_pointers(self, run: "Run") -> None:
        """Point again: a process may have died between a save and its pointers."""
        for checkpoint in reversed(self.shelf.checkpoints()):
            if on_lineage(checkpoint, run.progress.lineage):
                for name in self.about(checkpoint.step, run):
                    self.shelf.point(name, checkpoint)

    def finish(self) -> None:
        """Point `final` at the checkpoint of the last step."""
        newest = self.shelf.checkpoints()[0]
        self.shelf.point("final", newest)

    def newest(self, run: "Run") -> str:
        """Name the checkpoint that a later start goes on from."""
        self.settle(run)
        there = self.shelf.checkpoints()
        return f"The last checkpoint is {there[0].name}" if there else "Nothing was saved yet"

    def stalled(self) -> float:
        """Give the seconds that saves took from the loop since the last time."""
        stall, self.stall = self.stall, 0.0
        return stall
