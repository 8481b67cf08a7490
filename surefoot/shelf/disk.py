"""Every write of the product goes through here: files made once, replaced whole, made durable."""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
TMP = ".tmp-"


@dataclass(frozen=True, slots=True)
class Opened:
    """A file open for writing, and where it lies."""

    fd: int
    path: Path


class Disk:
    """The one way to the disk; a test's disk overrides `before` or a single operation."""

    def before(self, operation: str, path: Path) -> None:
        """Stand in front of each change; does nothing here, a test's disk counts or fails in it."""

    def create(self, path: Path) -> Opened:
        """Open a file that must not be there yet; a link in its place is refused."""
        self.before("create", path)
        return Opened(os.open(path, NEW, 0o666), path)

    def open_append(self, path: Path) -> Opened:
        """Open a file that only ever grows."""
        self.before("open_append", path)
        return Opened(os.open(path, APPEND, 0o666), path)

    def write(self, opened: Opened, data: bytes | memoryview) -> None:
        """Write all of it, however many pieces the system makes of it."""
        self.before("write", opened.path)
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(opened.fd, rest) :]

    def append(self, opened: Opened, data: bytes | bytearray) -> int:
        """Hand the system one piece, and say how much it took: a full disk takes a part."""
        self.before("append", opened.path)
        return os.write(opened.fd, data)

    def fsync(self, opened: Opened) -> None:
        """Wait until a file's bytes would survive a power cut."""
        self.before("fsync", opened.path)
        os.fsync(opened.fd)

    def close(self, opened: Opened) -> None:
        """Let go of a file."""
        os.close(opened.fd)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name; what stands there already is replaced."""
        self.before("rename", target)
        source.replace(target)

    def symlink(self, target: str, link: Path) -> None:
        """Make a link, relative to its own folder."""
        self.before("symlink", link)
        link.symlink_to(target)

    def unlink(self, path: Path) -> None:
        """Remove a file or a link."""
        self.before("unlink", path)
        path.unlink()

    def mkdir(self, path: Path) -> None:
        """Make a folder that must not be there yet."""
        self.before("mkdir", path)
        path.mkdir()

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        self.before("rmdir", path)
        path.rmdir()

    def fsync_folder(self, path: Path) -> None:
        """Wait until a folder's names would survive a power cut."""
        self.before("fsync_folder", path)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: Path) -> int:
        """Count the bytes that an ordinary user may still write there."""
        room = os.statvfs(path)
        return room.f_bavail * room.f_frsize

    def write_file(self, path: Path, data: bytes) -> None:
        """Make a new file, and have it durable before going on."""
        opened = self.create(path)
        try:
            self.write(opened, data)
            self.fsync(opened)
        finally:
            self.close(opened)

    def write_atomic(self, path: Path, data: bytes) -> None:
        """Replace a file whole: a reader, and a crash, sees the old or the new, never half."""
        tmp = beside(path)
        try:
            self.write_file(tmp, data)
            self.rename(tmp, path)
            self.fsync_folder(path.parent)
        except OSError:
            self.remove(tmp)
            raise

    def remove(self, path: Path) -> None:
        """Remove a leftover, where that works; the next opening of the run sweeps what stays."""
        with suppress(OSError):  # often never made; and a disk that fails here failed before
            self.remove_tree(path)

    def remove_tree(self, path: Path) -> None:
        """Remove a file, a link or a folder with all in it; links are never followed."""
        if path.is_symlink() or not path.is_dir():
            self.unlink(path)
            return
        # COMMIT first: from then on the folder can't be taken for a whole checkpoint
        for inner in sorted(path.iterdir(), key=lambda p: (p.name != "COMMIT", p.name)):
            self.remove_tree(inner)
        self.rmdir(path)


def beside(path: Path) -> Path:
    """Name a temporary file in the same folder, so that a rename can put it in place."""
    return path.with_name(f"{TMP}{path.name}-{secrets.token_hex(4)}")
