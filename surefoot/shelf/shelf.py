"""The checkpoint store of one run: save, load, point, rotate; the way of its owner to it."""

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
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
from surefoot.shelf.snapshot import Buffers, Snapshot, taken

FAILURES = 3  # in a row: then the run ends while its last good checkpoint is still near


@dataclass(frozen=True, slots=True)
class Writing:
    """A save under way: of which step, and where its thread will say how it went."""

    step: int
    generation: int
    pool: ThreadPoolExecutor
    future: Future[Saved]


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
        self.buffers = Buffers()
        self.writing: Writing | None = None

    def save(self, content: Content, reason: str, pins: Collection[Checkpoint] = ()) -> Saved:
        """Save a state that nobody changes meanwhile, and return when it is durable."""
        self.begin(content, reason, pins=pins, copy=False)
        saved = self.settle()
        assert saved is not None, "a save was begun"
        return saved

    def begin(
        self,
        content: Content,
        reason: str,
        pointers: Collection[Pointer] = (),
        pins: Collection[Checkpoint] = (),
        copy: bool = True,
    ) -> Snapshot:
        """Start to write a state beside the training; `settle` hears how it went.

        What a checkpoint holds is settled here, all of it at one place of the loop.
        """
        assert self.writing is None, "one save at a time: settle the one before"
        place = self.journal.offset() if self.journal is not None else None
        how = {**self.facts, "reason": reason} | ({"journal": place.row()} if place else {})
        snapshot = taken(content, self.buffers if copy else None)
        self.lineage = content.state.get("lineage", self.lineage)
        names: list[Pointer] = ["latest", *pointers]
        pool = ThreadPoolExecutor(1, thread_name_prefix="save")
        future = pool.submit(self.write, snapshot, how, names, pins)
        self.writing = Writing(content.step, content.generation, pool, future)
        return snapshot

    def write(
        self,
        snapshot: Snapshot,
        how: Mapping[str, Any],
        names: Collection[Pointer],
        pins: Collection[Checkpoint],
    ) -> Saved:
        """Write, read back, point, and only then let old ones go; in a thread of its own."""
        began = time.monotonic()
        saved = save(self.run, snapshot, self.disk, how, self.journal, self.fence)
        self.verified.add(saved.checkpoint)
        notes = [note for name in names for note in self.point(name, saved.checkpoint)]
        notes += self.rotate(pins)
        took = time.monotonic() - began
        return replace(saved, notes=(*saved.notes, *notes), took_s=took)

    @property
    def settled(self) -> bool:
        """Say whether `settle` would return at once."""
        return self.writing is None or self.writing.future.done()

    def settle(self) -> Saved | None:
        """Wait for the save that is written, and write down how it went; it raises what that did.

        The journal's listeners are the loop's: so it is the loop that tells them, not the thread.
        """
        if self.writing is None:
            return None
        one, self.writing = self.writing, None
        try:
            saved = one.future.result()
        except SaveFailed as failed:
            self.failed(one, failed)
            raise
        finally:
            one.pool.shutdown()
        self.failures = 0
        self.told(one, saved)
        return saved

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

    def failed(self, one: Writing, failed: SaveFailed) -> None:
        """Write a failed save down; the third in a row ends the run."""
        self.failures += 1
        self.tell("save_failed", one, failed.row())
        if self.failures < FAILURES:
            return
        good = max(self.verified, default=None)
        raise ShelfError(
            Problem(
                f"save of step {one.step}",
                "",
                f"{FAILURES} saves failed; the last good one is {good.name if good else 'none'}",
                "Make room on that disk, then go on with --resume",
            ),
            exit=1,
        ) from failed

    def told(self, one: Writing, saved: Saved) -> None:
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
                    step=one.step,
                    generation=one.generation,
                    source="shelf",
                )
            )
        self.tell("already_saved" if saved.already else "saved", one, saved.row())

    def tell(self, event: str, of: Content | Writing, args: Mapping[str, Any]) -> None:
        """Write an event down, where there is a journal."""
        if self.journal is not None:
            step, generation = of.step, of.generation
            self.journal.write(Event(name=event, step=step, generation=generation, args=args))

    def tried(self, act: Callable[[], None]) -> list[str]:
        """Do what may fail without harm; a failure is a note."""
        try:
            act()
        except OSError as error:
            return [str(error)]
        return []
