"""The append-only record of a run: one line a record, cut back where a resume begins."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from surefoot import records
from surefoot.errors import Problem, RunError
from surefoot.records import AMBIENT, Event, Finding, Record, Remedy
from surefoot.shelf.disk import Disk

R = TypeVar("R", bound=Record)
LINE_LIMIT = 64 << 10
WAITING_LIMIT = 64 << 20
WAITING_S = 600.0
FSYNC_S = 5.0
# decisions of a person or of the device: a replay can't make them again, so they are kept
OUTSIDE = frozenset({"user", "oom_split"})
CUT = "journal.cut.jsonl"
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Offset:
    """A place in the journal: how much stands before it, and the hash of that."""

    bytes: int
    lines: int
    sha256: str

    def row(self) -> dict[str, Any]:
        """Give it as a manifest holds it."""
        return asdict(self)

    @classmethod
    def read(cls, raw: Any) -> "Offset | None":
        """Read it out of a manifest; None if it is not one."""
        if not isinstance(raw, dict):
            return None
        size, lines, sha = raw.get("bytes"), raw.get("lines"), raw.get("sha256")
        if type(size) is int and type(lines) is int and isinstance(sha, str) and size >= 0:
            return cls(size, lines, sha)
        return None


@dataclass(frozen=True, slots=True)
class Cut:
    """What a cut did: lines taken out, lines kept again, and whether the rest was as remembered."""

    lines: int = 0
    again: int = 0
    torn: bool = False
    damaged: str = ""  # why the finding `journal_damaged` is due


class Journal:
    """Writes each record as one line, and hands it to all who listen."""

    def __init__(
        self,
        path: Path,
        disk: Disk,
        trouble: Callable[[OSError], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path, self.disk, self.trouble = path, disk, trouble
        self.clock, self.now = clock, now
        self.listeners: list[Callable[[Record], None]] = []
        self.waiting = bytearray()  # what a full disk would not take yet
        self.failing_since: float | None = None
        self.writing = threading.RLock()  # a save's thread makes it durable
        cut(path, None, disk)
        self.bytes, self.lines, self.sha = counted(path)
        self.opened = opened(path, disk)
        self.synced_at = clock()

    def subscribe(self, listener: Callable[[Record], None]) -> None:
        """Have each record from now on handed to a listener, after it was written."""
        self.listeners.append(listener)

    def write(self, record: R) -> R:
        """Append a record, stamped with the time; what holds from now on is durable on return."""
        stamped = record if record.t is not None else replace(record, t=round(self.now(), 3))
        line = records.line(stamped).encode()
        assert len(line) <= LINE_LIMIT, f"a record of {len(line)} bytes: {line[:80]!r}"
        with self.writing:
            self.waiting += line
            self.sha.update(line)
            self.bytes, self.lines = self.bytes + len(line), self.lines + 1
            due = isinstance(record, Remedy | Event) or self.clock() - self.synced_at >= FSYNC_S
            self.try_to(self.sync if due else self.flush)
        for listener in self.listeners:
            listener(stamped)
        return stamped

    def try_to(self, act: Callable[[], None]) -> None:
        """Go on without the disk for a while; only a long failure ends the run."""
        try:
            act()
        except OSError as error:
            if self.failing_since is None:
                self.failing_since = self.clock()
                if self.trouble is not None:
                    self.trouble(error)
            waited = self.clock() - self.failing_since
            if len(self.waiting) > WAITING_LIMIT or waited > WAITING_S:
                raise unwritable(self.path, error) from None
        else:
            self.failing_since = None

    def flush(self) -> None:
        """Hand all that waits to the system."""
        with self.writing:
            while self.waiting:
                del self.waiting[: self.disk.append(self.opened, self.waiting)]

    def sync(self) -> None:
        """Return when every record written so far would survive a power cut, or raise OSError."""
        self.flush()
        self.disk.fsync(self.opened)  # not under the lock: the loop need not wait for a save's
        self.synced_at = self.clock()

    def offset(self) -> Offset:
        """Give the place after the last record."""
        with self.writing:
            return Offset(self.bytes, self.lines, self.sha.hexdigest())

    def holds(self, offset: Offset) -> bool:
        """Say whether this journal begins with what an offset was taken of."""
        with self.writing:
            self.flush()
            return prefix_sha(self.path, offset.bytes) == offset.sha256

    def close(self) -> None:
        """Make everything durable and let go of the file."""
        with self.writing:
            try:
                self.try_to(self.sync)
            finally:
                self.disk.close(self.opened)


def opened(path: Path, disk: Disk) -> Any:
    """Open a journal to append to, or say why that can't be."""
    new = not path.exists()
    try:
        file = disk.open_append(path)
        if new:  # a checkpoint's name must not outlive that of the lines that it remembers
            disk.fsync_folder(path.parent)
        return file
    except OSError as error:
        raise unwritable(path, error, code=2) from None


def unwritable(path: Path, error: OSError, code: int = 1) -> RunError:
    """Say that the journal can't be written."""
    return RunError(
        Problem(
            path.name,
            "",
            f"it can't be written ({error.strerror or error})",
            "Make room or the folder writable, then go on with --resume",
        ),
        exit=code,
    )


def waiting(step: int, generation: int, error: OSError) -> Finding:
    """Say that lines are kept in memory because no disk takes them."""
    return Finding(
        id="disk",
        severity="warn",
        what="journal.jsonl",
        value="",
        why=f"it can't be written ({error.strerror or error}); its lines are kept in memory, "
        f"{WAITING_LIMIT >> 20} MiB or {WAITING_S / 60:.0f} minutes of them, then the run stops",
        instead="Make room on that disk, or the folder writable: nothing is lost so far",
        step=step,
        generation=generation,
        source="shelf",
    )


def counted(path: Path) -> tuple[int, int, Any]:
    """Count a journal's bytes and lines, and start its running hash."""
    size, lines, sha = 0, 0, hashlib.sha256()
    if path.exists():
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                sha.update(piece)
                size, lines = size + len(piece), lines + piece.count(b"\n")
    return size, lines, sha


def prefix_sha(path: Path, size: int) -> str:
    """Hash the first bytes of a file; "" if there are not so many."""
    sha, left = hashlib.sha256(), size
    with path.open("rb") as file:
        while left and (piece := file.read(min(left, PIECE))):
            sha.update(piece)
            left -= len(piece)
    return "" if left else sha.hexdigest()


def cut(path: Path, offset: Offset | None, disk: Disk) -> Cut:
    """Take back what was written after a checkpoint: its steps are about to be trained again.

    A last line without its newline was never finished and goes. Of the rest, what tells of this
    process or of a person's decision is written again; all of it is kept in journal.cut.jsonl.
    With no offset only the unfinished line goes.
    """
    if not path.exists():
        lost = "the journal is missing" if offset and offset.bytes else ""
        return Cut(damaged=lost)
    if offset is None and whole(path):
        return Cut()
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    size, damaged = place(data[:end], offset)
    gone = data[size:end].splitlines(keepends=True)
    again = [line for line in gone if stays(line)]
    fresh = data[:size] + b"".join(again)
    try:
        if len(again) < len(gone):
            set_aside(path.with_name(CUT), b"".join(gone), disk)
        if fresh != data:
            disk.write_atomic(path, fresh)
    except OSError as error:
        raise unwritable(path, error) from None
    return Cut(len(gone) - len(again), len(again), end < len(data), damaged)


def whole(path: Path) -> bool:
    """Say whether a journal's last line was finished."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def place(data: bytes, offset: Offset | None) -> tuple[int, str]:
    """Find where to cut, and why the journal isn't the one that the checkpoint remembers."""
    if offset is None:
        return len(data), ""
    if offset.bytes > len(data):
        return len(data), f"{offset.bytes - len(data)} bytes of it are missing"
    if hashlib.sha256(data[: offset.bytes]).hexdigest() != offset.sha256:
        # changed in the middle: cut between two lines all the same
        return data.rfind(b"\n", 0, offset.bytes) + 1, "it was changed before the checkpoint"
    return offset.bytes, ""


def stays(line: bytes) -> bool:
    """Say whether a cut line is written again: ambient ones and decisions from outside."""
    try:
        raw = json.loads(line)
    except ValueError:
        return False
    if not isinstance(raw, dict):
        return False
    told = {raw.get("kind"), raw.get("name") if raw.get("kind") == "event" else None}
    # what is found on one disk or one machine is not found again by training again
    local = str(raw.get("source")).startswith(("shelf", "machine:"))
    return not told.isdisjoint(AMBIENT | OUTSIDE) or local


def set_aside(path: Path, part: bytes, disk: Disk) -> None:
    """Add to the cut lines; killed between this and the cut, the next start adds nothing twice."""
    kept = path.read_bytes() if path.exists() else b""
    if not kept.endswith(part):
        disk.write_atomic(path, kept + part)
