"""The checkpoint store of one run: save, load, point, rotate; the way of its owner to it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from surefoot.errors import Problem, ShelfError
from surefoot.records import Event, Finding
from surefoot.shelf import load, pointers, rotation
from surefoot.shelf.checkpoint import Checkpoint, Lineage, candidates, on_lineage, verify
from surefoot.shelf.disk import TMP, Disk
from surefoot.shelf.format import Damage
from surefoot.shelf.journal import Journal
from surefoot.shelf.pointers import POINTERS, Pointer
from surefoot.shelf.save import Content, Saved, SaveFailed, save

FAILURES = 3  # in a row: then the run ends while its last good checkpoint is still near


class Shelf:
    """Keeps a run's checkpoints: whole or not at all, found by number, rotated by one rule."""

    def __init__(
        self,
        run: Path,
        keep: int | Literal["all"] = 3,
        milestones: Collection[int] = (),
        disk: Disk | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.run, self.milestones = run, frozenset(milestones)
        self.keep: int | Literal["all"] = keep
        self.disk = disk or Disk()
        self.facts = dict(facts or {})  # for manifest.how: program, run_id, env
        self.journal: Journal | None = None  # opened after the load, which says where to cut
        self.fence: Callable[[], None] | None = None  # the lock's check, where there is a lock
        self.lineage: Lineage = ()
        self.skipped: list[load.Skipped] = []  # what the last load could not use
        self.verified: set[Checkpoint] = set()  # read back and hashed by this process
        self.failures = 0  # saves that failed, in a row

    def snapshot(self, content: Content) -> Content:
        """Copy a state, with its place in the journal, so that training can go on meanwhile."""
        place = self.journal.offset() if self.journal is not None else None
        return replace(content.snapshot(), journal=place)

    def save(self, content: Content, reason: str, pins: Collection[Checkpoint] = ()) -> Saved:
        """Save, point `latest` at it, write it down, and only then let old ones go."""
        place = content.journal or (self.journal.offset() if self.journal is not None else None)
        how = {**self.facts, "reason": reason} | ({"journal": place.row()} if place else {})
        self.lineage = content.state.get("lineage", self.lineage)
        try:
            saved = save(self.run, content, self.disk, how, self.journal, self.fence)
        except SaveFailed as failed:
            self.failed(content, failed)
            raise
        self.failures = 0
        self.verified.add(saved.checkpoint)
        notes = [*saved.notes, *self.point("latest", saved.checkpoint)]
        self.told(content, saved)
        notes += self.rotate(pins)
        return replace(saved, notes=tuple(notes))

    def load(self, which: Pointer | int = "latest") -> Content:
        """Load a checkpoint: the newest whole one, or exactly the one that is asked for."""
        self.skipped = []
        if which == "latest":
            content, self.skipped = load.newest(self.run, self.lineage or None, self.disk)
        else:
            content = load.load(load.find(self.run, which))
        self.lineage = content.state.get("lineage", ())
        self.verified.add(Checkpoint(content.generation, content.step, self.run))
        return content

    def checkpoints(self) -> list[Checkpoint]:
        """Give all checkpoints, newest first."""
        return candidates(self.run)

    def verify_all(self) -> dict[Checkpoint, list[Damage]]:
        """Hash every checkpoint, and give what is wrong with each."""
        return {one: verify(one) for one in self.checkpoints()}

    def point(self, pointer: Pointer, checkpoint: Checkpoint) -> list[str]:
        """Let a pointer name a checkpoint; it is a hint, so a failure is a note."""
        return self.tried(lambda: pointers.point(self.run, pointer, checkpoint, self.disk))

    def sweep(self, pins: Collection[Checkpoint] = ()) -> list[str]:
        """Clear what a killed process left half done; once, under the lock, after the load."""
        notes: list[str] = []
        for pattern in (f"{TMP}*", f"{rotation.TRASH}*"):
            for left in sorted(self.run.glob(pattern)):
                notes += self.tried(lambda left=left: self.disk.remove_tree(left))
        newest = next((o for o in self.checkpoints() if on_lineage(o, self.lineage)), None)
        if newest in self.verified:  # killed between the commit and the pointer
            notes += self.point("latest", newest)
        return notes + self.rotate(pins)

    def rotate(self, pins: Collection[Checkpoint] = ()) -> list[str]:
        """Delete the old checkpoints that nothing holds; a failure is a note, tried again later."""
        there = self.checkpoints()
        pinned = {(one.generation, one.step) for one in (*pins, *self.pointed())}
        pinned |= {(o.generation, o.step) for o in there if o.step in self.milestones}
        told = [
            (o.generation, o.step, on_lineage(o, self.lineage), o in self.verified) for o in there
        ]
        notes: list[str] = []
        for key in rotation.victims(told, self.keep, pinned):
            name = Checkpoint(*key, self.run).name
            notes += self.tried(lambda name=name: rotation.discard(self.run, name, self.disk))
        return notes

    def pointed(self) -> list[Checkpoint]:
        """Give the checkpoints that pointers name."""
        found = [pointers.target(self.run, pointer) for pointer in POINTERS]
        return [one for one in found if one is not None]

    def fallen_back(self, content: Content) -> str:
        """Write down that damaged checkpoints were passed over, and say it; "" if none were."""
        damaged = [one for one in self.skipped if not one.damage.uncommitted]
        if not damaged:
            return ""
        first = damaged[0]
        args = {
            "from": first.checkpoint.name,
            "to": Checkpoint(content.generation, content.step, self.run).name,
            "file": first.damage.file,
            "reason": first.damage.reason,
            "steps_again": first.checkpoint.step - content.step,
        }
        self.tell("fallback", content, args)
        return load.fallback(damaged, content)

    def failed(self, content: Content, failed: SaveFailed) -> None:
        """Write a failed save down; the third in a row ends the run."""
        self.failures += 1
        self.tell("save_failed", content, failed.row())
        if self.failures < FAILURES:
            return
        good = max(self.verified, default=None)
        raise ShelfError(
            Problem(
                f"save of step {content.step}",
                "",
                f"{FAILURES} saves failed; the last good one is {good.name if good else 'none'}",
                "Make room on that disk, then go on with --resume",
            ),
            exit=1,
        ) from failed

    def told(self, content: Content, saved: Saved) -> None:
        """Write a save down, and warn of a disk that gave back other bytes than it was given."""
        if saved.bad and self.journal is not None:
            self.journal.write(
                Finding(
                    id="save_bad",
                    severity="warn",
                    what=saved.checkpoint.name,
                    value=saved.bad,
                    why="what was read back is not what was written; it was saved again",
                    instead="Write --run with a folder on another disk",
                    step=content.step,
                    generation=content.generation,
                    source="shelf",
                )
            )
        self.tell("already_saved" if saved.already else "saved", content, saved.row())

    def tell(self, event: str, content: Content, args: Mapping[str, Any]) -> None:
        """Write an event down, where there is a journal."""
        if self.journal is not None:
            step, generation = content.step, content.generation
            self.journal.write(Event(name=event, step=step, generation=generation, args=args))

    def tried(self, act: Callable[[], None]) -> list[str]:
        """Do what may fail without harm; a failure is a note."""
        try:
            act()
        except OSError as error:
            return [str(error)]
        return []
