"""Saves the rows that a rank which is not the first has of sharded weights."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from surefoot.learn.learner import Learner
from surefoot.learn.ranks import Ranks
from surefoot.shelf import parts
from surefoot.shelf.disk import Disk
from surefoot.shelf.parts import Part
from surefoot.shelf.save import Content
from surefoot.shelf.snapshot import Buffers, taken


def part_of(ranks: Ranks, learner: Learner) -> Part | None:
    """Say what this rank writes of a checkpoint; None where one rank writes all of it."""
    if learner.shards is None:
        return None
    slices = learner.shards.slices(learner.parameters | learner.slots())
    return Part(ranks.rank, ranks.world, slices, lambda told: ranks.gather(told, "saves"))


class Rows:
    """Writes this rank's rows whenever the first rank saves, in a thread of its own."""

    def __init__(self, ranks: Ranks, learner: Learner, folder: Path) -> None:
        self.ranks, self.learner, self.folder = ranks, learner, folder
        self.disk, self.buffers = Disk(), Buffers()
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="save")
        self.writing: Future[None] | None = None

    def save(self, step: int, generation: int, copy: bool) -> None:
        """Hold the state after a step still, and write it when the first rank says where to."""
        self.settle()
        learner, part = self.learner, part_of(self.ranks, self.learner)
        content = Content(
            step, generation, learner.parameters, learner.slots(), {}, "", b"", part=part
        )
        snapshot = taken(content, self.buffers if copy else None)
        learner.read_until = snapshot.copied
        self.writing = self.pool.submit(parts.follow, self.folder, snapshot, self.disk)
        if not copy:
            self.settle()

    def settle(self) -> None:
        """Wait for the save under way; how it went is for the first rank to tell."""
        if self.writing is not None:
            writing, self.writing = self.writing, None
            writing.result()

    def close(self) -> None:
        """Let go of the thread; a save that another rank's end cut short is told by that end."""
        self.pool.shutdown(cancel_futures=True)
