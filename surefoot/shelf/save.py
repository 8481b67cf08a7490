"""Saving a checkpoint: all of it durable before its name, its name before its deletions."""

import errno
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from surefoot.errors import Problem, SurefootError
from surefoot.shelf import parts, tensors
from surefoot.shelf.checkpoint import Checkpoint, manifest, verify
from surefoot.shelf.disk import TMP, Disk
from surefoot.shelf.format import (
    COMMIT,
    MANIFEST,
    Damage,
    Manifest,
    commit_line,
    digest,
)
from surefoot.shelf.journal import Journal, Offset
from surefoot.shelf.parts import Part
from surefoot.shelf.rotation import discard
from surefoot.shelf.snapshot import Snapshot

RESERVE = 16 << 20  # so that journal, status and a message can still be written
GIB = 1 << 30


@dataclass(frozen=True)
class Content:
    """What a checkpoint holds: the state after one update and before the next, all parts of it."""

    step: int
    generation: int
    model: Mapping[str, Tensor]
    optim: Mapping[str, Tensor]
    state: Mapping[str, Any]
    recipe: str
    tokenizer: bytes
    journal: Offset | None = None  # the place that belongs to it; None: the end, when it is saved
    how: Mapping[str, Any] = field(default_factory=dict)  # of a loaded one: how it was made
    part: Part | None = None  # of the tensors, where several ranks save their own rows

    def nbytes(self) -> int:
        """Count the bytes of the tensors, each tied one once."""
        return tensors.nbytes(self.model) + tensors.nbytes(self.optim)


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that is durable and was read back."""

    checkpoint: Checkpoint
    bytes: int
    write_s: float = 0.0
    verify_s: float = 0.0
    already: bool = False  # it was there, whole, before
    bad: str = ""  # what was wrong with a first attempt that was read back and not right
    snapshot_s: float = 0.0
    took_s: float = 0.0  # from the first look at the disk to the last deletion
    notes: tuple[str, ...] = ()  # what went wrong without harm

    def row(self) -> dict[str, Any]:
        """Give what the journal tells of it."""
        times = {"snapshot_s": self.snapshot_s, "write_s": self.write_s, "verify_s": self.verify_s}
        return {"bytes": self.bytes, **{key: round(value, 4) for key, value in times.items()}}


class SaveFailed(SurefootError):
    """A save that came to nothing; the training goes on, and the next save may work."""

    exit = 1

    def __init__(self, step: str, error: OSError | Damage, needed: int, free: int) -> None:
        self.needed, self.free = needed, free
        self.errno = error.errno if isinstance(error, OSError) else None
        why = getattr(error, "strerror", None) or str(error)
        room = f"needs {needed / GIB:.1f} GiB, {free / GIB:.1f} free; training goes on"
        super().__init__(
            Problem(
                f"save of {step}",
                "",
                f"save failed: {why}; {room}",
                "Make room on that disk, or write save.keep=1",
            )
        )

    def row(self) -> dict[str, Any]:
        """Give what the journal tells of it."""
        needed, free = round(self.needed / GIB, 3), round(self.free / GIB, 3)
        return {"errno": self.errno, "needed_gib": needed, "free_gib": free}


def save(
    run: Path,
    snapshot: Snapshot,
    disk: Disk,
    how: Mapping[str, Any],
    journal: Journal | None = None,
    fence: Callable[[], None] | None = None,
) -> Saved:
    """Write a checkpoint, and return when it is durable and read back; SaveFailed if that fails."""
    checkpoint = Checkpoint(snapshot.generation, snapshot.step, run)
    needed = snapshot.nbytes() * 11 // 10 + RESERVE
    free = 0
    try:
        free = disk.free_bytes(run)
        if free < needed:
            raise OSError(errno.ENOSPC, "No space left on device")
        if fence is not None:
            fence()
        if journal is not None:
            journal.sync()  # the checkpoint must not remember more than the journal holds
        snapshot.wait()
        saved = written(checkpoint, snapshot, disk, how, journal)
        if saved.bad:  # renamed by now; the disk gets one more chance
            again = written(checkpoint, snapshot, disk, how, journal)
            if again.bad:
                raise OSError(errno.EIO, f"what is read back is not what was written: {again.bad}")
            saved = replace(again, bad=saved.bad)
    except (OSError, Damage) as error:
        raise SaveFailed(checkpoint.name, error, needed, free) from None
    finally:
        parts.done(snapshot)
    return saved


def written(
    checkpoint: Checkpoint,
    snapshot: Snapshot,
    disk: Disk,
    how: Mapping[str, Any],
    journal: Journal | None,
) -> Saved:
    """Write, commit and read back once; one that does not read back is renamed, and said bad."""
    tmp = checkpoint.run / f"{TMP}{checkpoint.name}-{secrets.token_hex(4)}"
    started = time.monotonic()
    try:
        told = write(tmp, snapshot, disk, how)
        already, notes = put(tmp, checkpoint, told, disk, journal)
    except (OSError, Damage):
        disk.remove(tmp)
        raise
    named = time.monotonic()
    damage = [] if already else verify(checkpoint)
    if damage:
        set_aside(checkpoint, disk)
    return Saved(
        checkpoint,
        bytes=sum(size for size, _ in told.files.values()),
        snapshot_s=snapshot.took_s,
        write_s=named - started,
        verify_s=time.monotonic() - named,
        already=already,
        bad=str(damage[0]) if damage else "",
        notes=notes,
    )


def write(tmp: Path, snapshot: Snapshot, disk: Disk, how: Mapping[str, Any]) -> Manifest:
    """Write all files into a folder that nobody reads yet, COMMIT last, each durable."""
    disk.mkdir(tmp)
    files = parts.write(tmp, snapshot, disk)
    for file, text in snapshot.texts.items():
        disk.write_file(tmp / file, text)
    files |= {file: digest(tmp / file) for file in snapshot.texts}
    told = Manifest(snapshot.step, snapshot.generation, files, how)
    disk.write_file(tmp / MANIFEST, told.to_bytes())
    disk.write_file(tmp / COMMIT, commit_line(told.to_bytes()))
    disk.fsync_folder(tmp)
    return told


def put(
    tmp: Path, checkpoint: Checkpoint, told: Manifest, disk: Disk, journal: Journal | None
) -> tuple[bool, tuple[str, ...]]:
    """Give the folder its name, and make the name durable: from here on the checkpoint is there."""
    notes: tuple[str, ...] = ()
    already = False
    if checkpoint.path.is_symlink() or checkpoint.path.exists():
        damage = verify(checkpoint)
        already = not damage and same(checkpoint, told, journal)
        if already:
            disk.remove(tmp)
        elif damage:
            kept = set_aside(checkpoint, disk)
            notes = (f"{checkpoint.name} was damaged ({damage[0]}) and is kept as {kept}",)
        else:
            discard(checkpoint.run, checkpoint.name, disk)
            notes = (f"{checkpoint.name} was of an earlier course of this run and is replaced",)
    if not already:
        disk.rename(tmp, checkpoint.path)
    disk.fsync_folder(checkpoint.run)
    return already, notes


def same(checkpoint: Checkpoint, told: Manifest, journal: Journal | None) -> bool:
    """Say whether a checkpoint that is there already is as good: equal bytes, of this journal."""
    there = manifest(checkpoint)
    if there.files != told.files:
        return False
    offset = Offset.read(there.how.get("journal"))
    return journal is None or offset is None or journal.holds(offset)


def set_aside(checkpoint: Checkpoint, disk: Disk) -> str:
    """Rename a damaged checkpoint so that it is kept, and never loaded or rotated."""
    number = 1
    while (kept := checkpoint.run / f"corrupt-{checkpoint.name}-{number}").exists():
        number += 1
    disk.rename(checkpoint.path, kept)
    disk.fsync_folder(checkpoint.run)
    return kept.name
