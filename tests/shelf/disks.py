"""Disks that count, die, fail, forget and lie, for the tests of all that writes."""

import errno
import os
import signal
from pathlib import Path

from surefoot.shelf.disk import Disk, Opened

PIECES = ("write", "append")


class Recording(Disk):
    """Remembers each change as (operation, file name)."""

    def __init__(self) -> None:
        self.operations: list[tuple[str, str]] = []

    def before(self, operation: str, path: Path) -> None:
        # the random part of a temporary name, and the folder of a part, say nothing here
        self.operations.append((operation, short(path)))


def short(path: Path) -> str:
    name = path.name
    return name.rpartition("-")[0] if name.startswith(".tmp-") else name


class Mortal(Disk):
    """Kills its own process at the k-th change; a write is torn in half first."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.count = at, 0

    def before(self, operation: str, path: Path) -> None:
        self.count += 1
        if self.count == self.at and operation not in PIECES:
            die()

    def write(self, opened: Opened, data: bytes | memoryview) -> None:
        self.before("write", opened.path)
        if self.count == self.at:
            os.write(opened.fd, memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
            die()
        os.write(opened.fd, data)  # whole at once: the files of tests are small

    def append(self, opened: Opened, data: bytes | bytearray) -> int:
        self.before("append", opened.path)
        if self.count == self.at:
            os.write(opened.fd, data[: len(data) // 2])
            die()
        return os.write(opened.fd, data)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Failing(Disk):
    """Refuses the k-th change, and so many after it, with an error of the system."""

    def __init__(self, at: int, code: int = errno.ENOSPC, times: int = 1) -> None:
        self.at, self.code, self.times, self.count = at, code, times, 0

    def before(self, operation: str, path: Path) -> None:
        self.count += 1
        if self.at <= self.count < self.at + self.times:
            raise OSError(self.code, os.strerror(self.code), str(path))


class Small(Disk):
    """Has so many bytes free, and says so."""

    def __init__(self, free: int) -> None:
        self.free = free

    def free_bytes(self, path: Path) -> int:
        return self.free


class Forgetful(Recording):
    """Never makes a file's bytes durable."""

    def fsync(self, opened: Opened) -> None:
        return


class Rotten(Disk):
    """Gives back other bytes than it was given, for the first few checkpoints."""

    def __init__(self, times: int) -> None:
        self.times = times

    def rename(self, source: Path, target: Path) -> None:
        if target.name.startswith("step-") and self.times:
            self.times -= 1
            flip(source / "optim.safetensors", 2001)
        super().rename(source, target)


class Linkless(Disk):
    """A file system without links."""

    def symlink(self, target: str, link: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file, counted around its end."""
    data = bytearray(path.read_bytes())
    bit %= len(data) * 8
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
